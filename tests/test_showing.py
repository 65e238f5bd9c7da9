"""People shown by other programs: matplotlib, notebooks, Rerun, FiftyOne, pydoc."""

from __future__ import annotations

import doctest
import io
import pydoc
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import openpaf
from openpaf.cli import main
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.visualization.draw import LEFT, RIGHT, drawn_strips


def arms(*x: float) -> Poses:
    """People of left upper arms alone, 40 px long, at these columns."""
    keypoints = np.zeros((len(x), 17, 3))
    for n, column in enumerate(x):
        keypoints[n, 5:8:2] = (column, 20, 1), (column, 60, 0.8)
    return Poses.from_keypoints(keypoints, Skeleton.COCO17, person_scores=np.full(len(x), 0.9))


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.full((80, 120, 3), 90, np.uint8)


# matplotlib and notebooks


def test_a_plot_has_the_drawn_image_in_px_of_the_image(image: NDArray[np.uint8]) -> None:
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    poses = arms(30)
    axes = poses.plot(image)
    assert isinstance(axes, Axes)
    (shown,) = axes.get_images()
    np.testing.assert_array_equal(shown.get_array(), openpaf.draw_poses(image, poses))
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 119.5), (79.5, -0.5))
    own = pyplot.figure().add_subplot()
    assert poses.replace(image=image).plot(ax=own, boxes=True) is own
    np.testing.assert_array_equal(
        own.get_images()[0].get_array(), openpaf.draw_poses(image, poses, boxes=True)
    )
    pyplot.close("all")


def test_without_an_image_it_is_said_how_to_give_one() -> None:
    for name, argument in (("plot", "image"), ("draw", "image"), ("to_fiftyone", "image_hw")):
        message = rf"^{name}: the image is not kept; pass {argument}=, or .*keep_image=True"
        with pytest.raises(ValueError, match=message):
            getattr(arms(30), name)()


def test_without_matplotlib_the_extra_is_named(
    image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ValueError, match=r"^plot: .*'\.\[analyze\]'"):
        arms(30).plot(image)


def test_a_notebook_shows_people_whose_image_is_kept(image: NDArray[np.uint8]) -> None:
    poses = arms(30)
    assert poses._repr_png_() is None
    png = poses.replace(image=image)._repr_png_()
    assert png is not None
    with Image.open(io.BytesIO(png)) as shown:
        np.testing.assert_array_equal(np.asarray(shown), openpaf.draw_poses(image, poses))
    large = np.zeros((512, 3000, 3), np.uint8)
    png = Poses.empty(Skeleton.COCO17).replace(image=large)._repr_png_()
    assert png is not None
    with Image.open(io.BytesIO(png)) as shown:
        assert shown.size == (1024, 175)


def test_an_image_that_is_none_is_not_kept(image: NDArray[np.uint8]) -> None:
    for wrong in (image[..., 0], image.astype(float), image.tolist()):
        with pytest.raises(ValueError, match=r"^image: expected RGB uint8 \(H, W, 3\)"):
            arms(30).replace(image=wrong)


def test_help_shows_the_classes_and_functions() -> None:
    text = pydoc.render_doc(openpaf, renderer=pydoc.plaintext)
    for name in openpaf.__all__:
        thing = getattr(openpaf, name)
        if isinstance(thing, type):
            assert f"\n    class {name}(" in text
        elif callable(thing):
            assert f"\n    {name}(" in text
    assert "Finds every person in an image and their joints." in text


# FiftyOne


def test_people_for_fiftyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in, as the package brings a gigabyte and a database; its names are the real
    ones of version 1.22."""
    fiftyone = ModuleType("fiftyone")
    fiftyone.Keypoints = fiftyone.Keypoint = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone)
    poses = arms(29.5, 59.5).replace(ids=np.array([4, 7]))
    first, second = poses.to_fiftyone((80, 120)).keypoints
    assert (first.label, first.index, second.index) == ("person", 4, 7)
    assert first.points[5] == pytest.approx([30 / 120, 20.5 / 80])
    assert np.isnan(first.points[0]).all()
    assert first.confidence[5:8] == pytest.approx([1, 0, 0.8])
    assert first.person_score == pytest.approx(0.9)
    kept = arms(29.5).replace(image=np.zeros((80, 120, 3), np.uint8)).to_fiftyone()
    assert kept.keypoints[0].points[5] == first.points[5]
    assert kept.keypoints[0].index is None
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ValueError, match=r"^to_fiftyone: 'fiftyone' is not installed"):
        poses.to_fiftyone((80, 120))


# Rerun


def test_limbs_as_lines_are_those_that_are_drawn() -> None:
    strips, colors = drawn_strips(arms(30, 70), 0.1)
    np.testing.assert_array_equal(strips[0], [[30, 20], [30, 60]])
    np.testing.assert_array_equal(strips[1], [[70, 20], [70, 60]])
    assert colors == [LEFT, LEFT]
    assert drawn_strips(arms(30), 0.9) == ([], [])
    full = np.ones((1, 17, 3))
    strips, colors = drawn_strips(Poses.from_keypoints(full, Skeleton.COCO17), 0.1)
    assert Counter(colors)[LEFT] == Counter(colors)[RIGHT] > 4


def rows_of(path: Path) -> dict[str, int]:
    """Rows by entity of the recording of a file."""
    chunks = pytest.importorskip("rerun.chunk").RrdReader(path).stream().to_chunks()
    rows: Counter[str] = Counter()
    for chunk in chunks:
        if {"frame", "time"} <= set(chunk.timeline_names):
            rows[chunk.entity_path] += chunk.num_rows
    return dict(rows)


_PEOPLE = ("/image", "/image/limbs", "/image/joints", "/image/people", "/people/count")
_FIELDS = ("/fields/heatmap", "/fields/paf")


def test_a_file_for_rerun_has_a_row_of_everything_a_frame(
    tmp_path: Path, image: NDArray[np.uint8]
) -> None:
    pytest.importorskip("rerun")
    from openpaf.visualization.rerun_file import RerunFile

    people = [arms(30, 70), Poses.empty(Skeleton.COCO17), arms(50).replace(ids=np.array([3]))]
    with RerunFile(tmp_path / "a.rrd") as file, RerunFile(tmp_path / "b.rrd") as bare:
        for n, poses in enumerate(people):
            fields = openpaf.encode_fields(poses, (80, 120))
            file.write(image, poses, frame=n, time_s=n / 10, fields=fields)
            bare.write(image, poses, frame=n, time_s=n / 10)
    file.close()
    assert rows_of(tmp_path / "a.rrd") == dict.fromkeys((*_PEOPLE, *_FIELDS), 3)
    assert rows_of(tmp_path / "b.rrd") == dict.fromkeys(_PEOPLE, 3)
    with pytest.raises(OSError, match="missing"), RerunFile(tmp_path / "missing" / "a.rrd") as file:
        file.write(image, people[0], frame=0, time_s=0)


def test_the_example_of_the_file_runs() -> None:
    pytest.importorskip("rerun")
    from openpaf.visualization import rerun_file

    failed, attempted = doctest.testmod(rerun_file)
    assert failed == 0 < attempted


def test_predict_writes_it_of_videos_only(
    tmp_path: Path, image: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun")
    pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")
    from openpaf.video.writer import VideoWriter

    (tmp_path / "in").mkdir()
    with VideoWriter(tmp_path / "in" / "a.mp4", fps=10) as writer:
        for n in range(3):
            writer.write(image, n / 10)
    Image.fromarray(image).save(tmp_path / "photo.png")
    flags = ["--output", str(tmp_path / "out"), "--model", "fast", "--size", "64", "--quiet"]
    assert main(["predict", str(tmp_path / "photo.png"), *flags, "--format", "rrd"]) == 2
    assert "--format rrd: of videos only" in capsys.readouterr().err
    Image.fromarray(image).save(tmp_path / "in" / "photo.png")
    assert main(["predict", str(tmp_path / "in"), *flags, "--format", "rrd"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.rrd"]
    assert rows_of(tmp_path / "out" / "a.rrd") == dict.fromkeys((*_PEOPLE, *_FIELDS), 3)


def test_without_rerun_the_extra_is_named_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    command = ["predict", "a.mp4", "--output", str(tmp_path), "--format", "rrd"]
    assert main(command) == 2
    assert "--format rrd: 'rerun' is not installed; pip install '.[rerun]'" in (
        capsys.readouterr().err
    )

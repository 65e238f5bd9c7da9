"""`openpaf demo fields` draws what the parser did, where it did it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import openpaf
from openpaf.cli import main
from openpaf.decoding import find_peaks, match_limbs, score_limbs
from openpaf.demos.panels import draw_pafs
from openpaf.demos.parse import Parse, Shown, View


@pytest.fixture(scope="module")
def photo(repo_root: Path) -> Path:
    return repo_root / "data" / "photos" / "astronaut.jpg"


def blank(grid: openpaf.Grid, h: int, w: int) -> openpaf.Fields:
    skeleton = openpaf.Skeleton.COCO17
    return openpaf.Fields(
        heatmaps=np.zeros((skeleton.n_joints + 1, h, w)),
        pafs=np.zeros((skeleton.n_limbs, 2, h, w)),
        heatmap_grid=grid,
        paf_grid=grid,
        skeleton=skeleton,
    )


def test_image_and_json(photo: Path, tmp_path: Path) -> None:
    png, file = tmp_path / "fields.png", tmp_path / "fields.json"
    options = ["--limb", "left_shoulder-left_elbow", "--output", str(png), "--json", str(file)]
    assert main(["demo", "fields", str(photo), *options]) == 0
    with Image.open(png) as image:
        assert image.format == "PNG"
        # Four panels of 800 x 800 px, each with a header of 60 px and a margin of 4 px around.
        assert image.size == (2 * 808, 2 * 868)

    estimator = openpaf.PoseEstimator()
    fields = estimator.fields(photo)
    peaks = find_peaks(fields, estimator.config)
    limbs = score_limbs(fields, peaks, estimator.config)
    told = json.loads(file.read_text())
    letterbox = openpaf.Letterbox.fit((512, 512), estimator.size)
    np.testing.assert_allclose([peak["score"] for peak in told["peaks"]], peaks.scores)
    np.testing.assert_allclose(
        [peak["xy"] for peak in told["peaks"]], letterbox.points_to_image(peaks.xy)
    )
    np.testing.assert_allclose([limb["score"] for limb in told["limbs"]], limbs.scores)
    np.testing.assert_array_equal([limb["peaks"] for limb in told["limbs"]], limbs.peaks)
    chosen = match_limbs(limbs, estimator.config)
    assert sum(limb["chosen"] for limb in told["limbs"]) == len(chosen.types)
    for limb in told["limbs"]:
        assert limb["limb"] == "-".join(told["peaks"][p]["joint"] for p in limb["peaks"])


def test_people_have_their_peaks(photo: Path) -> None:
    estimator = openpaf.PoseEstimator()
    parse = Parse.of(estimator.fields(photo), estimator.config)
    poses = openpaf.decode(parse.fields, estimator.config)
    assert len(poses) == len(parse.people) > 0
    np.testing.assert_array_equal(parse.owners.sum(axis=1), (poses.scores > 0).sum(axis=1))
    assert (parse.limb_owners & parse.chosen).any(axis=1).all()


@pytest.mark.parametrize("offset", [0.0, 3.5, 4.0])
@pytest.mark.parametrize("cell", [(2, 3), (7, 5)])
def test_overlay_lies_where_the_grid_says(offset: float, cell: tuple[int, int]) -> None:
    grid = openpaf.Grid(8, offset)
    fields = blank(grid, 9, 12)
    column, row = cell
    fields.heatmaps[0, row, column] = 1
    same = openpaf.Letterbox(image_hw=(72, 96), resized_hw=(72, 96), size_hw=(72, 96))
    values = View(same, same).field(fields.heatmaps[0], grid)
    assert values.shape == (72, 96)
    y, x = np.indices(values.shape)
    middle = [(axis * values).sum() / values.sum() for axis in (x, y)]
    np.testing.assert_allclose(middle, grid.to_px(np.array(cell)), atol=0.05)
    if offset == 4:  # then the cell is on a pixel, which has all of it
        assert values[int(grid.to_px(row)), int(grid.to_px(column))] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("crop", [None, (50, 20, 170, 120)])
def test_overlay_and_points_agree_in_a_scaled_and_cropped_view(
    crop: tuple[int, int, int, int] | None,
) -> None:
    view = View.of(openpaf.Letterbox.fit((150, 200), 96), crop)
    grid = openpaf.Grid(8)
    fields = blank(grid, 12, 16)
    fields.heatmaps[0, 5, 7] = 1
    values = view.field(fields.heatmaps[0], grid)
    y, x = np.indices(values.shape)
    middle = [(axis * values).sum() / values.sum() for axis in (x, y)]
    np.testing.assert_allclose(middle, view.points(grid.to_px(np.array((7, 5)))), atol=0.3)
    image = np.zeros((150, 200, 3), np.uint8)
    assert view.image(image).shape[:2] == values.shape


def test_an_arrow_is_at_its_cell() -> None:
    grid = openpaf.Grid(8)
    fields = blank(grid, 12, 16)
    fields.pafs[0, 0, 5, 7] = 1
    view = View.of(openpaf.Letterbox.fit((96, 128), 96), None)
    shown = Shown.of(fields.skeleton, None, "left_elbow-left_shoulder")
    canvas = draw_pafs(np.full((*view.panel.size_hw, 3), 200, np.uint8), fields, view, shown)
    black = np.argwhere(canvas.max(axis=2) < 40)[:, ::-1]
    x, y = view.points(grid.to_px(np.array((7, 5))))
    assert abs(np.median(black[:, 1]) - y) < 2
    assert np.ptp(black[:, 0]) > 3 * np.ptp(black[:, 1]) / 2  # it lies along x
    assert black[:, 0].min() < x < black[:, 0].max()


def test_nobody_there(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), (90, 90, 90)).save(tmp_path / "empty.png")
    output = tmp_path / "out.png"
    assert (
        main(
            ["demo", "fields", str(tmp_path / "empty.png"), "--size", "64", "--output", str(output)]
        )
        == 0
    )
    assert output.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--joint", "nose_tip"], "joint 'nose_tip' is not in skeleton"),
        (["--limb", "nose-left_ankle"], "limb 'nose-left_ankle' is not in skeleton"),
        (["--size", "7"], "size"),
        (["--crop", "600", "0", "700", "9"], "--crop"),
        (["--color"], "--color"),
        (["--model", "missing.safetensors"], "missing.safetensors"),
        (["--output", "no/such/folder/fields.png"], "no/such/folder"),
    ],
)
def test_bad_use_is_one_line_and_2(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "fields", str(photo), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_address_may_be_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its drawing is there from the first time, and is no copy of the image."""
    content = io.BytesIO()
    Image.new("RGB", (80, 60)).save(content, "PNG")
    monkeypatch.setattr("openpaf.io.fetch.fetch_image", lambda url: content.getvalue())
    file = tmp_path / "fields.png"
    for _ in range(2):
        command = ["demo", "fields", "https://site.example/a.png", "--output", str(file)]
        assert main([*command, "--size", "64", "--engine", "torch"]) == 0
    assert capsys.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["fields.png"]


def test_a_photo_is_missing_or_would_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "photo.png"
    assert main(["demo", "fields", str(image)]) == 2
    Image.new("RGB", (80, 60)).save(image)
    before = image.read_bytes()
    assert main(["demo", "fields", str(image), "--output", str(image)]) == 2
    assert image.read_bytes() == before
    assert capsys.readouterr().err.count("\n") == 2

"""The command line: what it writes, what it says, and how it fails."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import openpaf
import openpaf.estimator
from openpaf.cli import main, outputs, predict
from openpaf.io.extras import install_hint
from openpaf.io.pose_files import FORMATS
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

Run = Callable[..., tuple[int, str, str]]


class FakeEstimator:
    """Finds two people in every photo, and nobody in a photo without red."""

    made = 0
    options: dict[str, Any]
    batches: list[int]

    def __init__(self, model: Any = None, **options: Any) -> None:
        type(self).made += 1
        type(self).options = {"model": model, **options}
        type(self).batches = []

    def __call__(self, image: np.ndarray) -> Poses:
        if image[0, 0, 2] == 255:  # blue: a photo that the estimator cannot stand
            raise RuntimeError("too\nblue")
        if not image[..., 0].any():
            return Poses.empty(Skeleton.COCO17)
        xy = np.tile(np.array([image.shape[1], image.shape[0]]) / 2, (2, 17, 1))
        return Poses(
            xy=xy, scores=np.ones((2, 17)), person_scores=[0.9, 0.7], skeleton=Skeleton.COCO17
        )

    def batch(self, images: Sequence[np.ndarray]) -> list[Poses]:
        self.batches.append(len(images))
        return [self(image) for image in images]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeEstimator]:
    FakeEstimator.made = 0
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", FakeEstimator)
    return FakeEstimator


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake: object) -> Run:
    """``openpaf ARGUMENTS...`` in this process, with the fake: status, output, errors."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def photo(path: Path, color: str = "red", size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, lossless=True)
    return path


def command(
    *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "openpaf", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=300,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="session")
def a_model() -> None:
    if not list(Path(str(resources.files("openpaf.models"))).glob("*.safetensors")):
        pytest.skip("no weights in openpaf.models")


# What it writes and says


def test_predict_writes_a_picture_and_json_and_says_how_many(run: Run, tmp_path: Path) -> None:
    source, out = photo(tmp_path / "photo.png"), tmp_path / "new" / "out"
    status, said, errors = run("predict", source, "--output", out)
    assert (status, errors) == (0, "")
    line, summary = said.splitlines()
    assert line == f"{source}: 2 people"
    assert summary.startswith("1 photo, 2 people, 0 skipped, ")
    assert summary.endswith(f"written to {out}")
    assert files(out) == ["photo.json", "photo.png"]
    with Image.open(out / "photo.png") as picture:
        assert picture.size == (32, 24)
    people = json.loads((out / "photo.json").read_text())
    assert [person["image_id"] for person in people] == ["photo.png"] * 2


@pytest.mark.parametrize(
    ("formats", "written"),
    [
        ("image", ["a.jpg"]),
        ("coco", ["a.json"]),
        ("openpose", ["a_keypoints.json"]),
        ("openpose, COCO,coco", ["a.json", "a_keypoints.json"]),
        ("coco,openpose,image", ["a.jpg", "a.json", "a_keypoints.json"]),
    ],
)
def test_formats(run: Run, tmp_path: Path, formats: str, written: list[str]) -> None:
    run("predict", photo(tmp_path / "a.jpg"), "--output", tmp_path / "out", "--format", formats)
    assert files(tmp_path / "out") == written


def test_nobody_is_an_ordinary_answer(run: Run, tmp_path: Path) -> None:
    source, out = photo(tmp_path / "empty.png", "black"), tmp_path / "out"
    status, said, _ = run("predict", source, "--output", out, "--format", "coco,openpose,image")
    assert status == 0
    assert f"{source}: 0 people" in said
    assert json.loads((out / "empty.json").read_text()) == []
    assert json.loads((out / "empty_keypoints.json").read_text())["people"] == []
    assert (out / "empty.png").exists()


def test_options_reach_the_estimator(run: Run, fake: type[FakeEstimator], tmp_path: Path) -> None:
    source, out = photo(tmp_path / "a.png"), tmp_path / "out"
    run("predict", source, "--output", out)
    assert fake.options == {
        "model": None, "weights": None, "engine": "auto", "device": None, "threads": None,
        "size": 368, "scales": [1.0], "flip": False, "min_score": 0.65,
    }  # fmt: skip
    options = ["--model", "m", "--engine", "torch", "--device", "cpu", "--size", "256",
               "--threads", "2", "--scales", "0.5", "1", "--flip"]  # fmt: skip
    run("predict", source, "--output", out, "--weights", "w.pth", *options)
    assert fake.options == {
        "model": "m", "weights": Path("w.pth"), "engine": "torch", "device": "cpu", "threads": 2,
        "size": 256, "scales": [0.5, 1.0], "flip": True, "min_score": 0.65,
    }  # fmt: skip


def test_threshold_leaves_out_people(run: Run, tmp_path: Path) -> None:
    source, out = photo(tmp_path / "a.png"), tmp_path / "out"
    _, said, _ = run("predict", source, "--output", out, "--threshold", "0.8")
    assert f"{source}: 1 person" in said
    assert len(json.loads((out / "a.json").read_text())) == 1


def test_quiet_says_nothing(run: Run, tmp_path: Path) -> None:
    assert run("predict", photo(tmp_path / "a.png"), "--output", tmp_path, "--quiet") == (0, "", "")


def test_numbered_photos_keep_their_coco_id(run: Run, tmp_path: Path) -> None:
    run("predict", photo(tmp_path / "000000000139.jpg"), "--output", tmp_path / "out")
    people = json.loads((tmp_path / "out" / "000000000139.json").read_text())
    assert people[0]["image_id"] == 139


def test_batches(run: Run, fake: type[FakeEstimator], tmp_path: Path) -> None:
    for n in range(5):
        photo(tmp_path / "in" / f"{n}.png")
    status, said, _ = run(
        "predict", tmp_path / "in", "--output", tmp_path / "out", "--batch-size", "2"
    )
    assert status == 0
    assert fake.batches == [2, 2, 1]
    assert said.count(": 2 people") == 5


class FakeWindow:
    """A window before which someone presses keys."""

    typed = ""

    def __init__(self, title: str) -> None:
        self.is_open, self.shown = True, list[tuple[int, ...]]()
        windows.append(self)

    def show(self, image: np.ndarray, *, resizes: bool = False) -> None:
        self.shown.append(image.shape)

    def keys(self, wait_s: float = 0.0) -> str:
        key, FakeWindow.typed = FakeWindow.typed[:1], FakeWindow.typed[1:]
        return key

    def close(self) -> None:
        self.is_open = False


windows: list[FakeWindow] = []


@pytest.mark.parametrize(("typed", "n_shown"), [("  x", 3), (" q", 2), ("\x1b", 1)])
def test_show_opens_each_drawing_until_a_key_closes_the_window(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, n_shown: int
) -> None:
    monkeypatch.setattr("openpaf.cli.viewer.Window", FakeWindow)
    monkeypatch.setattr(FakeWindow, "typed", typed)
    photos = [photo(tmp_path / f"{n}.png", size=(32, 24 + n)) for n in range(3)]
    status, said, errors = run("predict", *photos, "--output", tmp_path / "out", "--show")
    assert (status, errors) == (0, "")
    assert said.count(": 2 people") == 3
    assert windows[-1].shown == [(24 + n, 32, 3) for n in range(n_shown)]
    assert not windows[-1].is_open


def test_show_needs_a_drawing_and_a_display(
    run: Run, fake: type[FakeEstimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(title: str) -> None:
        raise ValueError("no window can be opened: no display")

    monkeypatch.setattr("openpaf.cli.viewer.Window", refuse)
    command = ("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out", "--show")
    assert_bad_use(run(*command), "--show: no window can be opened: no display")
    assert_bad_use(run(*command, "--format", "coco"), "--show: expected --format with image")
    assert fake.made == 0


# Names


def test_no_result_hits_another(run: Run, tmp_path: Path) -> None:
    names = ["x/a.jpg", "x/a.png", "x/A.webp", "x/a_2.jpg", "y/a.jpg", "y/a_keypoints.png"]
    sources = [photo(tmp_path / name) for name in names]
    out = tmp_path / "out"
    formats = ["--format", "coco,openpose,image"]
    status, said, _ = run("predict", *sources, "--output", out, *formats)
    assert status == 0
    assert len({name.lower() for name in files(out)}) == 3 * len(names)
    assert f"{sources[0]}: 2 people\n" in said
    assert f"{sources[1]}: 2 people -> a_2\n" in said
    ids = {json.loads(path.read_text())[0]["image_id"] for path in out.glob("*.json")
           if not path.name.endswith("_keypoints.json")}  # fmt: skip
    assert ids >= {Path(name).name for name in names[:4]}


@given(st.lists(st.sampled_from(["a", "A", "a_2", "a_keypoints", "á", "a\u0301", "ß", "x" * 250])
                .flatmap(lambda s: st.sampled_from([f"in/{s}.jpg", f"out/{s}.png", f"{s}.gif"])),
                unique=True, max_size=8),
       st.sets(st.sampled_from([outputs.IMAGE, *FORMATS]), min_size=1))  # fmt: skip
def test_names_are_unique_and_never_a_photo_s(names: list[str], formats: set[str]) -> None:
    photos = [Path(name) for name in names]
    named = outputs.name_outputs(photos, Path("out"), sorted(formats))
    written = [path for output in named for path in output.files.values()]
    seen = [unicodedata.normalize("NFC", path.name).casefold() for path in written]
    assert len(set(seen)) == len(seen) == len(photos) * len(formats)
    assert not {str(path) for path in written} & set(names)
    assert all(path.parent == Path("out") for path in written)
    assert all(len(os.fsencode(path.name)) <= 255 for path in written)
    assert len({output.image_id for output in named}) == len(named)


def test_a_photo_in_the_output_folder_is_not_written_over(run: Run, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.jpg")
    before = source.read_bytes()
    status, said, _ = run("predict", source, "--output", tmp_path)
    assert status == 0
    assert source.read_bytes() == before
    assert files(tmp_path) == ["a.jpg", "a_2.jpg", "a_2.json"]
    assert "-> a_2" in said


def test_a_second_run_replaces_the_first(run: Run, tmp_path: Path) -> None:
    source, out = photo(tmp_path / "a.jpg"), tmp_path / "out"
    for _ in range(2):
        assert run("predict", source, "--output", out)[0] == 0
    assert files(out) == ["a.jpg", "a.json"]


@pytest.mark.parametrize(
    "name",
    ["two words.png", "Ünïcödé.png", "写真.png", "صورة.png", "фото 🙂.png", "x" * 240 + ".png"],
)
def test_names_of_photos(run: Run, tmp_path: Path, name: str) -> None:
    source, out = photo(tmp_path / name), tmp_path / "aus gabe é"
    status, said, errors = run("predict", source, "--output", out)
    assert (status, errors) == (0, "")
    assert f"{source}: 2 people" in said
    assert len(files(out)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")
def test_names_that_cannot_be_printed(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "line\nbreak.png")
    photo(tmp_path / "in" / os.fsdecode(b"latin-\xe9.png"))
    out = tmp_path / "out"
    status, said, errors = run("predict", tmp_path / "in", "--output", out)
    assert (status, errors) == (0, "")
    assert len(said.splitlines()) == 3
    assert r"line\nbreak.png: 2 people" in said
    assert len(files(out)) == 4


# What is wrong with some of the photos


def make_bad_files(folder: Path) -> list[str]:
    """Files that are no photos, whatever their names say; and their names."""
    whole = photo(folder / "whole.jpg", size=(320, 240)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "whole.jpg").unlink()
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a photo\n")
    (folder / "vanished.jpg").symlink_to(folder / "was-here.jpg")
    bad = ["truncated.jpg", "empty.jpg", "text.jpg", "vanished.jpg"]
    if os.geteuid() != 0:  # root reads everything
        photo(folder / "secret.jpg").chmod(0)
        bad.append("secret.jpg")
    return bad


@pytest.mark.parametrize("batch_size", ["1", "4"])
def test_bad_files_are_named_skipped_and_counted(run: Run, tmp_path: Path, batch_size: str) -> None:
    bad = make_bad_files(tmp_path / "in")
    photo(tmp_path / "in" / "a first.png")
    photo(tmp_path / "in" / "z last.png")
    status, said, errors = run(
        "predict", tmp_path / "in", "--output", tmp_path / "out", "--batch-size", batch_size
    )
    assert status == 1
    lines = errors.splitlines()
    assert len(lines) == len(bad)
    for name in bad:
        assert sum(f"skipped {tmp_path / 'in' / name}: " in line for line in lines) == 1
    assert f"2 photos, 4 people, {len(bad)} skipped" in said
    assert len(files(tmp_path / "out")) == 4


@pytest.mark.parametrize("batch_size", ["1", "3"])
def test_a_photo_that_breaks_the_estimator_is_skipped(
    run: Run, tmp_path: Path, batch_size: str
) -> None:
    for n, color in enumerate(["red", "blue", "red"]):
        photo(tmp_path / "in" / f"{n}.png", color)
    status, said, errors = run(
        "predict", tmp_path / "in", "--output", tmp_path / "out", "--batch-size", batch_size
    )
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert f"openpaf: skipped {tmp_path / 'in' / '1.png'}: RuntimeError: too blue (" in errors
    assert "2 photos, 4 people, 1 skipped" in said


def test_a_traceback_for_who_wants_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENPAF_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="too"):
        run("predict", photo(tmp_path / "1.png", "blue"), "--output", tmp_path / "out")


def test_missing_sources_among_others_are_skipped(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    sources = [tmp_path / "missing.jpg", photo(tmp_path / "a.png"), tmp_path / "nothing",
               tmp_path / "no*.jpg"]  # fmt: skip
    status, said, errors = run("predict", *sources, "--output", tmp_path / "out")
    assert status == 1
    assert "1 photo, 2 people, 3 skipped" in said
    assert len(errors.splitlines()) == 3
    for source in (sources[0], *sources[2:]):
        assert f"openpaf: skipped {source}: " in errors


def test_images_that_are_not_read_are_named_and_counted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openpaf.io.image_suffixes.heic_is_read", lambda: False)
    folder = photo(tmp_path / "in" / "a.png").parent
    for name in ("b.heic", "c.NEF", "d.pdf", "notes.txt"):
        (folder / name).touch()
    (folder / "again").symlink_to(folder)
    (folder / "and again").symlink_to(folder)
    for source in (folder, f"{tmp_path}/in/**/*"):
        status, said, errors = run("predict", source, "--output", tmp_path / "out")
        assert status == 1
        assert "1 photo, 2 people, 3 skipped" in said
        assert f"skipped {folder / 'b.heic'}: HEIC is not read" in errors
        assert install_hint("heic") in errors
        assert len(errors.splitlines()) == 3
    photo(tmp_path / "in" / "a.png").unlink()
    status, _, errors = run("predict", folder, "--output", tmp_path / "out")
    assert status == 2
    assert f"no photo to read: {folder / 'b.heic'}: HEIC is not read" in errors
    (folder / "clip.mp4").touch()  # among videos, too
    status, _, errors = run("predict", folder, "--output", tmp_path / "out")
    assert status == 1
    assert f"skipped {folder / 'b.heic'}: HEIC is not read" in errors


def test_sources_that_cannot_be_listed_are_skipped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str = ".") -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    scandir = os.scandir
    (tmp_path / "secret").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    sources = [tmp_path / "secret", photo(tmp_path / "a.png"), "x" * 5000]
    status, said, errors = run("predict", *sources, "--output", tmp_path / "out")
    assert status == 1
    assert "1 photo, 2 people, 2 skipped" in said
    assert f"skipped {tmp_path / 'secret'}: cannot be listed: Permission denied" in errors


def test_a_photo_too_large_to_draw_is_skipped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(image: np.ndarray, poses: object, **_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("openpaf.visualization.draw.draw_poses", no_memory)
    status, said, errors = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert status == 1
    assert f"skipped {tmp_path / 'a.png'}: not enough memory" in errors
    assert "0 photos, 0 people, 1 skipped" in said


def test_a_result_that_cannot_be_written_is_skipped(run: Run, tmp_path: Path) -> None:
    sources = [photo(tmp_path / "a.png"), photo(tmp_path / "b.png")]
    (tmp_path / "out" / "a.json").mkdir(parents=True)
    status, said, errors = run("predict", *sources, "--output", tmp_path / "out")
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert f"skipped {sources[0]}: cannot write {tmp_path / 'out' / 'a.json'}: " in errors
    assert "1 photo, 2 people, 1 skipped" in said


# Bad use: status 2 and one line


def assert_bad_use(result: tuple[int, str, str], *words: str) -> None:
    status, said, errors = result
    assert (status, said) == (2, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith("openpaf: ")
    for word in words:
        assert word in errors


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["predict"],
        ["predict", "a.png"],
        ["predict", "--output", "out"],
        ["predict", "a.png", "--output", ""],
        ["predict", "", "--output", "out"],
        ["predict", "a.png", "--output", "out", "--format", "pdf"],
        ["predict", "a.png", "--output", "out", "--format", ""],
        ["predict", "a.png", "--output", "out", "--size", "0"],
        ["predict", "a.png", "--output", "out", "--size", "-3"],
        ["predict", "a.png", "--output", "out", "--size", "large"],
        ["predict", "a.png", "--output", "out", "--size", "1.5"],
        ["predict", "a.png", "--output", "out", "--batch-size", "0"],
        ["predict", "a.png", "--output", "out", "--threshold", "-0.1"],
        ["predict", "a.png", "--output", "out", "--threshold", "65"],
        ["predict", "a.png", "--output", "out", "--threshold", "nan"],
        ["predict", "a.png", "--output", "out", "--threshold", "high"],
        ["predict", "a.png", "--output", "out", "--unknown"],
        ["predict", "a.png", "--out", "out"],
    ],
)
def test_bad_arguments(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "a.png")
    assert_bad_use(run(*arguments), "--help")
    assert files(tmp_path) == ["a.png"]


@pytest.mark.parametrize("source", ["missing.jpg", "nothing", "no*.jpg"])
def test_no_photo_at_all(run: Run, fake: type[FakeEstimator], tmp_path: Path, source: str) -> None:
    (tmp_path / "nothing").mkdir()
    result = run("predict", tmp_path / source, "--output", tmp_path / "out")
    assert_bad_use(result, "no photo to read", source)
    assert fake.made == 0
    assert not (tmp_path / "out").exists()


def test_no_photo_in_many_sources_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("predict", "no-1.jpg", "no-2.jpg", "no-3.jpg", "--output", tmp_path / "out")
    assert_bad_use(result, "no-1.jpg", "(and 2 more)")


def test_output_that_cannot_be(run: Run, fake: type[FakeEstimator], tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    (tmp_path / "file").touch()
    assert_bad_use(run("predict", source, "--output", tmp_path / "file"), "is a file")
    assert_bad_use(run("predict", source, "--output", tmp_path / "file" / "out"), "cannot be")
    assert_bad_use(run("predict", source.parent, "--output", source.parent), "is a source too")
    assert fake.made == 0


def test_the_drawn_file_itself_as_output(run: Run, tmp_path: Path) -> None:
    source, drawn = photo(tmp_path / "a.png"), tmp_path / "new" / "drawn.jpg"
    for _ in range(2):  # its own earlier result is replaced
        assert run("predict", source, "--output", drawn)[0] == 0
    assert files(tmp_path / "new") == ["drawn.jpg", "drawn.json"]
    with Image.open(drawn) as picture:
        assert picture.format == "JPEG"


def test_a_file_as_output_that_cannot_be(
    run: Run, fake: type[FakeEstimator], tmp_path: Path
) -> None:
    source, other = photo(tmp_path / "a.png"), photo(tmp_path / "b.png")
    before = source.read_bytes()
    result = run("predict", source, other, "--output", tmp_path / "c.png")
    assert_bad_use(result, "c.png is one file; 2 inputs need a folder")
    assert_bad_use(run("predict", source, "--output", tmp_path / "c.mp4"), "file .jpg or .png, got")
    assert_bad_use(run("predict", source, "--output", source), "a.png is the source")
    assert source.read_bytes() == before
    assert files(tmp_path) == ["a.png", "b.png"]
    assert fake.made == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_output_without_permission(run: Run, fake: type[FakeEstimator], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert_bad_use(result, "cannot be written to")
    assert fake.made == 0


def test_output_on_a_read_only_disk(
    run: Run, fake: type[FakeEstimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "a temporary name")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert_bad_use(result, "cannot be written to: Read-only file system")
    assert fake.made == 0


def test_a_full_disk_stops_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(picture: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

    monkeypatch.setattr("openpaf.cli.images.write_image", full)
    sources = [photo(tmp_path / "a.png"), photo(tmp_path / "b.png")]
    assert_bad_use(run("predict", *sources, "--output", tmp_path / "out"), "No space left")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (openpaf.WeightsError("m.safetensors: damaged\nbadly"), "m.safetensors: damaged badly"),
        (ValueError("engine: expected one of a, b, got 'c'"), "engine: expected one of"),
        (ImportError("no openvino"), "no openvino"),
        (KeyError("oops"), "KeyError: 'oops'"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_model_that_does_not_load(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", fail)
    assert_bad_use(run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out"), line)


def test_interrupted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeEstimator, "batch", interrupt)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert result == (130, "", "openpaf: interrupted\n")


def test_sigterm_ends_as_ctrl_c_does_with_a_status_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def terminate(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # cleaning up is not broken off by a second one
            heard.append("cleaned up")

    monkeypatch.setattr(FakeEstimator, "batch", terminate)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert result == (143, "", "openpaf: terminated\n")
    assert heard == ["cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_while_c_calls_python_is_not_swallowed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    """As LLVM does while the parser is compiled: no exception gets through it."""

    def compile_something(*_: object) -> None:
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()
        heard.append("and goes on")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.001)

    heard: list[str] = []
    monkeypatch.setattr(FakeEstimator, "batch", compile_something)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert result[:2] == (status, "")
    assert len(result[2].splitlines()) == 1
    assert heard == ["and goes on"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_of_which_another_error_is_made_is_one_still(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    """As Python does while an import creates a class."""

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("Error calling __set_name__") from interrupt

    monkeypatch.setattr(predict, "load_estimator", interrupted)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert result[0] == status
    assert result[2] in ("openpaf: interrupted\n", "openpaf: terminated\n")


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_an_error_after_sigterm(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    """An import that fails because of it is no error of its own; one of cleaning up is."""

    def fail(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            if not is_forgotten:
                raise OSError(errno.ENOSPC, "No space left on device") from None
        raise ImportError("importing C extensions failed")

    monkeypatch.setattr(predict, "load_estimator", fail)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    expected = (143, "terminated") if is_forgotten else (2, "No space left on device")
    assert result[::2] == (expected[0], f"openpaf: {expected[1]}\n")


def test_a_sigterm_is_heard_before_the_next_photo(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network runs in a thread, where nothing can swallow it."""

    def terminate(self: FakeEstimator, images: Sequence[np.ndarray]) -> list[Poses]:
        seen.append(len(images))
        if len(seen) == 3:
            end = time.monotonic() + 20
            while not (tmp_path / "out" / "0.json").exists() and time.monotonic() < end:
                time.sleep(0.01)
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGTERM)
            time.sleep(0.2)
        return [self(image) for image in images]

    seen: list[int] = []
    monkeypatch.setattr(FakeEstimator, "batch", terminate)
    photos = [photo(tmp_path / f"{n}.png") for n in range(9)]
    status, _, said = run("predict", *photos, "--output", tmp_path / "out")
    assert (status, said) == (143, "openpaf: terminated\n")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written in (["0.json", "0.png"], ["0.json", "0.png", "1.json", "1.png"])


def test_an_interrupt_that_is_swallowed_at_the_end_is_heard_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()

    monkeypatch.setattr("openpaf.cli.interrupts._PAUSE_S", 100)
    monkeypatch.setattr(predict.ImageJob, "predict", interrupt)
    result = run("predict", photo(tmp_path / "a.png"), "--output", tmp_path / "out")
    assert result[::2] == (130, "openpaf: interrupted\n")


# The real command


def test_version(tmp_path: Path) -> None:
    result = command("--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"openpaf {openpaf.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"]])
def test_help_has_examples(tmp_path: Path, arguments: list[str]) -> None:
    result = command(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "examples:\n  openpaf predict " in result.stdout
    assert "exit status: 0 " in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["predict"], ["predict", "missing.jpg", "--output", "out"],
     ["predict", "a.png", "--output", "a.png"]],
)  # fmt: skip
def test_bad_use_of_the_real_command(tmp_path: Path, arguments: list[str]) -> None:
    photo(tmp_path / "a.png")
    result = command(*arguments, cwd=tmp_path)
    assert_bad_use((result.returncode, result.stdout, result.stderr))


@pytest.mark.skipif(os.name != "posix", reason="shell redirections")
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "| true", "2>&1 | true"])
def test_closed_streams(tmp_path: Path, redirection: str) -> None:
    result = subprocess.run(
        ["sh", "-c", f'"$0" -m openpaf --help {redirection}', sys.executable],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.usefixtures("a_model")
def test_real_photos_among_bad_files(tmp_path: Path, repo_root: Path) -> None:
    photos = sorted((repo_root / "data" / "photos").glob("*.[jp][pn]g"))
    bad = make_bad_files(tmp_path / "写真 и фото")
    for source in photos[:2]:
        shutil.copy(source, tmp_path / "写真 и фото" / f"é {source.name}")
    result = command(
        *("predict", "写真 и фото", "missing.jpg", "--output", "out", "--batch-size", "2"),
        cwd=tmp_path,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
    )
    assert result.returncode == 1, result.stderr
    errors = result.stderr.splitlines()
    assert len(errors) == len(bad) + 1
    assert all(line.startswith("openpaf: skipped ") for line in errors)
    assert f"{len(bad) + 1} skipped" in result.stdout
    assert len(result.stdout.splitlines()) == 3
    assert len(files(tmp_path / "out")) == 4


@pytest.mark.usefixtures("a_model")
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_on_a_terminal_only(tmp_path: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    photo(tmp_path / "in" / "1.png", size=(64, 64))
    photo(tmp_path / "in" / "2.png", size=(64, 64))
    piped = command("predict", "in", "--output", "out", cwd=tmp_path)
    assert (piped.returncode, piped.stderr) == (0, "")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "openpaf", "predict", "in", "--output", "out"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(timeout=300) == 0
    assert b"0/2" in shown
    lines = shown.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines()
    assert b"in/1.png: 0 people" in lines  # alone on its line: the bar was out of the way


def test_benchmark_times_the_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    arguments = ["benchmark", str(tmp_path), "--size", "64", "--repeats", "1"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "engine torch" in lines[0]  # what conftest.py makes of auto
    assert "1 photo, 0 people" in lines[0]
    steps = ["network", "peaks", "limbs", "matching", "people", "total"]
    assert [line.split()[0] for line in lines[1:]] == steps
    assert main([*arguments, "--set", "matching=greedy", "--set", "graph=tree"]) == 0
    assert "short side 64 px, matching=greedy, graph=tree, " in capsys.readouterr().out
    assert main([*arguments, "--set", "matching=quick"]) == 2
    assert "--set: matching: expected one of greedy" in capsys.readouterr().err
    assert main([*arguments, "--engine", "tpu"]) == 2
    assert capsys.readouterr().err.startswith("openpaf: engine: expected one of")

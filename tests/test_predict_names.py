"""Files of photos that ``openpaf predict`` names while it lists them."""

from __future__ import annotations

import io
import itertools
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bulk_fake import FakeEstimator
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import openpaf.estimator
from openpaf.bulk.inputs import Shard
from openpaf.cli import main
from openpaf.cli.outputs import OutputNames
from openpaf.cli.predict_files import named_inputs
from openpaf.io.folders import walk_glob
from openpaf.io.text_set import TextSet

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``openpaf predict ARGUMENTS...`` with the fake: status, output, errors."""
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", FakeEstimator)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main(["predict", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def photo(path: Path, people: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (people, 0, 0)).save(path)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def asked(*sources: Path | str, output: Path, **changes: Any) -> Any:
    """What the command line gives to :func:`named_inputs`."""
    settings = {
        "output": output, "format": ["image", "coco"], "shard": Shard(), "recursive": False,
        "skip_existing": False, **changes,
    }  # fmt: skip
    return SimpleNamespace(sources=[*map(str, sources)], **settings)


class FakeFolder:
    """A folder of as many names as wanted, none of which is on the disk."""

    def __init__(self, path: str, n: int) -> None:
        self.path, self.n, self.n_seen = path, n, 0

    def __enter__(self) -> Iterator[Any]:
        for n in range(self.n):
            self.n_seen += 1
            name = f"{n:09}.jpg"
            yield SimpleNamespace(
                name=name, path=f"{self.path}/{name}", is_dir=lambda: False,
                is_symlink=lambda: False,
            )  # fmt: skip

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("pattern", ["", "/*.jpg", "/**/*.jpg"])
def test_photos_are_named_while_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """The first is there when a few names are read, and of all names little is held."""
    folder, out, opened = tmp_path / "in", tmp_path / "out", list[FakeFolder]()
    folder.mkdir()
    n, scandir = 1000, os.scandir

    def fake(path: Any = ".") -> Any:
        if os.fspath(path) != str(folder):
            return scandir(path)
        opened.append(FakeFolder(str(folder), n))
        return opened[-1]

    monkeypatch.setattr(os, "scandir", fake)
    monkeypatch.setattr("openpaf.io.folders.SORTED_TOGETHER", 20)
    inputs = named_inputs(asked(f"{folder}{pattern}", output=out), ["image", "coco"])
    images = iter(inputs.images)
    first = next(images)
    assert first.output.files == {name: out / f"000000000{end}" for name, end in
                                  (("image", ".jpg"), ("coco", ".json"))}  # fmt: skip
    assert opened[0].n_seen <= 41
    assert inputs.n_images is None
    tracemalloc.start()
    try:
        assert sum(1 for _ in itertools.islice(images, n - 2)) == n - 2
        interned = tracemalloc.Filter(False, "*pathlib*")  # by Python, of which some is left
        held = tracemalloc.take_snapshot().filter_traces([interned]).statistics("filename")
    finally:
        tracemalloc.stop()
    assert sum(one.size for one in held) < 100 * n  # a list of paths alone takes more
    assert len(list(images)) == 1
    assert inputs.count is not None
    assert inputs.count() == n


def test_a_glob_is_walked_lazily_and_sorted_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a/1.jpg", "3.jpg", "a/c/0.jpg"):
        photo(tmp_path / name)
    listed, scandir = list[str](), os.scandir

    def watched(path: Any = ".") -> Any:
        listed.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)
    paths = walk_glob(f"{tmp_path}/**/*.jpg")
    assert Path(next(paths)).name == "3.jpg"
    assert listed == [tmp_path.name]
    names = [str(Path(path).relative_to(tmp_path)) for path in paths]
    assert names == ["a/1.jpg", "a/c/0.jpg", "b/2.jpg", "b/10.jpg"]


@pytest.mark.parametrize("source", ["in/*.png", "in", "@list.txt", "-"])
def test_what_is_drawn_is_no_input_though_it_is_listed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Photos that lie where they are drawn to stay as they are, and each is drawn once a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("openpaf.io.folders.SORTED_TOGETHER", 1)
    out = tmp_path / "in" if source != "in" else tmp_path / "in" / "out"
    before = {}
    for name in ("a.png", "a_2.png", "b.png", "c.jpg"):
        before[name] = photo(tmp_path / "in" / name).read_bytes()
    lines = "".join(f"in/{name}\n" for name in before if name != "c.jpg")
    Path("list.txt").write_text(lines)
    flags = ["--output", out, "--format", "image"]
    for n_run in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        status, said, errors = run(source, *flags)
        assert (status, errors) == (0, "")
        n_photos = 4 if source == "in" else 3
        if n_run == 0:
            assert f"{n_photos} photos, " in said
        assert {name: (tmp_path / "in" / name).read_bytes() for name in before} == before
        if source.startswith("in"):
            break  # what was drawn is found by a second run of a glob, as before
    if source == "in":
        assert files(out) == sorted(before)
    else:
        drawn = ["a_3.png", "a_2_2.png", "b_2.png"]
        assert files(out) == sorted([*before, *drawn])


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_photo_without_a_suffix_beside_the_results_is_run(
    run: Run, tmp_path: Path, is_listed: bool
) -> None:
    """What a run draws has the suffix of an image."""
    photo(tmp_path / "a.png", 2).rename(tmp_path / "a")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a'}\n")
    source = f"@{tmp_path / 'list.txt'}" if is_listed else tmp_path / "a"
    status, said, errors = run(source, "--output", tmp_path, "--format", "image")
    assert (status, errors) == (0, "")
    assert "1 photo, 2 people" in said


def test_names_do_not_depend_on_the_shard_or_on_what_is_there(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "x/a.png", "y/a.png", "y/b.png", "y/z/b.jpg"):
        photo(tmp_path / "in" / name)
    flags = ["--recursive", "--format", "image,coco"]
    assert run(tmp_path / "in", "--output", tmp_path / "whole", *flags)[0] == 0
    names = ["a", "a_2", "a_3", "a_4", "b", "b_2"]
    assert sorted({name.split(".")[0] for name in files(tmp_path / "whole")}) == names
    out = tmp_path / "shards"
    for index in (2, 0, 1, 0):
        run(tmp_path / "in", "--output", out, *flags, "--shard", f"{index}/3", "--skip-existing")
    assert files(out) == files(tmp_path / "whole")
    for name in files(out):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_each_file_of_several_sources_is_run_once(run: Run, tmp_path: Path) -> None:
    one = photo(tmp_path / "in" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    status, said, _ = run(
        tmp_path / "in", one, tmp_path / "link", "--output", tmp_path / "out", "--format", "coco"
    )
    assert status == 0
    assert "1 photo, 1 person, 0 skipped" in said


def test_a_million_photos_of_one_name_are_named_in_a_few_steps(tmp_path: Path) -> None:
    names, n_asked = OutputNames(tmp_path, ["coco"]), 0
    taken = names._taken

    class Counted:
        def __contains__(self, text: str) -> bool:
            nonlocal n_asked
            n_asked += 1
            return text in taken

        add = taken.add

    names._taken = Counted()  # type: ignore[assignment]
    stems = [names.name(Path(f"{n}/image.jpg")).stem for n in range(1000)]
    assert stems == ["image", *(f"image_{n}" for n in range(2, 1001))]
    assert n_asked < 25 * 1000


@given(st.lists(st.text()))
def test_a_set_of_texts(texts: list[str]) -> None:
    seen = TextSet()
    for n, text in enumerate(texts):
        assert (text in seen) == (text in texts[:n])
        assert seen.add(text) == (text not in texts[:n])
    assert len(seen) == len(set(texts))
    many = [f"{n}" for n in range(3000)]  # more than it begins with room for
    assert sum(map(seen.add, many)) == len(set(many) - set(texts))
    assert all(text in seen for text in many)

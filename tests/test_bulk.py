"""Long runs: lazy listings, the pipeline, tables in parts, shards, and going on."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bulk_fake import FakeEstimator
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import openpaf.estimator
from openpaf.bulk import process as process_module
from openpaf.bulk.inputs import Input, Listing, Shard
from openpaf.bulk.parts import DonePaths, PartWriter
from openpaf.bulk.process import PipelineConfig, Result, process, read_input
from openpaf.cli import main
from openpaf.cli.predict_files import named_inputs
from openpaf.io import fetch
from openpaf.skeleton import Skeleton
from openpaf.tables.files import TABLES
from openpaf.tables.schema import image_row

Run = Callable[..., tuple[int, str, str]]


def photo(path: Path, people: int = 1, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (people, 0, 0)).save(path)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``openpaf predict ARGUMENTS...`` with the fake: status, output, errors."""
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", FakeEstimator)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main(["predict", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def lines(folder: Path) -> list[dict[str, Any]]:
    """The rows of all parts in JSON."""
    parts = sorted(folder.glob("people-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


# Listings


def paths(*sources: Path | str, **options: Any) -> list[str]:
    return [one.path for one in Listing(sources=tuple(map(str, sources)), **options)]


def test_a_folder_is_listed_in_natural_order_with_subfolders_on_demand(tmp_path: Path) -> None:
    for name in ("10.jpg", "2.jpg", ".hidden.jpg", "a/3.png", "a/b/4.png", ".git/5.png"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "a" / "again").symlink_to(tmp_path)  # no folder is entered twice
    assert paths(tmp_path) == [str(tmp_path / "2.jpg"), str(tmp_path / "10.jpg")]
    names = ["2.jpg", "10.jpg", "a/3.png", "a/b/4.png"]
    assert paths(tmp_path, recursive=True) == [str(tmp_path / name) for name in names]
    assert paths(f"{tmp_path}/*.jpg") == [str(tmp_path / "2.jpg"), str(tmp_path / "10.jpg")]


def test_a_listing_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder only as many names are held as are sorted together."""
    for n in range(40):
        (tmp_path / f"{n}.jpg").touch()
    seen = 0
    scandir = os.scandir

    class Counted:
        def __init__(self, path: str) -> None:
            self.entries = scandir(path)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return self.names()

        def names(self) -> Iterator[os.DirEntry[str]]:
            nonlocal seen
            for entry in self.entries:
                seen += 1
                yield entry

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Counted)
    monkeypatch.setattr("openpaf.io.folders.SORTED_TOGETHER", 5)
    listing = iter(Listing(sources=(str(tmp_path),)))
    next(listing)
    assert seen == 5
    assert len(list(listing)) == 39


def test_what_cannot_be_listed_is_told(tmp_path: Path) -> None:
    errors: list[str] = []
    (tmp_path / "empty").mkdir()
    (tmp_path / "raw.NEF").touch()
    missing = tmp_path / "missing.jpg"
    found = list(
        Listing(
            sources=(f"{tmp_path}/empty", f"{tmp_path}/no*.jpg", "@none.txt", str(missing),
                     str(tmp_path)),
            on_error=errors.append,
        )
    )  # fmt: skip
    assert [one.path for one in found] == [str(missing), str(tmp_path / "raw.NEF")]
    assert found[1].error is not None  # an input all the same: it has a row
    assert "a raw file of a camera" in found[1].error
    assert len(errors) == 3
    assert "none.txt" in errors[2]


def test_lists_from_files_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = photo(tmp_path / "in" / "1.png")
    text = f"{tmp_path}/a [1].jpg\n\nhttps://host/image?id=3\r\n{tmp_path}/in\n".encode()
    (tmp_path / "list.txt").write_bytes(text)
    expected = [f"{tmp_path}/a [1].jpg", "https://host/image?id=3", str(inside)]
    assert paths(f"@{tmp_path}/list.txt") == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert paths("-") == expected
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="no standard input"):
        paths("-")


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    mode: Any = "w:gz" if path.suffix == ".gz" else "w"
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tar_files_are_read_from_end_to_end(tmp_path: Path, suffix: str) -> None:
    data = photo(tmp_path / "a.png", 2).read_bytes()
    members = {"000.png": data, "000.json": b"{}", "x/001.png": data, "x/.hidden.png": data}
    path = tar_of(tmp_path / f"shard{suffix}", members)
    found = list(Listing(sources=(str(path),)))
    assert [one.path for one in found] == [f"{path}/000.png", f"{path}/x/001.png"]
    result = read_input(found[0], hashes=True)
    assert result.image is not None
    assert result.image.shape == (6, 8, 3)
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if suffix == ".tar.gz" else whole[:600])
    last = list(Listing(sources=(str(path),)))[-1]
    assert last.path == str(path)
    assert "damaged tar file" in str(last.error)


@given(st.lists(st.text(min_size=1), unique=True, max_size=30), st.integers(1, 5))
def test_each_path_belongs_to_one_shard(names: list[str], count: int) -> None:
    shards = [Shard(index, count) for index in range(count)]
    assert all(sum(shard.takes(name) for shard in shards) == 1 for name in names)


def test_shards_are_even_and_take_whole_tar_files(tmp_path: Path) -> None:
    shards = [Shard(index, 4) for index in range(4)]
    counts = Counter(s.index for n in range(4000) for s in shards if s.takes(f"in/{n}.jpg"))
    assert all(900 < counts[index] < 1100 for index in range(4))
    data = photo(tmp_path / "a.png").read_bytes()
    tars = [tar_of(tmp_path / f"{n}.tar", {"1.png": data, "2.png": data}) for n in range(4)]
    for index, shard in enumerate(shards):
        inside = paths(*tars, shard=shard)
        assert inside == [f"{tars[index]}/1.png", f"{tars[index]}/2.png"]


# Addresses


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine: an image, a large file, and one that fails twice."""
    data = photo(tmp_path / "served.png", 3).read_bytes()
    failures = [503, 503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = failures.pop() if self.path == "/late.png" and failures else 200
            status = 404 if self.path == "/none.png" else status
            body = b"x" * 5000 if self.path == "/large.png" else data
            self.send_response(status)
            if self.path != "/large.png":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(fetch, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(fetch, "MAX_BYTES", 4000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()
        thread.join()


def test_images_of_addresses(server: str) -> None:
    for name in ("a.png", "late.png"):
        result = read_input(Input(f"{server}/{name}"))
        assert result.error is None
        assert result.image_hw == (6, 8)
    errors = {
        "none.png": "the server answers 404",
        "large.png": "more than the 4,000 bytes read",
    }
    for name, message in errors.items():
        assert message in str(read_input(Input(f"{server}/{name}")).error)
    nowhere = server.replace("http://", "http://me:secret@").rsplit(":", 1)[0] + ":9/a.png"
    error = str(read_input(Input(nowhere)).error)
    assert "cannot be fetched" in error
    assert "secret" not in error


def test_predict_takes_addresses(run: Run, server: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, said, _ = run(f"{server}/a.png", f"{server}/b/a.png", "--output", out)
    assert status == 0
    assert "2 photos, 6 people, 0 skipped" in said
    ids = {json.loads(path.read_text())[0]["image_id"] for path in out.glob("*.json")}
    assert ids == {"a.png", "a_2.png"}
    (tmp_path / "list.txt").write_text(f"{server}/a.png\n{server}/none.png\n")
    tables = tmp_path / "tables"
    assert run(f"@{tmp_path}/list.txt", "--output", tables, "--format", "jsonl")[0] == 1
    assert [row["n_people"] for row in lines(tables)] == [3, None]
    assert "404" in lines(tables)[1]["error"]


# The pipeline


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_pipeline_gives_what_a_loop_gives(
    tmp_path: Path, overlaps: bool, batch_size: int
) -> None:
    counts = [1, 0, 3, 255, 2, 1, 7]  # 255: made blue below
    inputs = []
    for n, count in enumerate(counts):
        path = photo(tmp_path / f"{n}.png", count, size=(8 + n % 2, 6))
        if count == 255:
            Image.new("RGB", (9, 6), "blue").save(path)
        inputs.append(Input(str(path), output=n))
    inputs.insert(2, Input(str(tmp_path / "missing.png"), output=99))
    config = PipelineConfig(batch_size=batch_size, overlaps=overlaps, hashes=True)

    def finish(result: Result) -> tuple[int, Any]:
        found = None if result.error else len(result.found)
        assert result.image is None or result.error
        return result.input.output, (found, result.image_hw)

    done = dict(process(iter(inputs), FakeEstimator(), finish, config))
    assert done == {
        **{n: (None if c == 255 else c, (6, 8 + n % 2)) for n, c in enumerate(counts)},
        99: (None, None),
    }
    if batch_size == 1:
        order = [n for n, _ in process(iter(inputs), FakeEstimator(), finish, config)]
        assert order == [one.output for one in inputs]


def test_images_of_one_shape_come_together(tmp_path: Path) -> None:
    sizes = [(8, 6), (6, 8)] * 4
    inputs = [Input(str(photo(tmp_path / f"{n}.png", 1, s))) for n, s in enumerate(sizes)]
    batches: list[set[tuple[int, ...]]] = []

    class Watched(FakeEstimator):
        size = 64

        def batch(self, images: list[np.ndarray]) -> list[Any]:
            batches.append({image.shape for image in images})
            assert len(images) == 4
            return super().batch(images)

    config = PipelineConfig(batch_size=4)
    assert len(list(process(inputs, Watched(), lambda result: 1, config))) == 8
    assert batches == [{(6, 8, 3)}, {(8, 6, 3)}]


def test_memory_of_the_pipeline_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are not read ahead of a slow step, neither in number nor in bytes."""
    path = str(photo(tmp_path / "a.png", 1, size=(100, 100)))
    taken, finished, most = 0, 0, 0

    def inputs() -> Iterator[Input]:
        nonlocal taken
        for _ in range(60):
            taken += 1
            yield Input(path)

    def finish(result: Result) -> None:
        nonlocal finished, most
        time.sleep(0.002)
        most = max(most, taken - finished)
        finished += 1

    list(process(inputs(), FakeEstimator(), finish, PipelineConfig()))
    assert finished == 60
    assert most <= 12
    monkeypatch.setattr(process_module, "MAX_BYTES", 100 * 100 * 3)  # one at a time
    taken = finished = most = 0
    list(process(inputs(), FakeEstimator(), finish, PipelineConfig()))
    assert finished == 60
    assert most <= 7  # one in work, one that waits for room, and those read ahead


def test_a_pipeline_that_is_left_ends(tmp_path: Path) -> None:
    path = str(photo(tmp_path / "a.png"))
    for max_bytes in (process_module.MAX_BYTES, 1):
        process_module.MAX_BYTES, before = max_bytes, process_module.MAX_BYTES
        try:
            running = process(
                (Input(path) for _ in iter(int, 1)), FakeEstimator(), len_of, PipelineConfig()
            )
            assert next(running) == 1
            started = time.monotonic()
            running.close()
            assert time.monotonic() - started < 3
        finally:
            process_module.MAX_BYTES = before


def len_of(result: Result) -> int:
    return len(result.found)


# Tables in parts


@pytest.mark.parametrize("name", list(TABLES))
def test_parts_and_going_on(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    skeleton = Skeleton.COCO17
    with PartWriter(tmp_path, [name], skeleton, rows=2) as parts:
        for n in range(5):
            parts.add(image_row(path=f"{n}.jpg", error="none"))
            written = sorted(path.name for path in tmp_path.glob("people-*"))
            assert len(written) == (n + 1) // 2
        assert len(parts.done) == 0
    suffix = TABLES[name].suffix
    assert [p.name for p in sorted(tmp_path.glob("people-*"))] == [
        f"people-0000{n}{suffix}" for n in range(3)
    ]
    with pytest.raises(ValueError, match="--resume goes on with it"):
        PartWriter(tmp_path, [name], skeleton)
    with pytest.raises(ValueError, match="were made with size None, not 64"):
        PartWriter(tmp_path, [name], skeleton, resume=True, settings={"size": 64})
    with PartWriter(tmp_path, [name], skeleton, resume=True) as parts:
        assert len(parts.done) == 5
        assert "4.jpg" in parts.done
        assert "5.jpg" not in parts.done
        parts.add(image_row(path="5.jpg"))
        with pytest.raises(ValueError, match="another run is writing"):
            PartWriter(tmp_path, [name], skeleton, resume=True)
    assert (tmp_path / f"people-00003{suffix}").exists()
    with PartWriter(tmp_path, [name], skeleton, overwrite=True, settings={"size": 64}) as parts:
        assert len(parts.done) == 0
    assert not list(tmp_path.glob("people-*"))


def test_parts_of_another_format_are_not_touched(tmp_path: Path) -> None:
    with PartWriter(tmp_path, ["jsonl"], Skeleton.COCO17) as parts:
        parts.add(image_row(path="a.jpg"))
    for formats in (["csv"], ["csv", "jsonl"]):
        with pytest.raises(ValueError, match="were made with formats"):
            PartWriter(tmp_path, formats, Skeleton.COCO17, resume=True)
    (tmp_path / "_people.json").unlink()
    with pytest.raises(ValueError, match=r"has tables, but no _people\.json"):
        PartWriter(tmp_path, ["csv"], Skeleton.COCO17, resume=True)
    assert (tmp_path / "people-00000.jsonl").exists()


def test_a_part_of_which_only_one_format_is_there_is_made_again(tmp_path: Path) -> None:
    with PartWriter(tmp_path, ["csv", "jsonl"], Skeleton.COCO17, rows=1) as parts:
        for n in range(3):
            parts.add(image_row(path=f"{n}.jpg"))
    (tmp_path / "people-00002.jsonl").unlink()  # as if killed between the two
    with PartWriter(tmp_path, ["csv", "jsonl"], Skeleton.COCO17, resume=True) as parts:
        assert len(parts.done) == 2
        assert "2.jpg" not in parts.done
        assert not (tmp_path / "people-00002.csv").exists()


@given(st.sets(st.text()), st.sets(st.text()))
def test_done_paths_are_a_set(inside: set[str], others: set[str]) -> None:
    done = DonePaths(iter(inside))
    assert len(done) == len(inside)
    assert all(path in done for path in inside)
    assert not any(path in done for path in others - inside)


# The command


def test_predict_writes_a_row_for_every_input(run: Run, tmp_path: Path) -> None:
    good = photo(tmp_path / "in" / "a.png", 2)
    photo(tmp_path / "in" / "b.png", 0)
    (tmp_path / "in" / "c.jpg").write_text("no image")
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "in" / "d.png")
    out = tmp_path / "out"
    status, said, errors = run(
        tmp_path / "in", "--output", out, "--format", "jsonl", "--sha256", "--part-size", "3"
    )
    assert status == 1
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "_people.json", "people-00000.jsonl", "people-00001.jsonl",
    ]  # fmt: skip
    rows = lines(out)
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.jpg", "d.png"]
    assert [row["n_people"] for row in rows] == [2, 0, None, None]
    assert rows[0]["sha256"] == hashlib.sha256(good.read_bytes()).hexdigest()
    assert rows[0]["keypoints"][1][16] == [22.0, 22.333]
    assert (rows[0]["height"], rows[0]["width"], rows[0]["model"]) == (6, 8, "fake")
    assert rows[2]["error"].startswith("not an image")  # without the path, which is beside it
    assert rows[3]["error"].startswith("RuntimeError: too blue")
    assert (rows[3]["height"], rows[3]["keypoints"]) == (6, None)
    assert len(errors.splitlines()) == 2
    assert f"skipped {tmp_path}/in/c.jpg: not an image" in errors
    assert "2 photos, 2 people, 2 skipped" in said.splitlines()[-1]
    settings = json.loads((out / "_people.json").read_text())
    assert (settings["schema"], settings["size"], settings["shards"]) == (1, 368, 1)


def test_predict_goes_on(run: Run, tmp_path: Path) -> None:
    for n in range(5):
        photo(tmp_path / "in" / f"{n}.png")
    out = ["--output", tmp_path / "out", "--format", "csv,jsonl", "--part-size", "2"]
    assert run(tmp_path / "in", *out)[0] == 0
    assert "--resume goes on with it" in run(tmp_path / "in", *out)[2]
    (tmp_path / "out" / "people-00002.jsonl").unlink()
    photo(tmp_path / "in" / "new.png")
    status, said, _ = run(tmp_path / "in", *out, "--resume")
    assert status == 0
    assert said.splitlines()[-1].startswith("2 photos, 2 people, 0 skipped, 4 before")
    assert len({row["path"] for row in lines(tmp_path / "out")}) == 6
    status, said, _ = run(tmp_path / "in", *out, "--resume")
    assert (status, said[:8]) == (0, "0 photos")
    assert "made with size 368, not 64" in run(tmp_path / "in", *out, "--resume", "--size", "64")[2]
    status, said, _ = run(tmp_path / "in", *out, "--overwrite", "--size", "64")
    assert said.splitlines()[-1].startswith("6 photos, 6 people, 0 skipped, ")
    assert len(lines(tmp_path / "out")) == 6


def test_errors_are_tried_again_on_demand(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for n in range(5):
        photo(tmp_path / "in" / f"{n}.png")
    for n in (1, 4, 5):
        (tmp_path / "in" / f"{n}.png").write_text("not there yet")
    out = tmp_path / "out"
    flags = ["--output", out, "--format", "csv,jsonl,parquet", "--part-size", "2"]
    assert run(tmp_path / "in", *flags)[0] == 1
    before = lines(out)
    photo(tmp_path / "in" / "1.png", 2)
    photo(tmp_path / "in" / "5.png", 3)
    # By itself, to go on leaves them as they are.
    assert run(tmp_path / "in", *flags, "--resume")[1].startswith("0 photos, 0 people, 0 skipped")
    assert lines(out) == before
    status, said, errors = run(tmp_path / "in", *flags, "--retry-errors")
    assert status == 1
    assert said.splitlines()[-1].startswith("2 photos, 5 people, 1 skipped, 3 before")
    assert len(errors.splitlines()) == 1
    rows = {Path(row["path"]).name: row for row in lines(out)}
    assert len(lines(out)) == len(rows) == 6
    assert [rows[f"{n}.png"]["n_people"] for n in range(6)] == [1, 2, 1, 1, None, 3]
    assert [rows[f"{n}.png"] for n in (0, 2, 3)] == [
        row for row in before if row["path"][-5] in "023"
    ]
    for name, kind in TABLES.items():  # all formats have the same rows
        paths = [path for part in out.glob(f"people-*{kind.suffix}") for path in kind.paths(part)]
        assert Counter(paths) == Counter(
            row["path"]
            for row in lines(out)
            for _ in range(row["n_people"] or 1 if name == "csv" else 1)
        )
    assert not list(out.glob(".*.partial"))
    bad = run(tmp_path / "in", *flags, "--retry-errors", "--overwrite")
    assert (bad[0], "--retry-errors, --overwrite: one of them" in bad[2]) == (2, True)


def test_a_kill_while_errors_are_taken_out_loses_no_input(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        photo(tmp_path / "in" / f"{n}.png")
    (tmp_path / "in" / "2.png").write_text("no image")
    out = tmp_path / "out"
    flags = ["--output", out, "--format", "csv,jsonl", "--part-size", "2"]
    run(tmp_path / "in", *flags)
    replace = os.replace

    def killed(source: Any, target: Any) -> None:
        replace(source, target)
        if str(target).startswith(str(out)):
            raise KeyboardInterrupt  # between the two files of a part

    monkeypatch.setattr(os, "replace", killed)
    assert run(tmp_path / "in", *flags, "--retry-errors")[0] == 130
    monkeypatch.setattr(os, "replace", replace)
    assert run(tmp_path / "in", *flags, "--resume")[0] == 1
    assert sorted(Path(row["path"]).name for row in lines(out)) == [f"{n}.png" for n in range(4)]


def test_predict_in_shards(run: Run, tmp_path: Path) -> None:
    for n in range(12):
        photo(tmp_path / "in" / f"{n % 3}" / f"{n}.png")
    out = ["--output", tmp_path / "out", "--format", "jsonl", "--recursive"]
    for index in range(3):
        assert run(tmp_path / "in", *out, "--shard", f"{index}/3")[0] == 0
        assert (tmp_path / "out" / f"people-{index}of3-00000.jsonl").exists()
    assert len({row["path"] for row in lines(tmp_path / "out")}) == len(lines(tmp_path / "out"))
    assert len(lines(tmp_path / "out")) == 12
    assert "made with shards 3, not 2" in run(tmp_path / "in", *out, "--shard", "0/2")[2]


def test_predict_writes_files_and_tables(run: Run, tmp_path: Path) -> None:
    """Files of images in subfolders too, without those that are there."""
    photo(tmp_path / "in" / "a.png", 2)
    photo(tmp_path / "in" / "b" / "a.png", 1)
    out = tmp_path / "out"
    flags = ["--recursive", "--output", out, "--format", "image,coco,jsonl"]
    assert run(tmp_path / "in", *flags)[0] == 0
    names = ["_people.json", "a.json", "a.png", "a_2.json", "a_2.png", "people-00000.jsonl"]
    assert sorted(path.name for path in out.glob("[!.]*")) == names
    assert {row["n_people"] for row in lines(out)} == {1, 2}
    ids = [json.loads((out / name).read_text())[0]["image_id"] for name in ("a.json", "a_2.json")]
    assert ids == ["a.png", "a_2.png"]
    (out / "a.png").unlink()
    flags = ["--recursive", "--output", out, "--format", "image", "--skip-existing"]
    status, said, _ = run(tmp_path / "in", *flags)
    assert (status, said.splitlines()[0]) == (0, f"{tmp_path / 'in' / 'a.png'}: 2 people")
    assert "1 photo, 2 people" in said
    flags[2] = tmp_path / "in" / "b"
    assert "is in a source" in run(tmp_path / "in", *flags)[2]


def test_photos_of_tar_files_are_drawn_as_they_come(run: Run, tmp_path: Path) -> None:
    """Each tar file has a folder; names are the same in each shard, and when a run goes on."""
    data = [photo(tmp_path / "a.png", n).read_bytes() for n in range(4)]
    members = {"7.png": data[1], "x/a.png": data[2], "y/a.png": data[3], "b.png": b"no image"}
    tars = [tar_of(tmp_path / name / "0.tar.gz", members) for name in ("a", "b")]
    alone, out = tmp_path / "alone", tmp_path / "out"
    flags = ["--format", "image,coco,jsonl"]
    status, said, errors = run(tars[0], "--output", alone, *flags)
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "3 photos, 6 people, 1 skipped" in said
    names = [f"0/{name}" for name in ("7.json", "7.png", "a.json", "a.png", "a_2.json", "a_2.png")]
    assert sorted(str(path.relative_to(alone)) for path in alone.glob("*/*")) == names
    assert json.loads((alone / "0" / "7.json").read_text())[0]["image_id"] == 7
    assert len(json.loads((alone / "0" / "a_2.json").read_text())) == 3
    assert len(lines(alone)) == 4

    photo(tmp_path / "0.png")
    sources = [*tars, tmp_path / "0.png", "--output", out, "--format", "image,coco"]
    for index in (1, 0):
        assert run(*sources, "--shard", f"{index}/2")[0] == 1
    both = [*names, *(f"0_2{name[1:]}" for name in names)]
    assert sorted(str(path.relative_to(out)) for path in out.glob("*/*")) == sorted(both)
    assert (out / "0.png").exists()
    assert json.loads((out / "0_2" / "7.json").read_text())[0]["image_id"] == "0_2/7.png"
    for name in ("0/a.png", "0_2/7.json"):
        (out / name).unlink()
    status, said, _ = run(*sources, "--resume")
    assert "2 photos, 3 people, 2 skipped" in said
    assert sorted(str(path.relative_to(out)) for path in out.glob("*/*")) == sorted(both)


def test_a_tar_file_that_is_drawn_is_not_read_ahead(tmp_path: Path) -> None:
    """What is named of it is what is needed."""
    data = photo(tmp_path / "a.png").read_bytes()
    tar = tar_of(tmp_path / "a.tar", {f"{n}.png": data for n in range(100)})
    whole = tar.read_bytes()
    tar.write_bytes(whole[:20_000])  # a reader that went on would see that it ends
    arguments = SimpleNamespace(
        sources=[str(tar)], output=tmp_path / "out", format=["coco"], shard=Shard(),
        recursive=False, skip_existing=False,
    )  # fmt: skip
    inputs = named_inputs(arguments, ["coco"])  # type: ignore[arg-type]
    first = next(iter(inputs.images))
    assert (first.path, first.error) == (f"{tar}/0.png", None)
    assert first.output.files == {"coco": tmp_path / "out" / "a" / "0.json"}
    assert "damaged tar file" in str(list(inputs.images)[-1].error)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shard", "3/3"], "expected I/N with I from 0 to N - 1"),
        (["--shard", "1"], "expected I/N"),
        (["--workers", "0"], "--workers"),
        (["--sha256"], "--sha256: only with --format csv, parquet, jsonl"),
        (["--overwrite"], "--overwrite: only with"),
        (["--format", "csv", "--resume", "--overwrite"], "one of them"),
        (["--retry-errors"], "--retry-errors: only with --format csv, parquet, jsonl"),
        (["--start", "soon"], "expected seconds"),
        (["--timeout", "9"], "--timeout: only with --workers from 2 on"),
    ],
)
def test_bad_use(run: Run, tmp_path: Path, flags: list[str], message: str) -> None:
    status, _, errors = run(photo(tmp_path / "a.png"), "--output", tmp_path / "out", *flags)
    assert (status, len(errors.splitlines())) == (2, 1)
    assert message in errors


def test_more_bad_use(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo(tmp_path / "a.png")
    tar = tar_of(tmp_path / "a.tar", {"a.png": source.read_bytes()})
    assert "a tar file needs a folder" in run(tar, "--output", tmp_path / "out.png")[2]
    result = run(source, "--output", tmp_path / "people.csv", "--format", "csv")
    assert "expected a folder" in result[2]
    result = run(tmp_path / "no*.png", "--output", tmp_path / "out", "--format", "csv")
    assert result[0] == 2
    assert "no photo to read" in result[2]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run(source, "--output", tmp_path / "out", "--format", "parquet")
    assert "--format parquet: 'pyarrow' is not installed" in result[2]
    assert "'.[tables]'" in result[2]


def test_many_failures_are_not_all_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/{n}.png\n" for n in range(50)))
    status, _, errors = run(
        f"@{tmp_path}/list.txt", "--output", tmp_path / "out", "--format", "jsonl"
    )
    assert status == 1
    assert len(errors.splitlines()) == 21
    assert len(lines(tmp_path / "out")) == 50


@pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")
def test_names_that_are_no_text_have_rows(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    photo(tmp_path / "in" / os.fsdecode(b"latin-\xe9.png"))
    flags = ["--output", tmp_path / "out", "--format", "csv,jsonl,parquet"]
    assert run(tmp_path / "in", *flags)[0] == 0
    assert lines(tmp_path / "out")[0]["path"].endswith(r"latin-\xe9.png")
    assert "0 photos" in run(tmp_path / "in", *flags, "--resume")[1]


# Real kills


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_kill_loses_at_most_a_part_and_repeats_nothing(tmp_path: Path, repo_root: Path) -> None:
    """Killed again and again at random moments, a run ends with each input in one row."""
    n_images, part = 150, 10
    (tmp_path / "in").mkdir()
    data = photo(tmp_path / "a.png").read_bytes()
    for n in range(n_images):
        (tmp_path / "in" / f"{n}.png").write_bytes(data)
    (tmp_path / "in" / "broken.png").write_bytes(data[:50])
    log, out, rng, n_kills = tmp_path / "log", tmp_path / "out", random.Random(0), 0
    arguments = [
        sys.executable, str(repo_root / "tests" / "bulk_fake.py"), "predict", "in", "--output",
        "out", "--format", "jsonl", "--part-size", str(part), "--resume", "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "BULK_FAKE_LOG": str(log)}
    for _ in range(20):
        n_before = len(lines(out)) if out.exists() else 0
        process = subprocess.Popen(arguments, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        is_last = n_kills == 5
        while not is_last and process.poll() is None:
            if out.exists() and len(lines(out)) > n_before + rng.randrange(20):
                time.sleep(rng.uniform(0, 0.05))
                process.kill()
                n_kills += 1
                break
            time.sleep(0.002)
        _, errors = process.communicate(timeout=60)
        rows = lines(out)  # whatever is there is whole
        assert len({row["path"] for row in rows}) == len(rows)
        assert len(rows) >= n_before
        if process.returncode in (0, 1):
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert n_kills >= 3
    assert len(rows) == n_images + 1
    assert sum(row["error"] is not None for row in rows) == 1
    n_run = len(log.read_bytes())
    in_flight = part + 12  # rows of a part, and images in the pipeline
    assert n_images < n_run <= n_images + n_kills * in_flight


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_what_is_done(
    tmp_path: Path, repo_root: Path, number: int, status: int
) -> None:
    data = photo(tmp_path / "in" / "0.png").read_bytes()
    for n in range(1, 400):
        (tmp_path / "in" / f"{n}.png").write_bytes(data)
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, str(repo_root / "tests" / "bulk_fake.py"), "predict", "in", "--output",
         "out", "--format", "jsonl", "--quiet"],
        cwd=tmp_path, env={**os.environ, "BULK_FAKE_LOG": str(log)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not (log.exists() and log.stat().st_size > 40) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert 25 < len(lines(tmp_path / "out")) < 400

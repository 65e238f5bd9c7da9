"""Batches of images to tables, as clusters call them; and Ray, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs_blocks import blocks

import openpaf
from openpaf.bulk import PoseBatch
from openpaf.bulk.inputs import Input, Listing
from openpaf.bulk.lists import n_lists, read_list, write_lists
from openpaf.bulk.ray_run import PartTask, _handlers_kept, has_failures
from openpaf.cli import main
from openpaf.cli.common import IMAGE_THRESHOLD
from openpaf.tables.files import read_table

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(
    not list(Path(str(resources.files("openpaf.models"))).glob("*.safetensors")),
    reason="no weights in openpaf.models",
)


@pytest.fixture(scope="module")
def batch() -> PoseBatch:
    return PoseBatch(model="fast", engine="torch", size=128, threshold=0.1)


@pytest.fixture(scope="module")
def photos(repo_root: Path) -> list[str]:
    return sorted(map(str, (repo_root / "data" / "photos").glob("*.[jp][pn]g")))[:3]


@pytest.fixture(scope="module")
def expected(photos: list[str]) -> list[dict[str, Any]]:
    estimator = openpaf.PoseEstimator("fast", engine="torch", threads=1, size=128, min_score=0.1)
    return [estimator(path).to_arrow(path=path).to_pylist()[0] for path in photos]


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(rows) == len(expected)
    for row, one in zip(rows, expected, strict=True):
        for name in ("n_people", "boxes", "person_scores", "keypoints", "joint_scores"):
            own = str(row[name]).replace("None", "nan")  # a data frame has nulls in place of NaN
            assert own == str(one[name])
        assert (row["model"], row["engine"], row["error"]) == ("fast-coco17", "torch", None)


def test_every_kind_of_batch(
    batch: PoseBatch, photos: list[str], expected: list[dict[str, Any]]
) -> None:
    data = [Path(path).read_bytes() for path in photos]
    for given in (
        photos,
        {"path": np.array(photos)},
        pa.table({"path": photos}),
        {"path": np.array(photos), "bytes": np.array(data, object)},
        pa.table({"content": data, "path": ["x/" + path for path in photos]}),
        data,
    ):
        table = batch(given)
        assert table.schema.equals(batch.schema, check_metadata=True)
        assert_same(table.to_pylist(), expected)
    assert batch(photos)["path"].to_pylist() == photos
    assert batch(pa.table({"path": pa.array([], pa.string())})).schema.equals(batch.schema)
    with pytest.raises(ValueError, match="expected a column path or bytes, got name"):
        batch({"name": np.array(photos)})
    with pytest.raises(ValueError, match="got str"):
        batch(photos[0])


def test_failures_have_rows_and_the_schema_stays(
    batch: PoseBatch, photos: list[str], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    table = batch([str(tmp_path / "text.jpg"), "missing.jpg", *photos])
    assert_same(table.to_pylist()[2:], expected)
    errors = table["error"].to_pylist()
    assert errors[0].startswith("not an image")
    assert errors[1] == "no such file"
    alone = batch(["missing.jpg"])
    assert alone.schema.equals(batch.schema, check_metadata=True)
    assert alone["n_people"].to_pylist() == [None]


def test_data_frames_in_data_frames_out(
    batch: PoseBatch, photos: list[str], expected: list[dict[str, Any]]
) -> None:
    """As Spark's ``mapInPandas`` and Dask's ``map_partitions`` call it."""
    pandas = pytest.importorskip("pandas")
    given = [pandas.DataFrame({"path": [*photos[:2], "missing.jpg"]}),
             pandas.DataFrame({"path": photos[2:]})]  # fmt: skip
    frames = list(batch.frames(iter(given)))
    assert [len(frame) for frame in frames] == [3, 1]
    # Spark makes Arrow of the frames, by its own schema.
    tables = [pa.Table.from_pandas(f, schema=batch.schema, preserve_index=False) for f in frames]
    rows = pa.concat_tables(tables).to_pylist()
    assert rows.pop(2)["n_people"] is None
    assert_same(rows, expected)
    names = [part.split()[0] for part in batch.spark_schema.split(", ")]
    assert names == batch.schema.names
    assert "keypoints array<array<array<float>>>" in batch.spark_schema


def test_it_pickles_without_its_model_and_pins_the_engine(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENPAF_ENGINE", "torch")
    batch = PoseBatch(model="fast", engine="auto", size=128)
    assert batch.engine == "torch"
    assert batch.threshold == IMAGE_THRESHOLD
    batch(photos[:1])
    data = pickle.dumps(batch)
    assert len(data) < 1000
    program = (
        "import pickle, sys; batch = pickle.loads(bytes.fromhex(sys.argv[1])); batch.warm_up(); "
        "print(batch(sys.argv[2:]).column('engine').to_pylist())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, data.hex(), photos[0]],
        env={**os.environ, "OPENPAF_ENGINE": "onnx"},  # another is fastest there
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == "['torch']\n"
    with pytest.raises(ValueError, match="engine: expected one of"):
        PoseBatch(engine="quick")


def kills_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes that start from now on, images whose names have "kills" kill."""
    before = os.environ.get("PYTHONPATH")
    folder = str(Path(__file__).parent / "killing")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (folder, before))))


def test_an_image_that_kills_has_a_row(
    batch: PoseBatch, photos: list[str], expected: list[dict[str, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In a process of its own, which is replaced and stays for the next batch."""
    kills_of_files(monkeypatch)
    isolated = replace(batch, isolated=True)
    try:
        given = [photos[0], str(tmp_path / "kills.jpg"), photos[1], "missing.jpg"]
        rows = isolated(given).to_pylist()
        assert [row["path"] for row in rows] == given
        assert_same([rows[0], rows[2]], expected[:2])
        assert rows[1]["error"] == "RuntimeError: the process died of it (SIGKILL)"
        assert rows[3]["error"] == "no such file"
        (kept,) = multiprocessing.active_children()
        assert_same(isolated(photos).to_pylist(), expected)
        assert multiprocessing.active_children() == [kept]
    finally:
        isolated.stop()
    assert not multiprocessing.active_children()


def test_a_part_that_died_is_tried_image_by_image(
    batch: PoseBatch, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray runs it: in one process after another, each of which the part may kill."""
    write_lists([Input(path) for path in (photos[0], "/kills.jpg")], tmp_path, 4)
    kills_of_files(monkeypatch)
    program = (
        "import pickle, sys\n"
        "if __name__ == '__main__':\n"
        "    print(pickle.loads(bytes.fromhex(sys.argv[1])).make(0))\n"
    )
    (tmp_path / "program.py").write_text(program)
    data = pickle.dumps(PartTask(tmp_path, batch)).hex()
    command = [sys.executable, str(tmp_path / "program.py"), data]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert not (tmp_path / "people-000000.parquet").exists()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("(0, 2, ")
    rows = read_table(tmp_path / "people-000000.parquet").to_pylist()
    assert [row["error"] is None for row in rows] == [True, False]
    assert not list((tmp_path / "_lists").glob("*.tries"))


def test_a_part_that_hangs_ends_its_process_and_is_tried_image_by_image(
    batch: PoseBatch, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lists([Input(path) for path in (photos[0], "/hangs.jpg")], tmp_path, 4)
    kills_of_files(monkeypatch)
    program = (
        "import pickle, sys\n"
        "if __name__ == '__main__':\n"
        "    task = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "    task.batch.warm_up()\n"
        "    print(task.make(0))\n"
    )
    (tmp_path / "program.py").write_text(program)
    data = pickle.dumps(PartTask(tmp_path, replace(batch, timeout_s=3))).hex()
    command = [sys.executable, str(tmp_path / "program.py"), data]
    assert subprocess.run(command, capture_output=True).returncode == 1
    assert not (tmp_path / "people-000000.parquet").exists()
    subprocess.run(command, capture_output=True, check=True)
    rows = read_table(tmp_path / "people-000000.parquet").to_pylist()
    assert [row["error"] for row in rows] == [None, "no result within 3 s"]


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar").touch()
    inputs = [Input(path) for path in ("1.jpg", "/2.jpg", "a.tar", "http://host/3.jpg")]
    assert n_lists(tmp_path) is None
    assert write_lists(inputs, tmp_path, 2) == n_lists(tmp_path) == 3
    lists = [read_list(tmp_path, n) for n in range(3)]
    assert lists == [[f"{tmp_path}/1.jpg", "/2.jpg"], [f"{tmp_path}/a.tar"], ["http://host/3.jpg"]]
    assert [one.path for one in Listing(sources=("a.tar",), opens_tars=False)] == ["a.tar"]


def test_a_part_is_made_once(
    batch: PoseBatch, photos: list[str], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_lists([Input(path) for path in [*photos, "/missing.jpg"]], tmp_path, 4)
    task = pickle.loads(pickle.dumps(PartTask(tmp_path, batch)))
    people = sum(row["n_people"] for row in expected)
    made = task({"part": np.array([0])})
    assert made == {"part": [0], "rows": [4], "people": [people], "failed": [1], "error": [""]}
    assert "No such file" in task({"part": np.array([7])})["error"][0]  # it cannot be made at all
    rows = read_table(tmp_path / "people-000000.parquet").to_pylist()
    assert [row["path"] for row in rows] == [*photos, "/missing.jpg"]
    assert_same(rows[:3], expected)
    written = (tmp_path / "people-000000.parquet").stat().st_mtime_ns
    assert task.make(0) == (0, 4, people, 1)  # of a process that ended before it could tell
    assert (tmp_path / "people-000000.parquet").stat().st_mtime_ns == written
    again = replace(task, retry_errors=True)
    assert has_failures(tmp_path / "people-000000.parquet")
    assert again.make(0) == (0, 1, 0, 1)  # the one that is missing, again
    assert str(read_table(tmp_path / "people-000000.parquet").to_pylist()) == str(rows)  # NaN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_lists", "people-000000.parquet"]


def test_bulk_on_ray(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The real command in a process of its own: all parts, and then those that are missing."""
    pytest.importorskip("ray.data")
    kills_of_files(monkeypatch)
    for n, path in enumerate(photos):
        (tmp_path / "in" / str(n)).mkdir(parents=True)
        (tmp_path / "in" / str(n) / "a.jpg").write_bytes(Path(path).read_bytes())
    (tmp_path / "in" / "broken.jpg").write_text("no image")
    (tmp_path / "in" / "kills.jpg").write_text("a process of Ray")
    arguments = [
        "bulk", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--recursive",
        "--part-size", "2", "--size", "96", "--model", "fast", "--engine", "torch",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "openpaf", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "5 photos, " in done.stdout
    assert "2 failed" in done.stdout
    parts = sorted((tmp_path / "out").glob("people-*.parquet"))
    assert [path.name for path in parts] == [f"people-00000{n}.parquet" for n in range(3)]
    rows = [row for part in parts for row in read_table(part).to_pylist()]
    assert len({row["path"] for row in rows}) == len(rows) == 5
    errors = {Path(row["path"]).name: row["error"] for row in rows if row["error"] is not None}
    assert set(errors) == {"broken.jpg", "kills.jpg"}
    assert errors["kills.jpg"] == "RuntimeError: the process died of it (SIGKILL)"
    settings = json.loads((tmp_path / "out" / "_people.json").read_text())
    assert (settings["engine"], settings["size"]) == ("torch", 96)

    # Without a missing part Ray is not started.
    assert main(arguments) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "0 photos" in capsys.readouterr().out
    assert main([*arguments, "--resume", "--size", "64"]) == 2
    assert "made with size 96, not 64" in capsys.readouterr().err


_SPARK = """
import sys
from pyspark.sql import SparkSession

settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "2"}
spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
"""
_DASK = """
import glob, os, sys
import dask, dask.dataframe, pandas
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    dask.config.set({"distributed.worker.daemon": False})  # for isolated
    paths = sorted(glob.glob(sys.argv[1] + "/*"))
    frame = dask.dataframe.from_pandas(pandas.DataFrame({"path": paths}), npartitions=2)
"""
_DASK_CLUSTER = """
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster):
"""


def of_docs(part: str, options: str = "") -> str:
    """A block of docs/bulk.md by a part of it, with folders of this test and a quick model."""
    (text,) = [b.text for b in blocks("python") if b.page == "docs/bulk.md" and part in b.text]
    for there, here in (("photos", "1"), ("table", "2")):
        text = text.replace(f'"/shared/{there}"', f"sys.argv[{here}]")
    small = f'PoseBatch(model="fast", engine="torch", size=128, threshold=0.1{options})'
    text, n = re.subn(r"PoseBatch\([^)]*\)", small, text)
    assert n == 1
    return text


@pytest.mark.parametrize("module", ["pyspark", "distributed"])
def test_on_spark_and_dask(
    photos: list[str], expected: list[dict[str, Any]], tmp_path: Path, module: str
) -> None:
    """The blocks of docs/bulk.md on two processes, where Spark or Dask is installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    if module == "pyspark":
        program = _SPARK + of_docs("spark.read") + "spark.stop()\n"
    else:
        *lines, last = of_docs("frame.map_partitions", ", isolated=True").splitlines()
        block = textwrap.indent("\n".join(lines), 4 * " ")
        program = _DASK + block + _DASK_CLUSTER + textwrap.indent(last, 8 * " ")
    (tmp_path / "in").mkdir()
    for path in photos:
        (tmp_path / "in" / Path(path).name).write_bytes(Path(path).read_bytes())
    (tmp_path / "in" / "zzz.jpg").write_text("no image")
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "in"), str(tmp_path / "out")],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = sorted(read_table(tmp_path / "out").to_pylist(), key=lambda row: Path(row["path"]).name)
    assert rows.pop()["error"].startswith("not an image")
    assert_same(rows, expected)


def test_sigterm_stays_what_it_is() -> None:
    """Ray's start replaces its handler by one that aborts."""
    before = signal.getsignal(signal.SIGTERM)
    with _handlers_kept():
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_bulk_without_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["bulk", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "bulk: 'ray' is not installed; pip install '.[ray]'" in capsys.readouterr().err

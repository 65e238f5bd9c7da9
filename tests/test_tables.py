"""Tables of results: one schema, three kinds of files, and people as other packages take them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openpaf
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.tables.files import TABLES, read_table
from openpaf.tables.flat import flat_columns
from openpaf.tables.schema import COLUMNS, SCHEMA_VERSION, arrow_schema, arrow_table, image_row

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def people() -> Poses:
    """Two people with ids; the first has no nose."""
    rng = np.random.default_rng(3)
    keypoints = np.concatenate([rng.uniform(0, 99, (2, 17, 2)), np.full((2, 17, 1), 0.7)], axis=2)
    keypoints[0, 0] = 0
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17, person_scores=[0.9, 1 / 3])
    return poses.replace(ids=np.array([4, 7]))


@pytest.fixture
def rows(people: Poses) -> list[dict[str, Any]]:
    """An image with people, one without, and one that cannot be read."""
    named = {"model": "m", "engine": "torch"}
    return [
        image_row(people, image_hw=(48, 64), path="a,ü.jpg", frame=3, time_s=0.125, **named),
        image_row(Poses.empty(Skeleton.COCO17), image_hw=(48, 64), path="b.jpg", **named),
        image_row(path="c.jpg", error='not an "image"', **named),
    ]


def test_the_schema() -> None:
    """What files of version 1 have; another column or type is another version."""
    assert SCHEMA_VERSION == 1
    schema = arrow_schema(Skeleton.COCO17)
    assert {field.name: str(field.type) for field in schema} == {
        "path": "string", "sha256": "string", "frame": "int64", "time_s": "double",
        "height": "int32", "width": "int32", "n_people": "int32", "ids": "list<element: int64>",
        "person_scores": "list<element: float>", "boxes": "list<element: list<element: float>>",
        "keypoints": "list<element: list<element: list<element: float>>>",
        "joint_scores": "list<element: list<element: float>>", "error": "string", "model": "string",
        "engine": "string", "openpaf": "string",
    }  # fmt: skip
    assert schema.metadata[b"openpaf_schema"] == b"1"
    assert json.loads(schema.metadata[b"openpaf_joints"]) == list(Skeleton.COCO17.joints)


def test_one_schema_whatever_is_in_the_rows(rows: list[dict[str, Any]]) -> None:
    tables = [arrow_table([row], Skeleton.COCO17) for row in rows]
    assert all(table.schema.equals(arrow_schema(), check_metadata=False) for table in tables)
    assert pa.concat_tables(tables).column("n_people").to_pylist() == [2, 0, None]


def test_parquet_keeps_every_bit(tmp_path: Path, rows: list[dict[str, Any]], people: Poses) -> None:
    writer = TABLES["parquet"].open(tmp_path / "a.parquet", Skeleton.COCO17)
    writer.write(rows[:1])
    writer.write(rows[1:])
    writer.close()
    table = read_table(tmp_path / "a.parquet")
    assert table.schema.equals(arrow_schema(Skeleton.COCO17), check_metadata=True)
    first, second, third = table.to_pylist()
    assert np.array_equal(np.array(first["keypoints"], np.float32), people.xy, equal_nan=True)
    assert np.array_equal(np.array(first["joint_scores"], np.float32), people.scores)
    assert np.array_equal(np.array(first["person_scores"], np.float32), people.person_scores)
    assert np.array_equal(np.array(first["boxes"], np.float32), people.boxes())
    assert (first["ids"], first["height"], first["width"]) == ([4, 7], 48, 64)
    assert (first["openpaf"], first["model"]) == (openpaf.__version__, "m")
    assert (second["keypoints"], second["n_people"], second["error"]) == ([], 0, None)
    assert (third["keypoints"], third["n_people"]) == (None, None)
    assert third["error"] == 'not an "image"'


def test_csv_has_a_row_a_person_and_one_for_each_image_without(
    tmp_path: Path, rows: list[dict[str, Any]], people: Poses
) -> None:
    writer = TABLES["csv"].open(tmp_path / "a.csv", Skeleton.COCO17)
    writer.write(rows)
    writer.close()
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == flat_columns(Skeleton.COCO17.joints)
    assert [line["path"] for line in lines] == ["a,ü.jpg", "a,ü.jpg", "b.jpg", "c.jpg"]
    assert [line["id"] for line in lines] == ["4", "7", "", ""]
    assert [line["frame"] for line in lines] == ["3", "3", "", ""]
    assert [line["n_people"] for line in lines] == ["2", "2", "0", ""]
    assert lines[0]["nose_x"] == ""
    assert lines[0]["nose_score"] == "0.0"
    assert float(lines[1]["left_ankle_y"]) == pytest.approx(people.xy[1, 15, 1], abs=0.0006)
    assert lines[1]["score"] == "0.333333"
    assert lines[3]["error"] == 'not an "image"'


def test_lines_of_json(tmp_path: Path, rows: list[dict[str, Any]], people: Poses) -> None:
    writer = TABLES["jsonl"].open(tmp_path / "a.jsonl", Skeleton.COCO17)
    writer.write(rows)
    first, second, third = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    writer.close()  # the lines were there before
    assert list(first) == list(COLUMNS)
    assert first["keypoints"][0][0] == [None, None]
    assert np.allclose(first["keypoints"][1], people.xy[1], atol=0.0006)
    assert (second["keypoints"], third["keypoints"]) == ([], None)


@pytest.mark.parametrize("name", list(TABLES))
def test_what_is_done_can_be_read_back(
    tmp_path: Path, rows: list[dict[str, Any]], name: str
) -> None:
    writer = TABLES[name].open(tmp_path / "a", Skeleton.COCO17)
    writer.write(rows)
    writer.close()
    assert set(TABLES[name].paths(tmp_path / "a")) == {"a,ü.jpg", "b.jpg", "c.jpg"}


def test_poses_as_a_dictionary(people: Poses) -> None:
    row = people.to_dict(path="a.jpg", image_hw=(48, 64))
    assert list(row) == list(COLUMNS)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["path"], row["n_people"], row["height"]) == ("a.jpg", 2, 48)
    assert row["keypoints"][0][0] == [None, None]
    assert row["keypoints"][1][0] == pytest.approx(people.xy[1, 0], abs=0.0006)
    with pytest.raises(ValueError, match="unknown columns file"):
        people.to_dict(file="a.jpg")


def test_poses_as_an_arrow_table(people: Poses) -> None:
    table = people.to_arrow(path="a.jpg")
    assert table.num_rows == 1
    assert np.array_equal(
        np.array(table.column("keypoints")[0].as_py(), np.float32), people.xy, equal_nan=True
    )
    none = Poses.empty(Skeleton.BODY25).to_arrow()
    assert none.schema.equals(table.schema, check_metadata=False)


def test_poses_as_a_data_frame(people: Poses) -> None:
    pytest.importorskip("pandas")
    frame = people.to_dataframe()
    assert frame.shape == (2, 7 + 3 * 17)
    assert frame["id"].tolist() == [4, 7]
    assert np.isnan(frame["nose_x"][0])
    assert frame["nose_x"].to_numpy()[1] == people.xy[1, 0, 0]
    assert frame["x1"].to_numpy()[1] == people.boxes()[1, 2]
    none = Poses.empty(Skeleton.COCO17).to_dataframe()
    assert none.shape == (0, 58)
    assert none.columns.tolist() == frame.columns.tolist()


@pytest.mark.filterwarnings("ignore")  # of supervision's own
def test_poses_for_supervision(people: Poses) -> None:
    supervision = pytest.importorskip("supervision")
    points = people.to_supervision()
    assert isinstance(points, supervision.KeyPoints)
    assert points.xy[0, 0].tolist() == [0, 0]
    assert np.array_equal(points.xy[1], people.xy[1])
    assert np.array_equal(points.visible, people.scores > 0)
    detections = points.as_detections()
    assert np.allclose(detections.xyxy, people.boxes())
    assert np.allclose(detections.confidence, people.person_scores)
    assert detections.data["person_id"].tolist() == [4, 7]
    assert len(Poses.empty(Skeleton.COCO17).to_supervision()) == 0


@pytest.mark.parametrize(
    ("call", "module", "extra"),
    [("to_arrow", "pyarrow", "tables"), ("to_dataframe", "pandas", "tables"),
     ("to_supervision", "supervision", "supervision")],
)  # fmt: skip
def test_a_missing_package_is_named(
    people: Poses, monkeypatch: pytest.MonkeyPatch, call: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ValueError, match=rf"{module}' is not installed.*openpaf\[{extra}\]"):
        getattr(people, call)()

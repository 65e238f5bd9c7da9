"""What is added from outside the package works like what is in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

import openpaf.estimator
from openpaf.cli import main
from openpaf.io.pose_files import FORMATS, read_poses
from openpaf.io.pose_formats import FrameInfo, PoseFormat
from openpaf.io.pose_layouts import ImageEntries, ImageEntry, ImageId, PersonEntry
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def _as_csv(images: Mapping[ImageId, Poses], skeleton: Skeleton | None) -> str:
    lines = [
        f"{image_id},{n},{','.join(f'{v:.2f}' for x_y in person.xy[0] for v in x_y)}\n"
        for image_id, poses in images.items()
        for n, person in enumerate(poses)
    ]
    return "".join(lines)


def _from_csv(path: str | os.PathLike[str]) -> ImageEntries:
    images: ImageEntries = {}
    for line in Path(path).read_text().splitlines():
        name, n, *values = line.split(",")
        xys = [v for i, xy in enumerate(map(float, values)) for v in ([xy, 1.0][: 1 + i % 2])]
        person = PersonEntry(
            values=xys, score=1.0, id=int(n), skeleton=None, layouts=(Skeleton.COCO17,)
        )
        images.setdefault(name, ImageEntry(people=[])).people.append(person)
    return images


CSV = PoseFormat(
    description="a line a person, with commas",
    suffix=".csv",
    video_suffix="_frames.csv",
    text=_as_csv,
    line=lambda poses, frame: f"{frame.index},{len(poses)}",
    holds_many=True,
    read=_from_csv,
)


def test_an_output_format_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One entry in a table: command line, names of files, help, checks and reading follow."""
    keypoints = [[[10 + k, 20 + 2 * k, 1] for k in range(17)], [[5, 6, 1]] * 17]
    people = Poses.from_keypoints(keypoints, Skeleton.COCO17)

    class Estimator:
        def __init__(self, *_: object, **__: object) -> None: ...

        def batch(self, images: list[object]) -> list[Poses]:
            return [people for _ in images]

    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Estimator)
    monkeypatch.setitem(FORMATS, "comma", CSV)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "a.png"), "--output", str(out), "--format"]

    assert main([*arguments, "comma,coco"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.csv", "a.json"]
    assert (out / "a.csv").read_text().startswith("a.png,0,10.00,20.00,11.00,22.00,")
    back = read_poses(out / "a.csv")
    assert (back.xy == people.xy).all()
    assert back.ids is not None
    assert back.ids.tolist() == [0, 1]
    assert CSV.line(people, FrameInfo(index=7, time_s=0.5, image_hw=(48, 64))) == "7,2"

    capsys.readouterr()
    assert main(["predict", "--help"]) == 0
    text = capsys.readouterr().out
    assert "NAME.csv               a line a person, with commas             (format comma)" in text
    assert "NAME_frames.csv" in text
    assert main([*arguments, "pdf"]) == 2
    assert (
        "expected a list of image, coco, openpose, comma, csv, parquet, jsonl, rrd, got 'pdf'"
        in capsys.readouterr().err
    )

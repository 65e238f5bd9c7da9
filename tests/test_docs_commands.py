"""The commands of README, docs and cards run on the sample photos, in a folder of their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs_blocks import ROOT, Command, blocks, commands
from PIL import Image
from pycocotools.mask import frPyObjects

from openpaf import Skeleton
from openpaf.annotation.convert import convert_labels, read_labels
from openpaf.cli import main
from openpaf.video.writer import VideoWriter

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs a clone")

#: What is not run, by a part of the command or its page, and why.
_NOT_RUN = {
    "docs/analyze.md": "tests/test_analyze.py runs it",
    "docs/other_languages.md": "tests/test_docs_languages.py runs it",
    "docs/tutorial.md": "tests/test_tutorial.py runs it",
    "openpaf webcam": "a camera and a window",
    "--show": "a window",
    "openpaf demo browser": "a server; tests/test_browser_demo.py starts it",
    "openpaf serve": "a server; tests/test_serve.py starts it",
    "openpaf bulk": "Ray; tests/test_bulk_workers.py starts it",
    "rtsp://": "a stream; tests/test_live_video.py has one",
    "/shared/": "a cluster; tests/test_bulk.py runs shards",
    "weights fetch": "the network; tests/test_download.py has a server",
    "maskrcnn-coco": "published weights of 178 MB",
    "cmu-body25": "published weights of 105 MB",
    "--precision": "minutes; tests/test_engines.py exports to 8 bits",
    "openpaf compare": "a process for each model; tests/test_compare.py runs it",
    "openpaf train": "half an hour; tests/test_training_without_file.py runs it shorter",
    "openpaf warm-up": "tests/test_shipped_kernels.py runs it",
    "run/model.safetensors": "a trained model; tests/test_tutorial.py has one",
    "CollectedData": "labels of DeepLabCut; tests/test_convert.py makes some",
    ".slp": "labels of SLEAP; tests/test_convert.py makes some",
}
_PHOTOS = ("astronaut.jpg", "pedestrians_468.jpg")


def _reason(command: Command) -> str | None:
    return next((why for part, why in _NOT_RUN.items() if part in str(command)), None)


_COMMANDS = [command for command in commands() if command.program == "openpaf"]
_RUN = [command for command in _COMMANDS if _reason(command) is None]


def _label(number: int, image_id: int, person: dict[str, list[float]]) -> dict[str, Any]:
    """COCO's label of a golden person; its mask is its box."""
    xy = np.array(list(person.values()))
    (x, y), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    keypoints = [(*person[j], 2) if j in person else (0, 0, 0) for j in Skeleton.COCO17.joints]
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0,
        "bbox": [x, y, right - x, bottom - y], "area": (right - x) * (bottom - y) / 2,
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
        "num_keypoints": len(xy), "keypoints": [value for joint in keypoints for value in joint],
    }  # fmt: skip


def _labels() -> dict[str, Any]:
    golden = json.loads((ROOT / "tests" / "golden" / "photos.json").read_text(encoding="utf-8"))
    people = {photo["photo"]: photo["people"] for photo in golden}
    images, annotations = [], []
    for n, name in enumerate(_PHOTOS, 1):
        with Image.open(ROOT / "data" / "photos" / name) as photo:
            size = {"width": photo.width, "height": photo.height}
        images.append({"id": n, "file_name": name, **size})
        for person in people[name]:
            annotations.append(_label(len(annotations) + 1, n, person))
    category = {"id": 1, "name": "person", "keypoints": list(Skeleton.COCO17.joints)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _results(labels: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of another system that finds what is labeled."""
    results = []
    sizes = {image["id"]: (image["height"], image["width"]) for image in labels["images"]}
    for label in labels["annotations"]:
        (mask,) = frPyObjects(label["segmentation"], *sizes[label["image_id"]])
        mask = {**mask, "counts": mask["counts"].decode()}
        results.append({**label, "segmentation": mask, "score": 0.9})
    return results


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, made of two sample photos."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "data").symlink_to(ROOT / "data")
    for name in ("photos", "val2017"):
        (folder / name).mkdir()
        for photo in _PHOTOS:
            shutil.copy(ROOT / "data" / "photos" / photo, folder / name)
    shutil.copy(ROOT / "data" / "photos" / _PHOTOS[0], folder / "photo.jpg")
    labels = _labels()
    for name in ("a", "person_keypoints_val2017", "instances"):
        (folder / f"{name}.json").write_text(json.dumps(labels))
    (folder / "theirs.json").write_text(json.dumps(_results(labels)))
    read = read_labels(folder / "a.json")
    convert_labels(read, folder / "annotations.xml")
    convert_labels(read, folder / "export.json", format="label-studio")
    for image in labels["images"]:
        image["file_name"] = f"train/{image['file_name']}"
    (folder / "splits.json").write_text(json.dumps(labels))
    convert_labels(read_labels(folder / "splits.json"), folder / "dataset", format="yolo")
    shutil.copytree(folder / "photos", folder / "dataset" / "images" / "train")
    with Image.open(folder / "photo.jpg") as photo:
        frame = np.asarray(photo.resize((128, 128)))
    with VideoWriter(folder / "street.mp4", fps=0.1) as writer:  # two minutes
        for n in range(13):
            writer.write(np.roll(frame, n, axis=1), 10.0 * n)
    return folder


@pytest.mark.parametrize("page", sorted({command.page for command in _RUN}))
def test_the_commands_of_a_page_run(
    page: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One after the other, in one folder; without an extra the program says so."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    for command in _RUN:
        if command.page == page:
            if command.words[0] == "convert":  # the lines are alternatives
                shutil.rmtree(command.words[2], ignore_errors=True)
                Path(command.words[2]).unlink(missing_ok=True)
            status, said = main(command.words), capsys.readouterr().err
            if "is not installed; " not in said:
                assert status == 0, f"{command}\n{said}"


def test_the_python_code_of_convert_runs(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        if block.page == "docs/convert.md":
            exec(compile(block.text, str(block), "exec"), {})
    assert len(read_labels("labels.json").images) == len(_PHOTOS)


def test_most_commands_are_run() -> None:
    assert len(_RUN) > 30

"""``openpaf compare``: scenes, steps, ratios, and one small comparison from end to end."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import CATEGORY, shaken, written
from PIL import Image

import openpaf
from openpaf.cli import main
from openpaf.evaluation import method as method_module
from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.coco import METRICS, evaluate
from openpaf.evaluation.compare import Photos, measure_method, methods_of, with_ratios
from openpaf.evaluation.result_files import read_results
from openpaf.evaluation.scenes import compose, cut_people
from openpaf.evaluation.steps import STEPS, median_times, run_in_steps
from openpaf.evaluation.tables import draw_plot

# Boxes around people of data/photos, by eye; the joints in them are made up.
BOXES = {
    "astronaut.jpg": [(20, 0, 380, 512)],
    "grace_hopper.jpg": [(40, 20, 400, 540)],
    "basketball.png": [(180, 30, 130, 260)],
}


@pytest.fixture
def annotations(tmp_path: Path, repo_root: Path) -> Path:
    """An annotation file of three photos."""
    rng = np.random.default_rng(2)
    images, rows = [], []
    for i, (name, boxes) in enumerate(BOXES.items(), 1):
        height, width = openpaf.read_image(repo_root / "data" / "photos" / name).shape[:2]
        images.append({"id": i, "file_name": name, "width": width, "height": height})
        for x, y, w, h in boxes:
            keypoints = np.full((17, 3), 2.0)
            keypoints[:, :2] = rng.uniform((x, y), (x + w, y + h), (17, 2))
            rows.append(
                {
                    "id": len(rows) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                    "area": 0.5 * w * h, "bbox": [x, y, w, h], "num_keypoints": 17,
                    "keypoints": keypoints.round(1).ravel().tolist(),
                }
            )  # fmt: skip
    data = {"images": images, "annotations": rows, "categories": [CATEGORY]}
    return written(data, tmp_path / "a.json")


@pytest.fixture
def photos(annotations: Path, repo_root: Path) -> Photos:
    return Photos(
        annotations=read_annotations(annotations),
        path=annotations,
        images=repo_root / "data" / "photos",
        ids=[1, 2, 3],
    )


def test_people_are_cut_out_with_a_margin(photos: Photos) -> None:
    people = cut_people(photos.annotations, photos.images, photos.ids, 50)
    assert sorted(piece.shape[0] for piece in people) == [302, 512, 600]
    assert len(cut_people(photos.annotations, photos.images, [3], 50)) == 1
    again = cut_people(photos.annotations, photos.images, photos.ids, 2)
    assert all(np.array_equal(a, b) for a, b in zip(again, people[:2], strict=True))


def test_nobody_is_cut_out_of_a_crowd(photos: Photos) -> None:
    rows = photos.annotations.anns
    rows[1]["iscrowd"] = 1
    rows[2]["num_keypoints"] = 5
    photos.annotations.imgToAnns[3].append({**rows[3], "id": 9})  # two in one place
    with pytest.raises(ValueError, match="to compose scenes of; got none"):
        cut_people(photos.annotations, photos.images, photos.ids, 50)


@pytest.mark.parametrize("n_people", [1, 2, 7, 50])
def test_scenes_hold_as_many_people_as_they_should(n_people: int) -> None:
    people = [np.full((200, 80, 3), colour, np.uint8) for colour in (30, 220)]
    scene = compose(people, n_people)
    assert scene.shape == (480, 856, 3)
    assert np.array_equal(scene, compose(people, n_people))
    import cv2

    pasted = (np.abs(scene[..., 0].astype(int) - 128) > 50).astype(np.uint8)
    n_pieces, _, stats, _ = cv2.connectedComponentsWithStats(pasted)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    assert pasted[:, :, None].any()
    assert n_pieces - 1 <= n_people  # people who touch count as one piece
    assert sizes.sum() == pytest.approx(n_people * np.median(sizes), rel=0.35)
    assert sizes.sum() > 0.08 * 480 * 856


def test_a_scene_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="people: expected at least one"):
        compose([], 3)


def test_steps_give_what_the_estimator_gives(repo_root: Path) -> None:
    picture = openpaf.read_image(repo_root / "data" / "photos" / "astronaut.jpg")
    for options in ({}, {"flip": True}):
        estimator = openpaf.PoseEstimator(size=128, **options)
        poses, times = run_in_steps(estimator, picture)
        assert poses == estimator(picture)
        assert list(times) == [*STEPS, "total"]
        assert sum(times[step] for step in STEPS) == pytest.approx(times["total"])
    detector = openpaf.PoseEstimator("mask-rcnn-mobilenet", size=128)
    poses, times = run_in_steps(detector, picture)
    assert poses == detector(picture)
    assert list(times) == ["network", "people", "total"]
    assert median_times([{"a": 1.0}, {"a": 5.0}, {"a": 2.0}]) == {"a": 2.0}
    assert median_times([]) == {}


def test_ratios_are_relative_to_the_first_with_times() -> None:
    def row(name: str, ms: float, mb: float | None) -> dict[str, Any]:
        times = {"network": ms, "total": 2 * ms} if ms else {}
        scenes = [{"people": n, "found": n, "ms": {"total": ms * n}} for n in (1, 5) if ms]
        return {"name": name, "ms": times, "peak_mb": mb, "time_by_people": scenes}

    rows = with_ratios([row("file", 0, None), row("a", 10, 400), row("b", 25, 100)])
    assert rows[0]["ratio"] == {}
    assert rows[1]["ratio"] == {"to": "a", "ms": {"network": 1, "total": 1}, "peak_mb": 1}
    assert rows[2]["ratio"] == {"to": "a", "ms": {"network": 2.5, "total": 2.5}, "peak_mb": 0.25}
    assert [scene["ratio"] for scene in rows[2]["time_by_people"]] == [2.5, 2.5]


def test_a_plot_of_time_against_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def row(name: str, steps: tuple[str, ...]) -> dict[str, Any]:
        ms = dict.fromkeys((*steps, "total"), 5.0)
        scenes = [{"people": n, "ms": {**ms, "total": 5.0 + n}} for n in (1, 20, 50)]
        return {"name": name, "ms": ms, "time_by_people": scenes}

    rows = [row("bottom-up", STEPS), row("top-down", ("network",)), {"time_by_people": []}]
    assert not draw_plot(rows[2:], tmp_path / "none.png")
    if importlib.util.find_spec("matplotlib") is not None:
        assert draw_plot(rows, tmp_path / "plot.png")
        assert openpaf.read_image(tmp_path / "plot.png").std() > 5
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw_plot(rows, tmp_path / "other.png")
    assert "no plot: matplotlib is missing" in caplog.text
    assert not (tmp_path / "other.png").exists()


def test_names_of_methods() -> None:
    methods = methods_of(["lightweight-coco17"], [256, 368], [("theirs", Path("r.json"))])
    assert [m.name for m in methods] == [
        "lightweight-coco17 256", "lightweight-coco17 368", "theirs",
    ]  # fmt: skip
    assert methods_of(["folder/mine.safetensors"], [368], [])[0].name == "mine"
    with pytest.raises(ValueError, match="theirs come twice"):
        methods_of([], [368], [("theirs", Path("a")), ("theirs", Path("b"))])
    with pytest.raises(ValueError, match="at least one model"):
        methods_of([], [368], [])


def job(photos: Photos, folder: Path) -> dict[str, Any]:
    return {
        "name": "ours", "model": "lightweight-coco17", "engine": "torch", "device": "cpu",
        "threads": None,
        "size": 64, "scales": [1.0], "flip": False,
        "annotations": str(photos.path), "images": str(photos.images), "category": "1",
        "skeleton": photos.annotations.skeleton.to_dict(),
        "image_ids": photos.ids, "scenes": [], "repeats": 1, "settings": {}, "quiet": True,
        "partial": str(folder / "p.jsonl"), "output": str(folder / "o.json"),
    }  # fmt: skip


def test_an_interrupted_method_goes_on_where_it_stopped(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = method_module.run_in_steps, []

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:  # once to warm up, two photos, and then Ctrl-C
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(method_module, "run_in_steps", counting)
    path = written(job(photos, tmp_path), tmp_path / "job.json")
    assert method_module.main(str(path)) == 130
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "o.json").exists()
    assert method_module.main(str(path)) == 0
    assert len(calls) == 6  # warmed up again, and the third photo
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["settings"]["size"] == 64
    assert found["ms"]["total"] >= found["ms"]["network"] > 0
    assert found["peak_mb"] is None or found["peak_mb"] > 50


def test_what_a_method_cannot_do_is_told_by_its_name(photos: Photos, tmp_path: Path) -> None:
    broken = {**job(photos, tmp_path), "engine": "steam"}
    assert method_module.main(str(written(broken, tmp_path / "job.json"))) == 2
    error = json.loads((tmp_path / "o.json").read_text())["error"]
    assert error.startswith("ours: engine: expected one of auto, torch")


def test_a_method_is_run_with_the_thresholds_of_its_job(photos: Photos, tmp_path: Path) -> None:
    asked = {**job(photos, tmp_path), "thresholds": {"peak_threshold": 5, "graph": "tree"}}
    assert method_module.main(str(written(asked, tmp_path / "job.json"))) == 0
    run = json.loads((tmp_path / "o.json").read_text())
    assert run["results"] == []
    assert run["settings"]["decode"]["peak_threshold"] == 5
    assert run["settings"]["decode"]["graph"] == "tree"


def test_a_method_that_is_done_is_not_run_again(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def fake_run(command: list[str], **options: Any) -> Any:
        started.append(command)
        asked = json.loads(Path(command[-1]).read_text())
        result = {"settings": {}, "results": [], "ms": {}, "time_by_people": [], "peak_mb": 1.0}
        Path(asked["output"]).write_text(json.dumps(result))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", fake_run)
    (one,) = methods_of(["lightweight-coco17"], [64], [])
    (other,) = methods_of(["lightweight-coco17"], [96], [])
    greedy = dataclasses.replace(one, thresholds=openpaf.DecodeConfig(matching="greedy"))
    for method in (one, one, other, greedy, greedy):
        assert measure_method(method, photos, [], tmp_path)["AP"] == 0
    jobs = [json.loads(Path(command[-1]).read_text()) for command in started]
    matchings = [asked.get("thresholds", {}).get("matching") for asked in jobs]
    assert matchings == [None, None, "greedy"]

    def killed(command: list[str], **options: Any) -> Any:
        return subprocess.CompletedProcess(command, -9)

    monkeypatch.setattr(subprocess, "run", killed)
    with pytest.raises(ValueError, match="lightweight-coco17: its process ended with status -9"):
        measure_method(methods_of(["lightweight-coco17"], [128], [])[0], photos, [], tmp_path)


def test_a_comparison_from_end_to_end(
    photos: Photos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = photos.annotations.dataset["annotations"]
    theirs = written(shaken(rows, 0.02), tmp_path / "theirs.json")
    out = tmp_path / "out"
    status = main([
        "compare", "--annotations", str(photos.path), "--images", str(photos.images), "--output",
        str(out), "--method", "paf", "--results", f"theirs={theirs}", "--size", "64", "--people",
        "1", "6", "--repeats", "1", "--quiet",
    ])  # fmt: skip
    said = capsys.readouterr()
    assert status == 0, said.err
    assert not (out / ".unfinished").exists()
    report = json.loads((out / "compare.json").read_text())
    ours, other = report["methods"]
    assert (ours["name"], other["name"]) == ("lightweight-coco17", "theirs")
    found = read_results(out / "results-lightweight-coco17.json", photos.annotations)
    for row, results in ((ours, found), (other, json.loads(theirs.read_text()))):
        figures = evaluate(photos.annotations, results)
        assert {name: row[name] for name in METRICS} == figures
    assert other["AP"] > 0.5
    assert set(ours["ms"]) == {*STEPS, "total"}
    assert [scene["people"] for scene in ours["time_by_people"]] == [1, 6]
    assert ours["ratio"]["ms"]["total"] == 1
    assert other["ms"] == {}
    assert ours["settings"]["model_sha256"] == openpaf.weights.table()[0]["sha256"]
    markdown = (out / "compare.md").read_text()
    assert markdown in said.out
    assert "| theirs | " in markdown
    assert "## Time against people, on composed scenes" in markdown
    html = (out / "index.html").read_text()
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert html.count("data:image/png;base64,") == 1 + drawn
    assert (out / "compare.png").exists() == drawn
    assert openpaf.read_image(out / "scenes" / "people-06.png").shape == (480, 856, 3)
    assert "http" not in html


def test_a_comparison_goes_on_past_a_photo_that_cannot_be_read(
    photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos.images, folder)
    (folder / "basketball.png").write_bytes(b"no picture")
    rows = photos.annotations.dataset["annotations"]
    theirs = written(shaken(rows, 0.02), tmp_path / "theirs.json")
    out = tmp_path / "out"
    command = ["compare", "--annotations", str(photos.path), "--images", str(folder), "--output",
               str(out), "--results", f"theirs={theirs}", "--set", "graph=tree"]  # fmt: skip
    assert main(command) == 1
    said = capsys.readouterr()
    assert "skipped " in said.err
    assert "basketball.png: not an image" in said.err
    assert "1 that cannot be read skipped" in said.out
    report = json.loads((out / "compare.json").read_text())
    assert (report["settings"]["skipped"], report["methods"][0]["photos"]) == (1, 2)
    assert report["settings"]["set"] == {"graph": "tree"}
    Image.new("RGB", (64, 48)).save(folder / "basketball.png")
    assert main(command) == 2
    assert "basketball.png: the image is 64 x 48 px, its labels are for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "none-such"], "model 'none-such': neither a file, nor a shipped model"),
        (["--results", "r.json"], "expected NAME=FILE, got 'r.json'"),
        (["--results", "a=none.json"], "none.json: No such file"),
        (["--method", "steam"], "method: expected one of paf, mask-rcnn"),
        (["--method", "paf", "--set", "peaks=3"], "--set: expected one of peak_threshold"),
        (["--set", "graph=tree"], "--set: mask-rcnn-mobilenet has no thresholds that can be set"),
    ],
)
def test_bad_use(
    photos: Photos,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    command = ["compare", "--annotations", photos.path, "--images", photos.images, "--output",
               tmp_path / "out", *arguments]  # fmt: skip
    assert main([str(argument) for argument in command]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()

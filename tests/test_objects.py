"""Objects: boxes and masks found, written, drawn and measured, with known answers."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import openpaf
from openpaf.cli import main
from openpaf.errors import WeightsError
from openpaf.estimator.object_detector import ObjectDetector, class_names
from openpaf.evaluation.object_files import (
    index_objects,
    read_object_annotations,
    read_object_results,
)
from openpaf.evaluation.objects import evaluate_objects, match_classes, object_results
from openpaf.geometry import Grid
from openpaf.io.coco_objects import objects_to_coco
from openpaf.io.objects import COCO_CLASSES, Objects
from openpaf.networks import build
from openpaf.networks.rcnn import MaskRCNN
from openpaf.skeleton import Skeleton
from openpaf.weights import ModelSpec
from openpaf.weights.model_files import read_header, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from shapes import CLASSES, as_coco, make_image

PHOTO = Path(__file__).parent.parent / "data" / "photos" / "astronaut.jpg"
OPTIONS: dict[str, Any] = {
    "num_classes": 6, "fpn_channels": 16, "box_channels": 16, "mask_channels": [8, 8],
    "rpn_pre_nms_top_n_test": 20, "rpn_post_nms_top_n_test": 10, "box_score_thresh": 0.0,
    "box_detections_per_img": 6, "min_size": 64, "max_size": 96,
}  # fmt: skip


def spec_of(builder: str = "maskrcnn_mobilenet_v2_fpn", **changes: Any) -> ModelSpec:
    values: dict[str, Any] = {
        "name": "tiny", "builder": builder, "options": OPTIONS, "skeleton": Skeleton.COCO17,
        "heatmap_grid": Grid(1, -0.5), "paf_grid": Grid(1, -0.5), "mean": 0.0, "scale": 255.0,
        "licence": "none", "metrics": {}, "classes": CLASSES, **changes,
    }  # fmt: skip
    return ModelSpec(**values)


def network_of(spec: ModelSpec) -> MaskRCNN:
    torch.manual_seed(0)
    network = build(spec.builder, **spec.options)
    assert isinstance(network, MaskRCNN)
    return network


def some_objects(n: int = 3, shift: float = 0.0) -> Objects:
    masks = np.zeros((n, 60, 100), bool)
    for i in range(n):
        masks[i, 10:30, 10 + 20 * i : 25 + 20 * i] = True
    boxes = [[10 + 20 * i + shift, 10, 25 + 20 * i + shift, 30] for i in range(n)]
    return Objects(
        boxes=boxes, labels=[1 + i % 2 for i in range(n)],
        scores=np.linspace(0.9, 0.5, n), classes=("cat", "dog"), masks=masks,
    )  # fmt: skip


def decoded(run_lengths: dict[str, Any]) -> np.ndarray[Any, Any]:
    from pycocotools import mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, of NumPy 2
        return np.asarray(mask.decode(run_lengths)).astype(bool)


def labels_of(objects: Objects, **changes: Any) -> dict[str, Any]:
    """The objects as annotations of one image of 100 x 60 px."""
    entries = [
        {**entry, "id": n, "iscrowd": 0, "area": 300, **changes}
        for n, entry in enumerate(objects_to_coco(objects, 7))
    ]
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 60}],
        "annotations": entries,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


# --- the type


def test_objects_are_chosen_like_arrays() -> None:
    objects = some_objects()
    assert objects.names == ["cat", "dog", "cat"]
    assert repr(objects) == "Objects(3 objects, masks)"
    assert [one.names for one in objects] == [["cat"], ["dog"], ["cat"]]
    few = objects[objects.scores > 0.6]
    assert len(few) == 2
    assert few.masks is not None
    assert few.masks.shape == (2, 60, 100)
    assert objects[-1].boxes.tolist() == [[50, 10, 65, 30]]
    with pytest.raises(IndexError, match="object 3 of 3"):
        objects[3]
    assert len(Objects(boxes=[], labels=[], scores=[], classes=("cat",))) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [[0, 0, 1, 1]]}, r"boxes: expected shape \(2, 4\), got \(1, 4\)"),
        ({"labels": [1, 3]}, "labels: expected 1 to 2"),
        ({"scores": [0.5, -1]}, "scores of at least 0"),
        ({"masks": np.zeros((1, 3, 3), bool)}, r"masks: expected shape \(2, H, W\)"),
        ({"poses": openpaf.Poses.empty(Skeleton.COCO17)}, "poses: expected 2"),
    ],
)
def test_wrong_objects_are_refused(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "boxes": [[0, 0, 1, 1]] * 2, "labels": [1, 2], "scores": [1, 1], "classes": ("cat", "dog"),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        Objects(**{**values, **changes})


def test_coco_has_eighty_classes_under_its_own_ids() -> None:
    assert len(COCO_CLASSES) == 90
    assert sum(name != "N/A" for name in COCO_CLASSES) == 80
    assert [COCO_CLASSES[i - 1] for i in (1, 17, 18, 90)] == ["person", "cat", "dog", "toothbrush"]


# --- the detector


def test_a_detector_gives_what_its_network_gives() -> None:
    spec = spec_of()
    network = network_of(spec).eval()
    image = make_image(1)[0]  # square, of another size than the network's input
    objects = ObjectDetector.from_network(network, spec)(image)
    with torch.inference_mode():
        [theirs] = network([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
    assert np.array_equal(objects.boxes, theirs["boxes"].numpy())
    assert np.array_equal(objects.labels, theirs["labels"].numpy())
    assert np.array_equal(objects.scores, theirs["scores"].numpy())
    assert objects.masks is not None
    assert np.array_equal(objects.masks, theirs["masks"][:, 0].numpy() >= 0.5)
    assert objects.masks.shape == (6, 128, 128)
    best = ObjectDetector.from_network(network, spec, min_score=float(objects.scores[2]))(image)
    assert len(best) == 3


def test_a_detector_with_joints_agrees_with_the_estimator() -> None:
    detector = openpaf.ObjectDetector("mask-rcnn-mobilenet", min_score=0.3)
    poses = openpaf.PoseEstimator("mask-rcnn-mobilenet")(PHOTO)
    objects = detector(PHOTO)
    assert set(objects.names) == {"person"}
    assert objects.poses is not None
    assert objects.masks is None
    # Resized by other means: cells of the heatmaps differ by a little.
    assert np.abs(objects.poses[0].boxes() - poses[0].boxes()).max() < 4


def test_other_models_are_no_detectors_and_detectors_no_estimators(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="fast-coco17: expected a Mask R-CNN"):
        openpaf.ObjectDetector("fast")
    spec = spec_of()
    save(network_of(spec).state_dict(), tmp_path / "tiny.safetensors", spec)
    with pytest.raises(WeightsError, match=r"no joints; use openpaf\.ObjectDetector"):
        openpaf.PoseEstimator(tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match="engine: a detector runs in 'torch' only"):
        openpaf.ObjectDetector(tmp_path / "tiny.safetensors", engine="onnx")
    with pytest.raises(ValueError, match="size"):
        openpaf.ObjectDetector(tmp_path / "tiny.safetensors", size=8)


def test_classes_are_in_the_file(tmp_path: Path) -> None:
    spec = spec_of()
    save(network_of(spec).state_dict(), tmp_path / "tiny.safetensors", spec)
    assert read_header(tmp_path / "tiny.safetensors").classes == CLASSES
    assert openpaf.ObjectDetector(tmp_path / "tiny.safetensors").classes == CLASSES


def test_names_of_classes() -> None:
    assert class_names(spec_of(classes=()), 91) == COCO_CLASSES
    assert class_names(spec_of(classes=()), 4) == ("1", "2", "3")
    assert class_names(spec_of("keypointrcnn_mobilenet_v2_fpn", classes=()), 2) == ("person",)
    with pytest.raises(WeightsError, match="classes: expected 3 names, found 5"):
        class_names(spec_of(), 4)


# --- files


def test_entries_of_coco_hold_boxes_and_masks() -> None:
    objects = some_objects(1)
    [entry] = objects_to_coco(objects, 7)
    mask = decoded(entry["segmentation"])
    assert objects.masks is not None
    assert np.array_equal(mask, objects.masks[0])
    del entry["segmentation"]
    assert entry == {
        "image_id": 7, "category_id": 1, "category_name": "cat", "bbox": [10, 10, 15, 20],
        "score": 0.9,
    }  # fmt: skip


def test_predict_draws_and_writes_objects(tmp_path: Path, capsys: Any) -> None:
    spec = spec_of()
    model = tmp_path / "tiny.safetensors"
    save(network_of(spec).state_dict(), model, spec)
    arguments = ["predict", str(PHOTO), "--model", str(model), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--threshold", "0"]) == 0
    assert "astronaut.jpg: 6 objects" in capsys.readouterr().out
    entries = json.loads((tmp_path / "out" / "astronaut.json").read_text())
    objects = openpaf.ObjectDetector(model)(PHOTO)
    assert [entry["category_name"] for entry in entries] == objects.names
    assert objects.masks is not None
    for entry, mask in zip(entries, objects.masks, strict=True):
        assert entry["segmentation"]["size"] == list(openpaf.read_image(PHOTO).shape[:2])
        assert np.array_equal(decoded(entry["segmentation"]), mask)
    drawn = openpaf.read_image(tmp_path / "out" / "astronaut.jpg").astype(int)
    assert np.abs(drawn - openpaf.draw_objects(PHOTO, objects)).mean() < 3  # but for JPEG
    assert main([*arguments, "--format", "openpose"]) == 2
    assert "--format: expected image and coco for objects" in capsys.readouterr().err
    assert main([*arguments, "--flip"]) == 2
    assert "--scales, --flip, --set: not for a Mask R-CNN" in capsys.readouterr().err
    (tmp_path / "street.mp4").write_bytes(b"")
    video = ["predict", str(tmp_path / "street.mp4"), *arguments[2:]]
    assert main(video) == 2
    assert "takes photos, no videos" in capsys.readouterr().err


def test_boxes_of_people_are_drawn_where_asked(tmp_path: Path) -> None:
    for flags in ([], ["--boxes"]):
        folder = tmp_path / f"out{len(flags)}"
        arguments = ["predict", str(PHOTO), "--model", "mask-rcnn-mobilenet", "--size", "128"]
        assert main([*arguments, "--output", str(folder), "--threshold", "0.3", *flags]) == 0
    plain, boxed = (json.loads((tmp_path / f"out{n}/astronaut.json").read_text()) for n in (0, 1))
    assert "category_name" not in plain[0]
    assert {"category_name", "keypoints", "bbox"} <= set(boxed[0])


# --- drawing


def test_masks_tint_their_own_pixels_only() -> None:
    image = np.full((60, 100, 3), 100, np.uint8)
    objects = some_objects(2)
    drawn = openpaf.draw_objects(image, objects, boxes=False, labels=False)
    is_changed = (drawn != 100).any(axis=2)
    assert objects.masks is not None
    assert is_changed[objects.masks.any(axis=0)].all()
    assert not is_changed[40:].any()
    assert not is_changed[:, 60:].any()
    assert (drawn[20, 15] != drawn[20, 35]).any()  # each has a color of its own
    assert np.array_equal(openpaf.draw_objects(image, objects[:0]), image)
    boxed = openpaf.draw_objects(image, objects, masks=False, labels=False)
    assert (boxed[20, 10] != 100).any()
    assert (boxed[20, 17] == 100).all()
    with pytest.raises(ValueError, match=r"masks: expected \(50, 50\)"):
        openpaf.draw_objects(np.zeros((50, 50, 3), np.uint8), objects)


# --- figures


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_perfect_objects_have_an_ap_of_one(task: str) -> None:
    data = as_coco(range(6))
    results = [{**entry, "score": 0.5} for entry in data["annotations"]]
    figures = evaluate_objects(index_objects(data), results, task)
    assert figures["AP"] == figures["AR100"] == pytest.approx(1)
    assert set(figures["by_class"]) == set(CLASSES)
    assert evaluate_objects(index_objects(data), [], task)["AP"] == 0


@pytest.mark.parametrize(("shift", "ap"), [(1.0, 0.8), (3.0, 0.4), (5.5, 0.0)])
def test_shifted_boxes_have_a_computed_ap(shift: float, ap: float) -> None:
    truth = index_objects(labels_of(some_objects()))
    iou = (15 - shift) / (15 + shift)  # boxes 15 px wide
    expected = sum(iou >= threshold for threshold in 0.5 + 0.05 * np.arange(10)) / 10
    assert expected == pytest.approx(ap, abs=0.051)
    results = objects_to_coco(some_objects(shift=shift), 7)
    figures = evaluate_objects(truth, results, "bbox")
    assert figures["AP"] == pytest.approx(expected)
    assert evaluate_objects(truth, results, "segm")["AP"] == pytest.approx(1)  # not shifted


def test_masks_that_are_cut_have_a_computed_ap() -> None:
    objects = some_objects()
    assert objects.masks is not None
    cut = objects.masks.copy()
    cut[:, :15] = False  # 15 of 20 rows: IoU 0.75, which passes 6 of 10 thresholds
    results = objects_to_coco(Objects(**{**vars(objects), "masks": cut}), 7)
    figures = evaluate_objects(index_objects(labels_of(objects)), results, "segm")
    assert figures["AP"] == pytest.approx(0.6)
    assert (figures["AP50"], figures["AP75"]) == (pytest.approx(1), pytest.approx(1))
    assert evaluate_objects(index_objects(labels_of(objects)), results, "bbox")["AP"] == 1


def test_a_wrong_class_counts_against_its_class_only() -> None:
    objects = some_objects(2)
    results = objects_to_coco(objects, 7)
    results[1]["category_id"] = 1
    figures = evaluate_objects(index_objects(labels_of(objects)), results, "bbox")
    assert figures["by_class"] == pytest.approx({"cat": 1, "dog": 0})
    assert figures["AP"] == pytest.approx(0.5)


def test_crowds_and_sizes_as_pycocotools_takes_them() -> None:
    objects = some_objects(1)
    truth = index_objects(labels_of(objects, iscrowd=1))
    assert evaluate_objects(truth, objects_to_coco(objects, 7), "bbox")["AP"] == -1
    figures = evaluate_objects(index_objects(labels_of(objects)), [], "bbox")
    assert (figures["APS"], figures["APM"], figures["APL"]) == (0, -1, -1)  # 300 px^2 is small


def test_labels_become_categories_by_name() -> None:
    categories = [{"id": 30, "name": "Dog"}, {"id": 2, "name": "cat"}]
    ids = match_classes(("cat", "dog", "bird"), categories)
    assert ids == {1: 2, 2: 30}
    entries = object_results(some_objects(), 7, ids)
    assert [entry["category_id"] for entry in entries] == [2, 30, 2]
    assert object_results(some_objects(), 7, {1: 2})[1]["category_id"] == 2
    assert match_classes(("1", "2"), categories[1:]) == {2: 2}
    with pytest.raises(ValueError, match=r"no class 'Dog'; the annotations have Dog, cat; .* cow"):
        match_classes(("cat", "cow"), categories)


# --- the ablations


def test_the_table_of_ablations(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    import mask_rcnn_ablations as ablations

    few = {name: ablations.VARIANTS[name] for name in list(ablations.VARIANTS)[::5]}
    monkeypatch.setattr(ablations, "VARIANTS", few)
    monkeypatch.setattr(ablations, "TEST_SEEDS", range(2))
    output = tmp_path / "runs.json"
    flags = ["--output", str(output), "--steps", "1", "--batch", "1", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["mask_rcnn_ablations.py", *flags])
    ablations.main()
    assert "| Faster R-CNN: no masks | 1 | " in capsys.readouterr().out
    runs = json.loads(output.read_text())
    assert set(runs["Mask R-CNN: RoIAlign, sigmoid, FCN"]["1"]) == set(ablations.FIGURES)
    assert set(runs["Faster R-CNN: no masks"]["1"]) == {"bbox AP", "bbox AP75"}


def test_differences_are_of_pairs_of_seeds() -> None:
    import mask_rcnn_ablations as ablations

    first, second = list(ablations.VARIANTS)[:2]
    figures = dict.fromkeys(ablations.FIGURES, 0.5)
    runs = {
        first: {"1": figures, "2": {**figures, "segm AP": 0.3}},
        second: {"1": {**figures, "segm AP": 0.4}, "2": {**figures, "segm AP": 0.2}},
    }
    line = ablations.table(runs).splitlines()[3]
    assert line.endswith("| +0.0 ± 0.0 | -10.0 ± 0.0 |")
    assert "| 30.0 ± 14.1 |" in line


# --- the verb


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_evaluate_measures_a_detector_and_its_results_alike(tmp_path: Path, capsys: Any) -> None:
    import cv2

    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), make_image(seed)[0][..., ::-1])
    labels = write(tmp_path / "labels.json", as_coco(range(2)))
    spec = spec_of()
    model = tmp_path / "tiny.safetensors"
    save(network_of(spec).state_dict(), model, spec)
    common = ["evaluate", "--annotations", str(labels), "--task", "bbox", "segm", "--quiet"]
    run = [*common, "--images", str(tmp_path), "--model", str(model)]
    figures, results = tmp_path / "figures.json", tmp_path / "results.json"
    assert main([*run, "--json", str(figures), "--save-results", str(results)]) == 0
    out = capsys.readouterr().out
    assert "tiny, size 64: 2 photos" in out
    assert "AP of segm by class: " in out
    assert main([*common, "--results", str(results), "--json", str(tmp_path / "again.json")]) == 0
    first, again = (json.loads(f.read_text()) for f in (figures, tmp_path / "again.json"))
    assert first["bbox"] == again["bbox"]
    assert first["segm"] == again["segm"]
    perfect = [{**entry, "score": 1.0} for entry in json.loads(labels.read_text())["annotations"]]
    write(results, perfect)
    assert main([*common, "--results", str(results), "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["segm"]["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "bbox", "keypoints"], "--task: expected keypoints alone, or bbox, segm"),
        (["--task", "box"], "--task: expected keypoints alone"),
        (["--task", "bbox"], "--images: needed"),
        (["--task", "bbox", "--images", "."], "--model: expected a Mask R-CNN"),
        (["--task", "bbox", "--images", ".", "--flip"], "only for keypoints"),
        (["--task", "bbox", "--images", ".", "--size", "64", "128"], "--size: expected one"),
        (["--task", "segm", "--images", ".", "--method", "mask-rcnn", "--allow-missing"],
         "none of 1 photos"),
    ],
)  # fmt: skip
def test_bad_use_of_tasks_is_told(
    tmp_path: Path, capsys: Any, flags: list[str], message: str
) -> None:
    labels = write(tmp_path / "labels.json", labels_of(some_objects()))
    assert main(["evaluate", "--annotations", str(labels), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"annotations: bbox: expected 4 .* 3 of 3, first entry 0, image 7"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation: expected polygons of at least 3 points"),
        ({"category_id": 9}, "category_id: expected one that the file lists: 1, 2"),
        ({"image_id": 9}, "images that the file does not list: 9"),
        ({"id": 1}, "ids come twice: 1"),
    ],
)
def test_wrong_annotations_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "labels.json", labels_of(some_objects(), **change))
    with pytest.raises(ValueError, match=rf"labels\.json: .*{message}"):
        read_object_annotations(path, ("bbox", "segm"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": {"size": [6, 6], "counts": "a"}}, "run lengths of the size of the image"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, "expected compressed run lengths"),
        ({"bbox": "wide"}, "bbox: expected 4 finite numbers"),
        ({"category_id": 9}, "category_id: expected one"),
        ({"image_id": "b.png"}, "image_id: expected a whole number"),
        ({"score": None}, "score: expected a finite number"),
    ],
)
def test_wrong_results_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    objects = some_objects()
    truth = index_objects(labels_of(objects))
    entries = objects_to_coco(objects, "a.png")  # an image's name in place of its id
    path = write(tmp_path / "r.json", entries)
    assert len(read_object_results(path, truth, ("bbox", "segm"))) == 3
    write(path, [{**entries[0], **change}])
    with pytest.raises(ValueError, match=rf"r\.json: results: .*{message}"):
        read_object_results(path, truth, ("bbox", "segm"))

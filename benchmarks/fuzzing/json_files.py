"""Label files, result files and pose files: of legal but unusual content, changed, and damaged.

The oracles: what was written is read back; the figures of ``openpaf evaluate`` are pycocotools' of
the same file with its ids renumbered; training sees the people that the file has.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import openpaf
from fuzzing import command
from fuzzing.case import Case
from fuzzing.mutate import as_json, changed
from openpaf import Poses, Skeleton
from openpaf.io.pose_files import read_poses_by_image
from openpaf.training.data.dataset import load_photo_set

_FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def make(rng: np.random.Generator, folder: Path) -> Case:
    kinds = (_poses, _changed_poses, _custom_skeleton, _figures, _figures, _changed_labels,
             _changed_labels, _changed_results, _training, _changed_training, _changed_training,
             _outside)  # fmt: skip
    return kinds[int(rng.integers(len(kinds)))](rng, folder)


def prepare() -> None:
    from pycocotools.cocoeval import COCOeval  # noqa: F401 (imported once)


def people(rng: np.random.Generator, skeleton: Skeleton, n: int | None = None) -> Poses:
    n = int(rng.integers(0, 4)) if n is None else n
    xy = rng.uniform(0, 300, (n, skeleton.n_joints, 2))
    scores = rng.uniform(0.1, 1, (n, skeleton.n_joints)) * (
        rng.random((n, skeleton.n_joints)) < 0.8
    )
    xy[scores == 0] = np.nan
    return Poses(xy=xy.astype(np.float32), scores=scores.astype(np.float32),
                 person_scores=np.sort(rng.uniform(0, 1, n))[::-1].astype(np.float32),
                 skeleton=skeleton)  # fmt: skip


def _is_near(found: Poses, wanted: Poses) -> str | None:
    if found.skeleton.joints != wanted.skeleton.joints:
        return f"joints of {found.skeleton.name}, not of {wanted.skeleton.name}"
    if len(found) != len(wanted):
        return f"{len(found)} people of {len(wanted)}"
    has = wanted.scores > 0
    if not np.array_equal(found.scores > 0, has):
        return "other joints are missing"
    if not np.allclose(found.xy[has], wanted.xy[has], atol=2e-3):
        return "joints elsewhere"
    return None if np.allclose(found.scores, wanted.scores, atol=1e-5) else "other scores"


def _poses(rng: np.random.Generator, folder: Path) -> Case:
    skeletons = (Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, Skeleton.MPI15)
    skeleton, path = skeletons[int(rng.integers(4))], folder / "poses.json"
    form = str(rng.choice(["coco", "openpose"]))
    if form == "openpose" and skeleton is Skeleton.COCO17:
        skeleton = Skeleton.BODY25
    poses = people(rng, skeleton)
    poses = poses[(poses.scores > 0).any(axis=1)]
    openpaf.write_poses(poses, path, form, skeleton=skeleton)
    if rng.random() < 0.3:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    check = lambda: _is_near(openpaf.read_poses(path, skeleton=skeleton), poses)  # noqa: E731
    return Case(f"valid {form} of {skeleton.name}", check, name=path.name, is_good=True)


def _custom_skeleton(rng: np.random.Generator, folder: Path) -> Case:
    """A skeleton of one's own with as many joints as a known one."""
    n = int(rng.choice([15, 17, 18, 25, 5]))
    limbs = tuple((k, k + 1) for k in range(n - 1))
    joints = tuple(f"part {k}" for k in range(n))
    skeleton = Skeleton(name="hand", joints=joints, limbs=limbs, oks_sigmas=(0.05,) * n)
    poses, path = people(rng, skeleton, 2), folder / "poses.json"
    poses = poses[(poses.scores > 0).any(axis=1)]
    form = str(rng.choice(["coco", "openpose"]))

    def check() -> str | None:
        openpaf.write_poses(poses, path, form)
        return _is_near(openpaf.read_poses(path), poses)

    return Case(f"{form} of a custom skeleton", check)


def _changed_poses(rng: np.random.Generator, folder: Path) -> Case:
    path, form = folder / "poses.json", str(rng.choice(["coco", "openpose"]))
    openpaf.write_poses(people(rng, Skeleton.BODY25, 2), path, form)
    what, data = changed(rng, json.loads(path.read_text()))
    how, raw = as_json(rng, data)
    path.write_bytes(raw)
    read: Callable[[Path], Any] = openpaf.read_poses if rng.random() < 0.7 else read_poses_by_image

    def check() -> str | None:
        found = read(path)
        for poses in found.values() if isinstance(found, dict) else [found]:
            Poses(xy=poses.xy, scores=poses.scores, person_scores=poses.person_scores,
                  skeleton=poses.skeleton)  # fmt: skip
        return None

    return Case(f"{form} {how or what.split('.')[-1]}", check, name=path.name)


def labels(rng: np.random.Generator, *, unusual: bool) -> tuple[Any, Any]:
    """Annotations and results of a few images; unusual ids are legal all the same."""
    n_images = int(rng.integers(1, 5))
    firsts = (0, 1, 7, -5, 2**31, 2**53, 2**62) if unusual else (1,)
    first_image, first_person, category = (int(firsts[rng.integers(len(firsts))]) for _ in range(3))
    images, annotations, results = [], [], []
    for i in range(n_images):
        image_id = first_image + i
        images.append({"id": image_id, "file_name": f"{i}.png", "width": 320, "height": 240})
        for _ in range(int(rng.integers(0, 4))):
            size, corner = rng.uniform(20, 130), rng.uniform(0, 100, 2)
            xy = corner + size * rng.random((17, 2))
            seen = rng.choice([0, 1, 2], 17, p=[0.2, 0.2, 0.6])
            points = np.column_stack([xy * (seen > 0)[:, None], seen]).round(2)
            annotations.append(
                {"id": first_person + len(annotations), "image_id": image_id,
                 "category_id": category, "keypoints": points.ravel().tolist(),
                 "num_keypoints": int((seen > 0).sum()), "area": float(0.6 * size**2),
                 "bbox": [*corner.tolist(), size, size], "iscrowd": int(rng.random() < 0.1)}
            )  # fmt: skip
            if rng.random() < 0.8:
                near = xy + rng.normal(0, 0.06 * size, (17, 2))
                results.append(
                    {"image_id": image_id, "category_id": category, "score": float(rng.random()),
                     "keypoints": np.column_stack([near, np.ones(17)]).round(2).ravel().tolist()}
                )  # fmt: skip
    joints = list(Skeleton.COCO17.joints)
    categories = [{"id": category, "name": "person", "keypoints": joints}]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def figures(annotations: Any, results: Any) -> dict[str, float]:
    """pycocotools' ten figures, of ids renumbered from 1 on."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    number = {image["id"]: i for i, image in enumerate(annotations["images"], 1)}
    images = [{**image, "id": number[image["id"]]} for image in annotations["images"]]
    rows = [
        {**row, "id": i, "image_id": number[row["image_id"]], "category_id": 1}
        for i, row in enumerate(annotations["annotations"], 1)
    ]
    found = [{**row, "image_id": number[row["image_id"]], "category_id": 1} for row in results]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": rows,
                         "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        truth.createIndex()
        detected = truth.loadRes(found) if found else COCO()
        if not found:
            detected.dataset = {"images": images, "annotations": [], "categories": []}
            detected.createIndex()
        evaluation = COCOeval(truth, detected, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(_FIGURES, map(float, evaluation.stats), strict=True))


def _evaluated(folder: Path) -> dict[str, Any]:
    wrong = command.run(
        ["evaluate", "--annotations", str(folder / "a.json"), "--results", str(folder / "r.json"),
         "--json", str(folder / "figures.json")]
    )  # fmt: skip
    if wrong:
        raise AssertionError(wrong)
    data: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return data


def _figures(rng: np.random.Generator, folder: Path) -> Case:
    annotations, results = labels(rng, unusual=True)
    (folder / "a.json").write_text(json.dumps(annotations))
    (folder / "r.json").write_text(json.dumps(results))

    def check() -> str | None:
        found, wanted = _evaluated(folder), figures(annotations, results)
        for name, value in wanted.items():
            if abs(found[name] - value) > 1e-9:
                return f"{name} {found[name]}, of renumbered ids {value}"
        return None

    nobody = not any(row["num_keypoints"] for row in annotations["annotations"])
    ids = [annotations["images"][0]["id"], annotations["categories"][0]["id"]]
    ids += [row["id"] for row in annotations["annotations"][:1]]
    return Case(f"evaluation of ids {'usual' if set(ids) == {1} else 'unusual'}", check,
                is_good=not nobody)  # fmt: skip


def _changed_labels(rng: np.random.Generator, folder: Path) -> Case:
    return _changed_evaluation(rng, folder, "a.json")


def _changed_results(rng: np.random.Generator, folder: Path) -> Case:
    return _changed_evaluation(rng, folder, "r.json")


def _changed_evaluation(rng: np.random.Generator, folder: Path, name: str) -> Case:
    annotations, results = labels(rng, unusual=False)
    data = {"a.json": annotations, "r.json": results}
    what, data[name] = changed(rng, data[name])
    for file, value in data.items():
        how, raw = as_json(rng, value) if file == name else ("", json.dumps(value).encode())
        what = how or what
        (folder / file).write_bytes(raw)

    def check() -> str | None:
        figures = _evaluated(folder)
        values = [figures[name] for name in _FIGURES]
        return None if all(-1 <= v <= 1 for v in values) else f"figures {values}"

    return Case(f"evaluation, {name}: {what.split('.')[-1]}", check)


def _training(rng: np.random.Generator, folder: Path) -> Case:
    annotations, _ = labels(rng, unusual=True)
    path = _with_images(annotations, folder)
    path.write_text(json.dumps(annotations))
    rows = [row for row in annotations["annotations"] if row["num_keypoints"]]
    rows = [row for row in rows if not row["iscrowd"]]

    def check() -> str | None:
        found = load_photo_set(path, folder)
        if found.n_people != len(rows):
            return f"{found.n_people} people of {len(rows)}"
        wanted = {tuple(np.float32(row["keypoints"]).tolist()) for row in rows}
        got = {tuple(k.ravel().tolist()) for photo in found.photos for k in photo.keypoints}
        return None if got == wanted else "other joints than in the file"

    return Case("training on unusual ids", check, name=path.name, is_good=bool(rows))


def _with_images(annotations: Any, folder: Path) -> Path:
    for image in annotations["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(folder / image["file_name"])
    return folder / "labels.json"


def _changed_training(rng: np.random.Generator, folder: Path) -> Case:
    annotations, _ = labels(rng, unusual=False)
    path = _with_images(annotations, folder)
    what, data = changed(rng, annotations)
    how, raw = as_json(rng, data)
    path.write_bytes(raw)

    def check() -> str | None:
        for photo in load_photo_set(path, folder).photos:
            if not np.isfinite(photo.keypoints).all() or not np.isfinite(photo.boxes).all():
                return "joints or boxes that are no numbers"
            if photo.path.resolve().parent != folder.resolve():
                return f"a photo outside the folder: {photo.path}"
        return None

    return Case(f"training: {how or what.split('.')[-1]}", check, name=path.name)


def _outside(rng: np.random.Generator, folder: Path) -> Case:
    """A label file that names a file outside of the photos' folder."""
    secret, photos = folder / "secret.png", folder / "photos"
    photos.mkdir()
    Image.new("RGB", (320, 240)).save(secret)
    (photos / "link.png").symlink_to(secret)
    names = (
        "../secret.png",
        str(secret),
        "a/../../secret.png",
        "/etc/passwd",
        "../photos/../secret.png",
    )
    annotations, _ = labels(rng, unusual=False)
    image = annotations["images"][0]
    image["file_name"] = names[int(rng.integers(len(names)))]
    annotations["images"] = [image]
    person = {"id": 1, "image_id": image["id"], "category_id": 1, "num_keypoints": 17, "area": 900,
              "keypoints": [9.0, 9.0, 2] * 17, "bbox": [0, 0, 30, 30], "iscrowd": 0}  # fmt: skip
    annotations["annotations"] = [person]
    path = folder / "labels.json"
    path.write_text(json.dumps(annotations))
    if rng.random() < 0.5:

        def train() -> None:
            load_photo_set(path, photos)

        return Case("training on a file outside", train, name=path.name, must_refuse=True)
    run = folder / "train.toml"
    run.write_text(
        'output = "run"\n[[data.sets]]\nannotations = "labels.json"\nimages = "photos"\n'
    )
    arguments = ["train", str(run), "--show-targets", str(folder / "targets")]
    return Case("drawing a file outside", lambda: command.run(arguments), must_refuse=True)

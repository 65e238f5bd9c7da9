"""Accuracy and time of the parser: fields in, people out.

    python benchmarks/parser.py [--annotations FILE] [--data DIR] [--skip-accuracy] [--skip-times]

Accuracy is COCO keypoint AP of decoding fields that were made from true people: those of a COCO
annotation file, each photo fitted to 368 px height, clean and with white noise (standard
deviations 0.02 of heatmaps and 0.05 of PAFs; "rough": twice as much), and seeded crowds of 20 to
50 people. Then the fields of the shipped model, and of the network that it started from, for the
completely labelled photos of ``--data``. Times are of one thread, warm, the shortest mean of
several runs, on 46 x 82 cells; beside them the plain NumPy parser of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scenes import Scene, coco_crowds, coco_scenes, crowds, fields_of, random_people

from openpaf import DecodeConfig, Fields, Poses, Skeleton, decode, encode_fields
from openpaf.decoding import assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.evaluation.coco import evaluate
from openpaf.evaluation.matching import precision_at

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
ANNOTATIONS = SHARED / "data" / "official_538_val2017_annotations.json"
DATA = SHARED / "data" / "coco_val_dev"
TEACHER = SHARED / "weights" / "teacher" / "hpe0001_fp16.npz"
# The first limbs of COCO17 alone: as many as the published networks have.
NINETEEN = Skeleton(
    name="coco17_19_limbs",
    joints=Skeleton.COCO17.joints,
    limbs=Skeleton.COCO17.limbs[:19],
    flip_pairs=Skeleton.COCO17.flip_pairs,
    oks_sigmas=Skeleton.COCO17.oks_sigmas,
)
# AP clean / with noise on the COCO scenes, and ms for 9 / 30 / 50 people, measured elsewhere with
# other noise, other crowds and another processor: a scale, not a race.
RIVALS = """
OpenPose               0.751 / 0.753   crowd 0.754   19.5 / 23.8 / 29.4 ms
lightweight-openpose   0.747 / 0.737
Open Model Zoo C++     0.726 / 0.733                  5.3 /  6.7 /  8.7 ms
trt_pose               0.713 / 0.692   crowd 0.466   0.15 to 0.25 / 0.8 / 2.0 ms
tf-pose                0.624 / 0.595
openpifpaf                                            4.8 / 13.2 / 20.9 ms"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotations", type=Path, default=ANNOTATIONS)
    parser.add_argument("--data", type=Path, default=DATA, help="photos for real fields")
    parser.add_argument("--crowds", type=int, default=60, help="how many crowd scenes")
    parser.add_argument("--skip-accuracy", action="store_true")
    parser.add_argument("--skip-times", action="store_true")
    arguments = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
    if not arguments.skip_accuracy:
        print_accuracy(arguments.annotations, arguments.crowds)
        print_real_accuracy(arguments.data)
    if not arguments.skip_times:
        print_times()
    print("\nOthers, as measured on such scenes elsewhere:" + RIVALS)


def print_accuracy(annotations: Path, n_crowds: int) -> None:
    print(f"\n{'people':20} {'limbs':12} {'fields':6} {'AP':>6} {'AP50':>6} {'AP75':>6} {'AR':>6}")
    for skeleton in (Skeleton.COCO17, Skeleton.COCO18):
        people = {"standing crowds": crowds(n_crowds, seed=0)}
        if annotations.is_file():
            people["crowds of COCO"] = coco_crowds(annotations, n_crowds, seed=0)
        else:
            print(f"no {annotations}: made-up people only", file=sys.stderr)
        for name, drawn in people.items():
            scenes = [scene._replace(poses=scene.poses.to(skeleton)) for scene in drawn]
            _print_noises(name, skeleton, _coco_of(scenes), scenes)
        if annotations.is_file():
            _print_noises("COCO val2017", skeleton, _load(annotations),
                          coco_scenes(annotations, skeleton))  # fmt: skip


def _print_noises(name: str, skeleton: Skeleton, truth: Any, scenes: list[Scene]) -> None:
    for label, noise in (("clean", 0.0), ("noisy", 1.0), ("rough", 2.0)):
        stats = average_precision(truth, scenes, noise)
        limbs = f"{skeleton.name} {skeleton.n_limbs}"
        print(f"{name:20} {limbs:12} {label:6} "
              + " ".join(f"{stats[i]:6.4f}" for i in (0, 1, 2, 5)))  # fmt: skip


def print_real_accuracy(data: Path) -> None:
    """AP of decoding what networks say of the completely labelled photos of a folder."""
    from real_fields import fields_of_photos, models

    if not data.is_dir():
        print(f"no {data}: no real fields", file=sys.stderr)
        return
    print(f"\n{'fields of':20} {'joints, limbs':13} {'size':5} {'AP':>6} {'AP50':>6} {'AP75':>6} "
          f"{'AR':>6}  precision / recall at OKS 0.5, score 0.3")  # fmt: skip
    for name, estimator in models(TEACHER):
        truth, photos = fields_of_photos(data, estimator)
        rows: list[dict[str, Any]] = []
        for photo in photos:
            poses = photo.letterbox.undo(decode(photo.fields))
            rows += _rows(poses.to(Skeleton.COCO17), photo.image_id)
        ids = [photo.image_id for photo in photos]
        stats = evaluate(truth, rows, ids)
        precision, recall = precision_at(truth, rows, ids, min_score=0.3)
        skeleton = estimator.spec.skeleton
        limbs = f"{skeleton.n_joints} + {skeleton.n_limbs}"
        print(f"{name:20} {limbs:13} {estimator.size:<5} "
              + " ".join(f"{stats[key]:6.4f}" for key in ("AP", "AP50", "AP75", "AR"))
              + f"  {precision:.3f} / {recall:.3f}")  # fmt: skip


def average_precision(
    truth: Any, scenes: Iterable[Scene], noise: float, config: DecodeConfig | None = None
) -> Any:
    """:func:`average_precision_of` the people decoded from the scenes' fields."""
    rows, ids = [], []
    for scene in scenes:
        ids.append(scene.image_id)
        found = scene.letterbox.undo(decode(fields_of(scene, noise=noise), config))
        rows += _rows(found.to(Skeleton.COCO17), scene.image_id)
    # COCO's own limit is 20.
    return average_precision_of(truth, rows, ids, most_people=20 if len(ids) == 481 else 60)


def average_precision_of(
    truth: Any, rows: list[dict[str, Any]], ids: Sequence[int], *, most_people: int
) -> Any:
    """AP, AP50, AP75, (medium, large,) AR of people found in some images."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(rows), "keypoints")
        evaluation.params.imgIds = list(ids)
        evaluation.params.maxDets = [most_people]
        evaluation.evaluate()
        evaluation.accumulate()
    return _figures(evaluation)


def _figures(evaluation: Any) -> Any:
    """AP, AP50, AP75, (medium, large,) AR; by hand, as summarize() insists on 20 people."""
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: Any) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0

    return [
        mean(precision[:, :, :, 0]), mean(precision[0, :, :, 0]), mean(precision[5, :, :, 0]),
        mean(precision[:, :, :, 1]), mean(precision[:, :, :, 2]), mean(recall[:, :, 0]),
    ]  # fmt: skip


def _rows(poses: Poses, image_id: int) -> list[dict[str, Any]]:
    keypoints = np.concatenate([np.nan_to_num(poses.xy), poses.scores[..., None]], axis=2)
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": keypoints[i].ravel().astype(float).tolist(),
            "score": float(poses.person_scores[i]),
        }
        for i in range(len(poses))
    ]


def _load(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def _coco_of(scenes: Iterable[Scene]) -> Any:
    """The people of made-up scenes as a COCO ground truth; area half of a person's box."""
    images, annotations = [], []
    for scene in scenes:
        images.append({"id": scene.image_id})
        poses = scene.poses.to(Skeleton.COCO17)
        for row, box in zip(_rows(poses, scene.image_id), poses.boxes().tolist(), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            keypoints = np.array(row["keypoints"]).reshape(17, 3)
            keypoints[:, 2] *= 2
            annotations.append({
                "id": len(annotations) + 1, "image_id": scene.image_id, "category_id": 1,
                "iscrowd": 0, "bbox": [box[0], box[1], width, height],
                "area": 0.53 * width * height, "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            })  # fmt: skip
    truth = COCO()
    truth.dataset = {
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def print_times() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import reference_decoder

    print(f"\n{'people':>6} {'found':>6} {'decode ms':>10} {'peaks':>8} {'limbs':>8} {'match':>8} "
          f"{'people':>8} {'19 limbs':>9} {'NumPy':>9}  46 x 82 cells, 28 limbs")  # fmt: skip
    measured = {}
    for n_people in (1, 9, 30, 50, 100, 200):
        poses = random_people(n_people, (368, 656), np.random.default_rng(n_people))
        fields = encode_fields(poses, (368, 656))
        times = step_times(fields)
        measured[n_people] = times[0]
        found = len(decode(fields))
        fewer = encode_fields(poses.replace(skeleton=NINETEEN), (368, 656))
        times.append(shortest_ms(lambda fewer=fewer: decode(fewer)))  # type: ignore[misc]
        if n_people <= 50:  # more would take minutes
            start = time.perf_counter()
            reference_decoder.decode(fields)
            times.append((time.perf_counter() - start) * 1000)
        print(f"{len(poses):6} {found:6} {times[0]:10.4f} "
              + " ".join(f"{step:8.4f}" for step in times[1:5])
              + "".join(f" {ms:9.4f}" for ms in times[5:]))  # fmt: skip
    print(f"first parse of a process, kernels from the cache: {first_parse_ms():.0f} ms")
    power = math.log(measured[200] / measured[9]) / math.log(200 / 9)
    print(f"time grows with people to the power {power:.2f} from 9 to 200")


FIRST_PARSE = """
import time
import numpy as np
from openpaf import Fields, Grid, Skeleton, decode
shape = (46, 82)
fields = Fields(heatmaps=np.zeros((18, *shape)), pafs=np.zeros((56, *shape)),
                heatmap_grid=Grid(8), paf_grid=Grid(8), skeleton=Skeleton.COCO17)
start = time.perf_counter()
decode(fields)
print((time.perf_counter() - start) * 1000)
"""


def first_parse_ms() -> float:
    """Ms of the first call of decode in a fresh process; the best of three."""
    command = [sys.executable, "-c", FIRST_PARSE]
    return min(float(subprocess.check_output(command)) for _ in range(3))


def step_times(fields: Fields) -> list[float]:
    """Ms of decode and of its four steps."""
    config = DecodeConfig()
    peaks = find_peaks(fields, config)
    candidates = score_limbs(fields, peaks, config)
    limbs = match_limbs(candidates, config)
    return [
        shortest_ms(lambda: decode(fields, config)),
        shortest_ms(lambda: find_peaks(fields, config)),
        shortest_ms(lambda: score_limbs(fields, peaks, config)),
        shortest_ms(lambda: match_limbs(candidates, config)),
        shortest_ms(lambda: assemble_people(peaks, limbs, fields.skeleton, config)),
    ]


def shortest_ms(call: Callable[[], Any], n_rounds: int = 150, round_s: float = 0.002) -> float:
    """Shortest mean time of a call over several rounds: what it takes when nothing disturbs.

    Rounds are shorter than the turns that a system gives its processes.
    """
    start = time.perf_counter()
    call()
    n_calls = max(3, int(round_s / max(time.perf_counter() - start, 1e-6)))
    rounds = []
    for _ in range(n_rounds):
        start = time.perf_counter()
        for _ in range(n_calls):
            call()
        rounds.append((time.perf_counter() - start) / n_calls)
    return min(rounds) * 1000


if __name__ == "__main__":
    main()

"""How well ids hold: id switches, MOTA and IDF1 on scenes with known truth; jitter and lag.

    python benchmarks/tracking.py [--annotations FILE] [--scenes N] [--skip-jitter]

Scenes are composed of real poses of a COCO annotation file that walk, cross and go behind a pillar
(walks.py), at 25 frames a second. Each frame is encoded into fields, noise is added, and the
parser decodes it, so the tracker meets the parser's own errors: people who melt together, lose
joints, or fall apart. Person scores are probabilities, as the estimator gives them. "oracle" gives
the tracker the true people without ids instead.

Jitter is the root mean square of a joint's change from frame to frame, of a person who stands:
a photo with sensor noise and a shake of a fraction of a pixel, through the shipped model. Lag is
how far the joints of people who walk are behind the truth when smoothed, along their way.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from scenes import Scene, fields_of
from walks import FPS, KINDS, SIZE_HW, Frame, standing_people, walk

from openpaf import Letterbox, PoseEstimator, Poses, decode, read_image
from openpaf.estimator.calibration import calibrate
from openpaf.evaluation.tracking import TrackingFigures, evaluate_tracking
from openpaf.oks import oks
from openpaf.tracking.one_euro import Smoothing
from openpaf.tracking.tracker import Tracker, TrackerConfig
from openpaf.weights import resolve

ROOT = Path(__file__).resolve().parent.parent
ANNOTATIONS = ROOT.parent / "shared" / "data" / "official_538_val2017_annotations.json"
NOTHING = TrackingFigures(n_truth=0, n_missed=0, n_false=0, n_switches=0, n_id_matches=0, n_found=0)
NOISES = {"oracle": None, "clean": 0.0, "noisy": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotations", type=Path, default=ANNOTATIONS)
    parser.add_argument("--scenes", type=int, default=12, help="of each kind")
    parser.add_argument("--skip-jitter", action="store_true")
    arguments = parser.parse_args()
    people = standing_people(arguments.annotations)
    source = arguments.annotations.name
    print(f"{date.today()}, {platform.machine()}, {len(people)} people of {source}")
    print(f"{'scenes':8} {'fields':8} {'people':>7} {'missed':>7} {'false':>6} {'switches':>8} "
          f"{'MOTA':>6} {'IDF1':>6}")  # fmt: skip
    for fields, noise in NOISES.items():
        total = NOTHING
        for kind in KINDS:
            scenes = (one_scene(kind, people, n, noise) for n in range(arguments.scenes))
            figures = sum(scenes, start=NOTHING)
            total = total + figures
            print_row(kind, fields, figures)
        print_row("all", fields, total)
    if not arguments.skip_jitter:
        measure_jitter()
        measure_lag(people)


def print_row(kind: str, fields: str, figures: TrackingFigures) -> None:
    print(f"{kind:8} {fields:8} {figures.n_truth:7} {figures.n_missed:7} {figures.n_false:6} "
          f"{figures.n_switches:8} {figures.mota:6.3f} {figures.idf1:6.3f}")  # fmt: skip


def one_scene(
    kind: str, people: list[np.ndarray], seed: int, noise: float | None, smooth: bool = True
) -> TrackingFigures:
    return evaluate_tracking(tracked(kind, people, seed, noise, smooth))


def tracked(
    kind: str, people: list[np.ndarray], seed: int, noise: float | None, smooth: bool
) -> Iterator[tuple[Poses, Poses, np.ndarray]]:
    tracker = Tracker(TrackerConfig() if smooth else TrackerConfig(smoothing=None))
    for n, frame in enumerate(walk(kind, people, seed)):
        found = tracker(seen(frame, noise, seed * 1000 + n), n / FPS)
        yield frame.truth, asked(frame, found), frame.areas


def seen(frame: Frame, noise: float | None, seed: int) -> Poses:
    """The people of a frame as a detector would give them."""
    every = [frame.truth, frame.ignored]
    poses = Poses(
        xy=np.concatenate([p.xy for p in every]),
        scores=np.concatenate([p.scores for p in every]),
        person_scores=np.concatenate([p.person_scores for p in every]),
        skeleton=frame.truth.skeleton,
    )
    if noise is None:
        return poses
    letterbox = Letterbox(image_hw=SIZE_HW, resized_hw=SIZE_HW, size_hw=SIZE_HW)
    found = decode(fields_of(Scene(poses, SIZE_HW, letterbox, seed), noise=noise))
    return calibrate(found, resolve("default").spec)


def asked(frame: Frame, found: Poses) -> Poses:
    """Without those found people who are a nearly hidden one."""
    if not len(found) or not len(frame.ignored):
        return found
    counted = oks(frame.truth, found, frame.areas).max(axis=0, initial=0)
    ignored = oks(frame.ignored, found, frame.ignored_areas).max(axis=0)
    return found[(ignored < 0.5) | (counted >= 0.5)]


def measure_jitter(n_frames: int = 60) -> None:
    """Of the joints that are sure in every frame: those that come and go do not shake."""
    estimator = PoseEstimator(size=256, engine="torch")
    photo = read_image(ROOT / "data" / "photos" / "grace_hopper.jpg")
    rng = np.random.default_rng(0)
    raw, smooth = [], []
    sure = np.ones(17, bool)
    tracker = Tracker()
    for n in range(n_frames):
        poses = estimator(shaken(photo, rng))[:1]
        sure &= poses.scores[0] >= 0.3
        raw.append(poses.xy[0])
        smooth.append(tracker(poses, n / FPS).xy[0])
    for name, track in (("before", raw), ("after", smooth)):
        steps = np.diff(np.stack(track)[:, sure], axis=0)  # (frames, joints, 2)
        jitter = np.sqrt((steps**2).sum(axis=2).mean())
        size = np.sqrt(np.prod(np.ptp(raw[0][sure], axis=0)))
        print(f"jitter of a person who stands, {name}: {jitter:.2f} px, "
              f"{100 * jitter / size:.2f} % of the person's size")  # fmt: skip


def shaken(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import cv2

    shift = np.array([[1, 0, rng.normal(0, 0.3)], [0, 1, rng.normal(0, 0.3)]])
    moved = cv2.warpAffine(photo, shift, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    noisy = moved + rng.normal(0, 5, photo.shape)
    return np.asarray(np.clip(noisy, 0, 255).astype(np.uint8))


def measure_lag(people: list[np.ndarray]) -> None:
    """Joints of people who walk, oracle detections: the mean distance that smoothing puts them
    behind the truth, along their way, in frames of that way."""
    for name, smoothing in (("off", None), ("on", Smoothing())):
        behind, ways, errors = [], [], []
        for seed in range(8):
            tracker = Tracker(TrackerConfig(smoothing=smoothing))
            last = None
            for n, frame in enumerate(walk("cross", people, seed)):
                found = tracker(frame.truth.replace(ids=None), n / FPS)
                if last is not None and len(last) == len(frame.truth) > 0:
                    way = frame.truth.xy - last.xy
                    error = found.xy - frame.truth.xy
                    length = np.linalg.norm(way, axis=2)
                    behind.append(-np.nansum((error * way).sum(axis=2)))
                    ways.append(np.nansum(length**2))
                    errors.append(np.nanmean(np.linalg.norm(error, axis=2)))
                last = frame.truth
        print(f"people who walk, smoothing {name}: {np.sum(behind) / np.sum(ways):.2f} frames "
              f"behind, {np.mean(errors):.2f} px off")  # fmt: skip


if __name__ == "__main__":
    main()

"""Part affinity fields, associative embedding, CenterNet and PersonLab on one frozen trunk.

    python benchmarks/groupings.py --folder FOLDER --data DATA [--seeds 3] [--final]

Heads of each grouping learn from the same features of the default model's trunk, from the same
crops in the same order, with the same optimizer and as many parameters before the last layer. Each
is tried with the same learning rates in short runs, and has the one of the highest AP on the
held-out half of ``coco_train``. All are measured by the same evaluator there, and with ``--final``
on the completely labelled photos of ``coco_val_dev``, by which nothing is chosen. Then all are
given the true arrays of true people, and timed on them.

Features, weights and figures stay in the folder: a run that is stopped, or ends after
``--minutes``, goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from grouping_features import (
    MeasuredPhoto,
    PlannedCrops,
    Trunk,
    crop_features,
    learned_photos,
    photo_features,
)
from grouping_heads import Heads, Learned, Run, train
from grouping_methods import COMPARED, SKELETON, Compared
from grouping_scores import score_figures
from grouping_tables import plot, table
from grouping_truth import CROWDS, Figures, decode_ms, true_figures

from openpaf import Poses
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.label_files import Annotations, load_annotations
from openpaf.training.config import AugmentConfig, DataConfig, OptimizerConfig, SetConfig
from openpaf.training.data.batches import load_sets

ROOT = Path(__file__).resolve().parent.parent
_HOLDOUT = (1, 2)  # as the default model held it out of its own training
# Milder than the library's default, as each crop is one for all steps.
_AUGMENT = AugmentConfig(rotation_deg=10.0, person_px=(64.0, 300.0))


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * arguments.minutes
    trunk = Trunk()
    crops = PlannedCrops(training_sets(arguments), batch_size=8, augment=_AUGMENT)
    learned = Learned(
        crops, crop_features(arguments.folder / "crops", crops, arguments.crops, trunk)
    )
    sets = {"held out": ("coco_train", _HOLDOUT)}
    if arguments.final:
        sets["final"] = ("coco_val_dev", None)
    photos = {
        name: _photos(arguments, folder, holdout, trunk) for name, (folder, holdout) in sets.items()
    }
    # What is learned by heart and does not hold for other photos shows as a gap between both.
    photos["learned crops"] = learned_photos(arguments.folder, crops, learned.features)
    figures = _Figures(arguments)
    rates = {kind: _best_rate(figures, kind, learned, photos, deadline)
             for kind in arguments.methods}  # fmt: skip
    learned_figures, sizes = _learned(figures, rates, learned, photos, deadline)
    truth = true_figures(arguments.annotations, arguments.scenes)
    times = {kind: decode_ms(compared) for kind, compared in COMPARED.items()}
    print(
        f"\n{date.today()}, {platform.machine()}, torch {torch.__version__}, "
        f"{arguments.threads} thread, {len(learned.features)} crops, {arguments.steps} steps of "
        f"{arguments.batch}, rank {arguments.rank}, {arguments.hidden} hidden channels\n"
    )
    print(table(COMPARED, rates, learned_figures, sizes, truth, times))
    if arguments.plot:
        last = "final" if arguments.final else "held out"
        plot(arguments.plot, COMPARED, learned_figures, list(CROWDS), times, last, truth)
    for kind, rate in rates.items() if arguments.scores else ():
        if kind == "pafs":
            continue  # probabilities of people depend on their joints, too
        run = _run(arguments, kind, 1, rate, arguments.steps)
        heads = train(run, learned, deadline)
        if heads is not None:
            scores = score_figures(run.compared, heads, *photos["held out"])
            print(f"{kind}: {scores}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="of features, weights and figures")
    add("--data", type=Path, default=ROOT.parent / "shared" / "data")
    add("--sets", nargs="*", default=["coco_train_extra", "people/sports22"],
        help="folders of --data to learn from, beside the half of coco_train")  # fmt: skip
    add("--crops", type=int, default=800)
    add("--steps", type=int, default=1000)
    add("--batch", type=int, default=8)
    add("--rates", type=float, nargs="+", default=[1e-3, 2.5e-3, 6e-3], help="tried by each")
    add("--try-steps", type=int, default=300, help="of a try; none with one rate")
    add("--rank", type=int, default=64, help="of the body's convolutions; 0 for whole ones")
    add("--factors", nargs="*", default=[], metavar="PART=FACTOR", help="on parts of the loss")
    add("--hidden", type=int, default=512, help="hidden channels of all heads together")
    add("--seeds", type=int, default=1)
    add(
        "--methods",
        nargs="*",
        choices=COMPARED,
        default=list(COMPARED),
        help="which learn; none: true arrays alone",
    )
    add("--minutes", type=float, default=math.inf, help="stop training after so many")
    add("--threads", type=int, default=1)
    add("--photos", type=int, help="measure so many photos of a set; all without it")
    add("--scenes", type=int, help="give the truth of so many photos; of all without it")
    add("--annotations", type=Path, help="of the true people; official_538 of --data without it")
    add("--final", action="store_true", help="measure coco_val_dev, too")
    add(
        "--scores",
        action="store_true",
        help="what scores of people mean: a fit, and precision at the threshold",
    )
    add("--plot", type=Path)
    arguments = parser.parse_args()
    name = "official_538_val2017_annotations.json"
    arguments.annotations = arguments.annotations or arguments.data / name
    for path in (arguments.data, arguments.annotations):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    return arguments


def training_sets(arguments: argparse.Namespace) -> Any:
    """Half of COCO's photos, and the sets that are named."""
    own = arguments.data / "coco_train"
    sets = [
        SetConfig(
            annotations=str(own / "person_keypoints.json"),
            images=str(own / "images"),
            holdout=_HOLDOUT,
        )
    ]
    for name in arguments.sets:
        folder = arguments.data / name
        files = [folder / f"{kind}_keypoints.json" for kind in ("person", "pseudo")]
        file = next((file for file in files if file.exists()), files[0])
        sets.append(SetConfig(annotations=str(file), images=str(folder / "images")))
    return load_sets(DataConfig(sets=tuple(sets)))


def _photos(
    arguments: argparse.Namespace, name: str, holdout: tuple[int, int] | None, trunk: Trunk
) -> tuple[Annotations, list[MeasuredPhoto]]:
    data = arguments.data / name
    entries = load_annotations(data / "person_keypoints.json").dataset["images"]
    remainder, n = holdout or (0, 1)
    ids = [e["id"] for e in entries[remainder::n] if e.get("ann_complete", True)]
    return photo_features(arguments.folder / name, data, ids[: arguments.photos], trunk)


class _Figures:
    """Figures of runs, kept in a file of the folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.file = arguments, arguments.folder / "figures.json"
        self._known = json.loads(self.file.read_text("utf-8")) if self.file.exists() else {}
        settings = json.dumps([arguments.sets, arguments.photos])
        self._runs = self._known.setdefault(settings, {})

    def of(
        self, run: Run, heads: Heads, name: str, photos: tuple[Annotations, list[MeasuredPhoto]]
    ) -> Figures:
        """Those of a trained run on a set of photos."""
        done: dict[str, Figures] = self._runs.setdefault(run.file.stem, {})
        if name not in done:
            done[name] = measure(run.compared, heads, *photos)
            self.file.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
        told = ", ".join(f"{figure} {value:.3f}" for figure, value in done[name].items())
        print(f"{run.file.stem}, {name}: {told}", flush=True)
        return done[name]


def _best_rate(
    figures: _Figures,
    kind: str,
    learned: Learned,
    photos: Mapping[str, tuple[Annotations, list[MeasuredPhoto]]],
    deadline: float,
) -> float:
    """The learning rate of a grouping's best short run on held-out photos; NaN if none ended."""
    rates: list[float] = figures.arguments.rates
    if len(rates) == 1:
        return rates[0]
    by_ap = {}
    for rate in rates:
        run = _run(figures.arguments, kind, 1, rate, figures.arguments.try_steps)
        heads = train(run, learned, deadline)
        if heads is not None:
            by_ap[figures.of(run, heads, "held out", photos["held out"])["AP"]] = rate
    return by_ap[max(by_ap)] if by_ap else math.nan


def _learned(
    figures: _Figures,
    rates: Mapping[str, float],
    learned: Learned,
    photos: Mapping[str, tuple[Annotations, list[MeasuredPhoto]]],
    deadline: float,
) -> tuple[dict[str, list[Figures]], dict[str, int]]:
    """Figures of each grouping, seed by seed, and numbers of parameters.

    A seed counts where all groupings have ended with it.
    """
    all_figures: dict[str, list[Figures]] = {kind: [] for kind in COMPARED}
    sizes: dict[str, int] = {}
    for seed in range(1, figures.arguments.seeds + 1):
        of_seed = {}
        for kind, rate in rates.items():
            if math.isnan(rate):
                continue
            run = _run(figures.arguments, kind, seed, rate, figures.arguments.steps)
            heads = train(run, learned, deadline)
            if heads is None:
                continue
            sizes[kind] = sum(p.numel() for p in heads.parameters())
            by_set = {name: figures.of(run, heads, name, given) for name, given in photos.items()}
            of_seed[kind] = {
                f"{name}: {k}": v for name, one in by_set.items() for k, v in one.items()
            }
        if len(of_seed) == len(rates):
            for kind, of_run in of_seed.items():
                all_figures[kind].append(of_run)
    return all_figures, sizes


def _run(arguments: argparse.Namespace, kind: str, seed: int, rate: float, steps: int) -> Run:
    settings = OptimizerConfig(
        steps=steps, batch_size=arguments.batch, learning_rate=rate, warmup=min(50, steps // 4)
    )
    name = f"{kind}-{arguments.crops}-{steps}x{arguments.batch}-{rate:g}"
    name += f"-{arguments.rank}-{arguments.hidden}-{seed}"
    factors = [one.split("=") for one in arguments.factors]
    name += "".join(f"-{part}-{factor}" for part, factor in factors) + ".pt"
    return Run(
        COMPARED[kind], seed, settings, arguments.rank or None, arguments.hidden,
        arguments.folder / name, tuple((part, float(factor)) for part, factor in factors),
    )  # fmt: skip


def measure(
    compared: Compared, heads: Heads, annotations: Annotations, photos: Sequence[MeasuredPhoto]
) -> Figures:
    """AP of learned arrays, by crowding too, and where true joints or true groupings are given."""
    learned, with_joints, with_grouping = [], [], []
    for photo in photos:
        arrays = heads.arrays(photo.features)
        truth = compared.truth(_labelled(annotations, photo), photo.letterbox.size_hw)
        cells_hw = arrays["heatmaps"].shape[1:]
        true = {n: array[:, : cells_hw[0], : cells_hw[1]] for n, array in truth.items()}
        of_joints = {n: (arrays[n], true[n]) for n in compared.places}
        for people, given in (
            (learned, arrays),
            (with_joints, {**arrays, **{n: theirs for n, (_, theirs) in of_joints.items()}}),
            (with_grouping, {**true, **{n: ours for n, (ours, _) in of_joints.items()}}),
        ):
            poses = photo.letterbox.undo(compared.people(given))
            people += as_results(poses, photo.image_id, annotations)
    ids = [photo.image_id for photo in photos]
    figures = {k: evaluate(annotations, learned, ids)[k] for k in ("AP", "APM", "APL")}
    for name, (low, high) in CROWDS.items():
        some = [i for i in ids if low <= _nlabelled_people(annotations, i) <= high]
        figures[name] = evaluate(annotations, learned, some)["AP"] if some else -1.0
    figures["true joints"] = evaluate(annotations, with_joints, ids)["AP"]
    figures["true grouping"] = evaluate(annotations, with_grouping, ids)["AP"]
    return figures


def labelled_people(annotations: Annotations, image_id: int) -> list[Any]:
    """Labels of the people of a photo who have joints, crowds apart."""
    people = annotations.imgToAnns[image_id]
    return [one for one in people if one.get("num_keypoints", 0) and not one.get("iscrowd")]


def _nlabelled_people(annotations: Annotations, image_id: int) -> int:
    return len(labelled_people(annotations, image_id))


def _labelled(annotations: Annotations, photo: MeasuredPhoto) -> Poses:
    """The labelled people in px of the network's input."""
    keypoints = [one["keypoints"] for one in labelled_people(annotations, photo.image_id)]
    poses = Poses.from_keypoints(np.array(keypoints, np.float64).reshape(-1, 17, 3), SKELETON)
    return poses.replace(xy=photo.letterbox.points_to_network(poses.xy))


if __name__ == "__main__":
    main()

"""First weights of the default model: the Open Model Zoo's network with limbs that it lacks.

    python new_limbs.py RUN.toml --from hpe0001_fp16.npz

Layers and channels of ``human-pose-estimation-0001`` are taken as they are. As it is, that network
becomes the run's teacher. The last layer of a
head is linear, so the best channels of new limbs for a frozen network have a closed form: one pass
over some crops, and one solve for each limb.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from least_squares import LeastSquares, cells, record
from open_model_zoo import load_open_model_zoo, shared_channels
from run_files import MEAN, SCALE, RunFile, run_script, save, save_start
from torch import Tensor, nn

from openpaf import Skeleton, weights
from openpaf.networks.lightweight import LightweightNetwork, Stage
from openpaf.training.data.batches import Batch

_SEEN = 0.1  # the network sees a person where its background is below 1 less this
_RIDGE = 1e-4


def new_limbs(skeleton: Skeleton) -> list[int]:
    """Limbs of a skeleton that the Open Model Zoo's network does not have."""
    known = {channel // 2 for channel, _, _ in shared_channels(skeleton)["pafs"]}
    return [limb for limb in range(skeleton.n_limbs) if limb not in known]


@torch.no_grad()
def fit_new_limbs(
    network: LightweightNetwork,
    source: LightweightNetwork,
    skeleton: Skeleton,
    batches: Iterable[Batch],
) -> None:
    """Fit the limbs that are new to the hidden features of the heads.

    Args:
        network: Filled by :func:`~open_model_zoo.load_open_model_zoo`, with one refinement stage;
            changed in place.
        source: The same weights as COCO18, whose hidden features are what the channels read.
        skeleton: Of ``network``.
        batches: Their labels are the targets.
    """
    limbs = new_limbs(skeleton)
    stages = ("initial_stage", "refinement_stages.0")
    names = [f"{stage}.pafs.hidden" for stage in stages]
    last = "refinement_stages.0.heatmaps"
    fits = {(name, limb): LeastSquares() for name in names for limb in limbs}
    for batch in batches:
        recorded = record(source, [*names, last], "output", [(batch.images - MEAN) / SCALE])
        counted = _counted(batch, recorded[last][0])
        for name in names:
            features = cells(recorded[name][0].relu())
            for limb in limbs:
                cell = cells(counted[:, 2 * limb, None])[:, 0] > 0
                targets = cells(batch.pafs[:, 2 * limb : 2 * limb + 2])
                fits[name, limb].add(features[cell], targets[cell])
    for stage, name in zip(stages, names, strict=True):
        out = cast(Stage, network.get_submodule(stage)).pafs.out
        assert out.bias is not None  # every convolution of this network has one
        for limb in limbs:
            layer = fits[name, limb].solve(ridge=_RIDGE).float()
            out.weight[2 * limb : 2 * limb + 2] = layer[:-1].T[:, :, None, None]
            out.bias[2 * limb : 2 * limb + 2] = layer[-1]


def _counted(batch: Batch, heatmaps: Tensor) -> Tensor:
    """(B, 2L, h, w) 0 where PAFs do not count: ignored, or a person whom the labels may miss.

    Args:
        batch: With its labels.
        heatmaps: (B, K+1, h, w) the network's, background last.
    """
    b, channels, h, w = batch.pafs.shape
    pairs = batch.pafs.view(b, channels // 2, 2, h, w)
    covered = (pairs != 0).any(dim=2).repeat_interleave(2, dim=1)
    unlabeled = ~batch.fully_annotated[:, None, None, None] & ~covered
    seen = ((1 - heatmaps[:, -1:]) > _SEEN).float()
    return batch.paf_weights * ~(unlabeled & (nn.functional.max_pool2d(seen, 5, 1, 2) > 0))


def main(argv: Sequence[str] | None = None) -> None:
    """The command of this file."""
    parser = argparse.ArgumentParser(description="First weights with limbs fitted to labels.")
    parser.add_argument(
        "run", type=Path, help="the run's TOML file; its [network] weights are made"
    )
    parser.add_argument("--from", dest="source", required=True, help="hpe0001_fp16.npz")
    parser.add_argument("--batches", type=int, default=60, help="to fit to (default: 60)")
    arguments = parser.parse_args(argv)
    run = RunFile.read(arguments.run)
    network, source = run.network(), LightweightNetwork(Skeleton.COCO18).eval()
    load_open_model_zoo(network, arguments.source, run.skeleton)
    load_open_model_zoo(source, arguments.source, Skeleton.COCO18)
    fit_new_limbs(network, source, run.skeleton, run.batches(arguments.batches))
    heatmap_grid, paf_grid = run.grids
    spec = weights.ModelSpec(
        name="human-pose-estimation-0001",
        builder="lightweight",
        options={"n_refinement_stages": 1},
        skeleton=Skeleton.COCO18,
        heatmap_grid=heatmap_grid,
        paf_grid=paf_grid,
        mean=MEAN,
        scale=SCALE,
        licence="Apache-2.0",
        metrics={},
    )
    if run.teacher_file is not None:
        save(source, run.teacher_file, spec)
    result = None if run.skeleton == Skeleton.COCO17 else Skeleton.COCO17
    save_start(network, run, replace(spec, skeleton=run.skeleton, result=result))


if __name__ == "__main__":
    run_script(main)

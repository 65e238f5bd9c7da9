"""What the scripts of this folder read of a run's TOML file: its network and its crops."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pasting import Pasting
from torch import Tensor

from openpaf import Grid, Skeleton, weights
from openpaf.errors import OpenpafError, WeightsError
from openpaf.io.toml_files import read_toml
from openpaf.networks import LightweightNetwork
from openpaf.training.config import AugmentConfig
from openpaf.training.data.batches import Batch, BatchMaker
from openpaf.training.data.dataset import load_photo_set

MEAN, SCALE = 128.0, 255.0  # of the input of our own networks
_SKELETONS = {skeleton.name: skeleton for skeleton in (Skeleton.COCO17, Skeleton.COCO18_REDUNDANT)}
#: Steps from here on give crops that no run trains on.
_BEYOND = 10**9
_N_BATCHES, _MOST_CROPS = 6, 16


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A run's TOML file.

    Args:
        path: Where it lies; its paths are relative to its folder.
        values: What it says.
    """

    path: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> RunFile:
        """Read a file.

        Raises:
            ValueError: If it cannot be read, is not TOML, or lacks a table that is needed.
        """
        values = read_toml(path)
        for table in ("network", "optimizer", "data"):
            if not isinstance(values.get(table), dict):
                raise ValueError(f"{path}: expected a table [{table}]")
        return cls(path=path, values=values)

    @property
    def skeleton(self) -> Skeleton:
        """Of the network."""
        return _SKELETONS[self.values["data"].get("skeleton", "coco17")]

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """Of heatmaps and PAFs."""
        offsets = self.values.get("targets", {}).get("grid_offsets", (3.5, 3.5))
        return Grid(8, offsets[0]), Grid(8, offsets[1])

    @property
    def options(self) -> dict[str, Any]:
        """Of the network."""
        options: dict[str, Any] = self.values["network"].get("options", {})
        return options

    @property
    def weights_file(self) -> Path:
        """What the run starts from, which the scripts make."""
        return self.path.parent / self.values["network"]["weights"]

    @property
    def teacher_file(self) -> Path | None:
        """The run's teacher, if it has one."""
        teacher = self.values.get("distillation", {}).get("teacher")
        return None if teacher is None else self.path.parent / teacher

    def network(self) -> LightweightNetwork:
        """The network of the run, with fresh weights."""
        torch.manual_seed(self.values.get("seed", 0))
        return LightweightNetwork(self.skeleton, **self.options).eval()

    def _maker(self) -> BatchMaker:
        folder, sets = self.path.parent, []
        for table in self.values["data"]["sets"]:
            options = dict(table)
            annotations, images = (folder / options.pop(key) for key in ("annotations", "images"))
            sets.append(load_photo_set(annotations, images, **options))
        heatmap_grid, paf_grid = self.grids
        targets = self.values.get("targets", {})
        augment = AugmentConfig(**self.values.get("augment", {}))
        recipe = self.values.get("recipe", {})
        shares = {key: recipe.get(key, 0.0) for key in ("occluders", "paste_people")}
        widths = {key: targets[key] for key in ("sigma_px", "paf_half_width_px") if key in targets}
        return BatchMaker(
            sets,
            batch_size=self.values["optimizer"]["batch_size"],
            augment=augment,
            change_plan=Pasting(**shares, augment=augment),
            skeleton=self.skeleton,
            heatmap_grid=heatmap_grid,
            paf_grid=paf_grid,
            is_taught=True,
            seed=self.values.get("seed", 0),
            **widths,
        )

    def batches(self, n: int) -> Iterator[Batch]:
        """Batches with labels that the run does not train on."""
        return self._maker().stream(_BEYOND, _BEYOND + n)

    def crops(self) -> Tensor:
        """Normalized crops (B, 3, S, S) that the run does not train on."""
        maker = self._maker()
        crops = range(min(maker.batch_size, _MOST_CROPS))  # more would take long and change little
        batches = [maker.batch(_BEYOND + i, crops).images for i in range(_N_BATCHES)]
        return (torch.cat(batches) - MEAN) / SCALE


def load_trained(path: str, skeleton: Skeleton) -> tuple[LightweightNetwork, weights.ModelSpec]:
    """A trained lightweight network, and what its file says of it.

    Raises:
        WeightsError: If it is another network, or of another skeleton.
    """
    network, spec = weights.load_model(path)
    if not isinstance(network, LightweightNetwork) or spec.skeleton != skeleton:
        raise WeightsError(f"{path}: expected a lightweight network of {skeleton.name!r}")
    return network, spec


def save_start(network: LightweightNetwork, run: RunFile, spec: weights.ModelSpec) -> None:
    """Write what a run starts from: a network, described as ``spec`` is but for its options."""
    save(network, run.weights_file, dataclasses.replace(spec, options=run.options))


def save(network: LightweightNetwork, path: Path, spec: weights.ModelSpec) -> None:
    """Write a network under the name of the file, without figures of another one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(network.state_dict(), path, dataclasses.replace(spec, name=path.stem, metrics={}))


def run_script(main: Callable[[], None]) -> None:
    """Run the command of a script; bad input is one line."""
    try:
        main()
    except (OpenpafError, OSError, KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        sys.exit(f"{Path(sys.argv[0]).name}: {what}")

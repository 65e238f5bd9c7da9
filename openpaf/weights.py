"""The models that ship with the library, and reading and writing checkpoints."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The model that ``PoseEstimator()`` takes.
DEFAULT_MODEL = "lightweight-coco17"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What must be known of a checkpoint to run it.

    Args:
        name: As ``PoseEstimator(model=...)`` takes it.
        builder: Name of the network for :func:`openpaf.networks.build`.
        options: Arguments of the builder, the skeleton apart.
        skeleton: The order of its channels.
        result: The joints of the people that are found with it, taken from the skeleton's by
            name; all of them where not given.
        heatmap_grid: Where the cells of the heatmaps lie.
        paf_grid: Where the cells of the PAFs lie.
        mean: Subtracted from RGB values of 0 to 255.
        scale: The difference is divided by this.
        licence: In plain words.
        metrics: Figures of its card, e.g. AP.
    """

    name: str
    builder: str
    options: dict[str, Any]
    skeleton: Skeleton
    heatmap_grid: Grid
    paf_grid: Grid
    mean: float
    scale: float
    licence: str
    metrics: dict[str, Any]
    result: Skeleton | None = None

    def to_metadata(self) -> dict[str, str]:
        """As strings, for the header of a safetensors file."""
        return {
            "openpaf": json.dumps(
                {
                    "name": self.name,
                    "builder": self.builder,
                    "options": self.options,
                    "skeleton": self.skeleton.to_dict(),
                    "result": self.result.to_dict() if self.result else None,
                    "heatmap_grid": [self.heatmap_grid.stride, self.heatmap_grid.offset],
                    "paf_grid": [self.paf_grid.stride, self.paf_grid.offset],
                    "mean": self.mean,
                    "scale": self.scale,
                    "licence": self.licence,
                    "metrics": self.metrics,
                }
            )
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, path: Path) -> Weights:
        """Read back what :meth:`to_metadata` wrote.

        Raises:
            WeightsError: If the file does not say how it is to be run.
        """
        try:
            values = json.loads((metadata or {})["openpaf"])
            values["skeleton"] = Skeleton.from_dict(values["skeleton"])
            if values.get("result"):
                values["result"] = Skeleton.from_dict(values["result"])
            for grid in ("heatmap_grid", "paf_grid"):
                values[grid] = Grid(*values[grid])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: no description of an openpaf model in it") from error


def table() -> list[dict[str, Any]]:
    """The shipped models: rows of name, licence, sha256, size in bytes, skeleton, and AP."""
    rows = []
    for path in _shipped():
        weights = read_header(path)
        rows.append(
            {
                "name": weights.name,
                "licence": weights.licence,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "size": path.stat().st_size,
                "skeleton": (weights.result or weights.skeleton).name,
                "AP": weights.metrics.get("AP"),
            }
        )
    return rows


def _shipped() -> list[Path]:
    try:
        folder = Path(str(resources.files("openpaf.models")))
    except ModuleNotFoundError:  # a checkout that is not installed: the models lie beside it
        folder = Path(__file__).resolve().parent.parent / "models"
    return sorted(folder.glob("*.safetensors"))


def find(model: str | Path | None) -> Path:
    """The file of a model: shipped under this name, or a path.

    Raises:
        WeightsError: If there is neither; the message lists the shipped names.
    """
    model = model or DEFAULT_MODEL
    shipped = {path.stem: path for path in _shipped()}
    if str(model) in shipped:
        return shipped[str(model)]
    if Path(model).is_file():
        return Path(model)
    raise WeightsError(
        f"model {str(model)!r}: neither a file nor a shipped model ({', '.join(shipped) or 'none'})"
    )


def read_header(path: str | Path) -> Weights:
    """How the model in a safetensors file is to be run.

    Raises:
        WeightsError: If the file is missing, damaged, or does not say.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error
    return Weights.from_metadata(metadata, Path(path))


def load(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a safetensors file, key for key; float16 becomes the network's dtype.

    Raises:
        WeightsError: If the file cannot be read, or keys are missing, left over, or misshapen;
            the message lists them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    misshapen = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in sorted(set(wanted) & set(state))
        if state[key].shape != wanted[key].shape
    ]
    if missing or extra or misshapen:
        raise WeightsError(
            f"{path}: does not fit the network; missing: {_some(missing)}; "
            f"left over: {_some(extra)}; of another shape: {_some(misshapen)}"
        )
    network.load_state_dict(state)


def _some(keys: list[str], limit: int = 8) -> str:
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return (", ".join(keys[:limit]) or "none") + more


def save(state: dict[str, Tensor], path: str | Path, weights: Weights) -> None:
    """Write weights as float16 safetensors, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    import torch
    from safetensors.torch import save as to_bytes

    halves = {key: value.to("cpu", torch.float16).contiguous() for key, value in state.items()}
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(to_bytes(halves, metadata=weights.to_metadata()))
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load_model(model: str | Path | None = None) -> tuple[nn.Module, Weights]:
    """Build the network of a shipped model or a file, and fill it; in evaluation mode.

    Raises:
        WeightsError: If it is missing, damaged, or does not fit its network.
    """
    from openpaf.networks import build

    path = find(model)
    weights = read_header(path)
    network = build(weights.builder, weights.skeleton, **weights.options)
    load(network, path)
    return network.eval(), weights

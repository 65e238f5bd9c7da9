"""Reading and writing the weights of a model, and building its network from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError, printable
from openpaf.io.files import write_whole
from openpaf.weights.checkpoints import compare, fill, open_checkpoint
from openpaf.weights.outline import check_grids, outline
from openpaf.weights.safetensors_files import open_safetensors
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_header(path: str | Path) -> ModelSpec:
    """How the model in a safetensors file is run.

    Raises:
        WeightsError: If the file is missing, damaged, or does not say.
    """
    path = Path(path)
    others = "; a file of another format needs its name: --model NAME --weights PATH"
    hint = "" if path.suffix == ".safetensors" else others
    try:
        with open_safetensors(path, "numpy", hint) as file:
            metadata = file.metadata()
    except OSError as error:
        reason = error.strerror or printable(error)
        raise WeightsError(f"{path}: cannot be read as safetensors ({reason}){hint}") from error
    return ModelSpec.from_metadata(metadata, path)


def load(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a checkpoint file, key for key; float16 becomes the network's dtype.

    Args:
        network: Changed in place. Its own ``RENAMES`` and ``IGNORED``, if it has them, say how
            published files call its parameters; see :func:`openpaf.weights.checkpoints.fill`.
        path: A PyTorch checkpoint, safetensors, ``.npz`` or ``.caffemodel``.

    Raises:
        WeightsError: If the file cannot be read, would run code, or keys are missing, left over,
            misshapen or not finite; the message lists them.
    """
    with open_checkpoint(path) as state:
        fill(network, state, path)


def save(state: dict[str, Tensor], path: str | Path, spec: ModelSpec) -> None:
    """Write weights as safetensors, floats in half precision, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    import torch
    from safetensors.torch import save as to_bytes

    halves = {
        key: value.to("cpu", torch.float16 if value.is_floating_point() else None).contiguous()
        for key, value in state.items()
    }
    write_whole(path, to_bytes(halves, metadata=spec.to_metadata()))


def load_network(source: ModelSource) -> nn.Module:
    """Build the network of a model and fill it; in evaluation mode.

    Raises:
        WeightsError: If the file is an exported model, missing, damaged, or does not fit its
            network.
    """
    from openpaf.networks import build

    spec, path = source.spec, source.file
    if source.kind == "pair":
        raise WeightsError(f"{path}: names several networks; load one of them by its own name")
    if source.kind != "weights":
        raise WeightsError(f"{path}: expected weights, found an exported model")
    network = outline(spec, path)
    with open_checkpoint(path) as state:
        compare(network, state, path)
        network = build(spec.builder, spec.skeleton, **spec.options)
        fill(network, state, path)
    check_grids(network.eval(), spec, path)
    return network

"""What engines share: their type, and how converted models are named in the cache."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.io.cache import file_key
from openpaf.weights.spec import ModelSource

#: The arrays of a network by name, each float32 (B, ...), as :attr:`ModelSpec.outputs` lists them.
Arrays = dict[str, NDArray[np.float32]]
#: From a batch of images, float32 (B, 3, h, w), RGB of 0 to 255, to the network's arrays.
Run = Callable[[NDArray[np.float32]], Arrays]


@dataclass(frozen=True, eq=False)
class Engine:
    """A model that is ready to run: call it with a batch of images.

    Args:
        name: Of :data:`openpaf.engines.table.ENGINES`.
        run: From float32 (B, 3, h, w), RGB of 0 to 255, to float32 arrays by name; any number of
            threads may call it at once.
    """

    name: str
    run: Run

    def __call__(self, images: NDArray[np.float32]) -> Arrays:
        return self.run(images)


def check_size(images: NDArray[np.float32], expected: Sequence[Any]) -> None:
    """Refuse images of another size than a file was exported for.

    Args:
        images: (B, 3, h, w).
        expected: The input's shape by the file; what is no whole number may have any length.

    Raises:
        ValueError: If height or width differ.
    """
    fixed = [side if isinstance(side, int) else None for side in expected]
    if any(w is not None and w != n for w, n in zip(fixed[2:], images.shape[2:], strict=True)):
        raise ValueError(
            f"image: this model was exported for {fixed[2]} x {fixed[3]} px, "
            f"got {images.shape[2]} x {images.shape[3]} after resizing; see size="
        )


def versions(*modules: str) -> list[str]:
    """The installed versions of modules, as parts of a key of the cache."""
    return [f"{module} {metadata.version(module)}" for module in modules]


def conversion_name(source: ModelSource, suffix: str, *modules: str) -> str:
    """A file name in the cache that changes with a model and with the versions of modules."""
    key = file_key(source.file, *source.spec.to_metadata().values(), *versions(*modules))
    return f"{source.file.stem}-{key}{suffix}"


def check_cpu(engine: str, device: str | None) -> None:
    """Refuse a device for an engine that runs on the CPU only.

    Raises:
        ValueError: If the device is another.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"device: engine {engine!r} runs on 'cpu' only, got {device!r}")


def last_line(error: Exception) -> str:
    """The last line of an engine's message, which says the reason; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' progress on the output stream, and their warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)

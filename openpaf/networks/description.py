"""Figures of a network: parameters, receptive field, stride, multiplications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, kw_only=True)
class Description:
    """Figures of a network.

    Args:
        parameters: Number of trainable parameters, without running statistics of batch norms.
        receptive_field_px: Side in px of the square of the image that a cell of the last heatmaps
            depends on; one stride too large if features are downsampled between two pyramids.
        stride: Px between neighboring cells.
        offset_px: Center of the receptive field of cell 0 in px. The positions of peaks may differ:
            they follow from the targets of training, and are in the description of the weights.
        gmacs: Multiply-accumulates of all convolutions for one image of ``size_hw``, in 10^9.
        size_hw: Height and width of that image in px.
    """

    parameters: int
    receptive_field_px: int
    stride: int
    offset_px: float
    gmacs: float
    size_hw: tuple[int, int]


def describe(network: nn.Module, size_hw: tuple[int, int] = (368, 656)) -> Description:
    """Figures of a network, derived from its layers; nothing is computed or changed.

    Args:
        network: A network whose layers are the same along x and y.
        size_hw: Height and width in px of the image for which multiplications are counted.

    Raises:
        ValueError: If a size is below 1 px, or the network has an unsupported layer.
    """
    if min(size_hw) < 1:
        raise ValueError(f"size_hw: expected height and width >= 1 px, got {size_hw}")
    # Tensors on device "meta" have shapes, but no values.
    state = {name: p.to("meta") for name, p in network.named_parameters()}
    state |= {name: b.to("meta") for name, b in network.named_buffers()}
    dtypes = [value.dtype for value in state.values() if value.is_floating_point()]
    image = torch.zeros(1, 3, *size_hw, device="meta", dtype=dtypes[0] if dtypes else None)
    _mark(image, _View(1.0, 0.0, 0.0))
    with torch.no_grad(), _Walk() as walk:
        stages = torch.func.functional_call(network, state, (image,))
    view = _view(stages[-1][0])
    assert view is not None  # every result of the image has one
    return Description(
        parameters=sum(p.numel() for p in network.parameters()),
        receptive_field_px=round(view.last - view.first) + 1,
        stride=round(view.stride),
        offset_px=(view.first + view.last) / 2,
        gmacs=walk.macs / 1e9,
        size_hw=(int(size_hw[0]), int(size_hw[1])),
    )


class _View(NamedTuple):
    """Receptive field of the cells of a tensor, along x and in px."""

    stride: float  # between neighboring cells
    first: float  # first px of the receptive field of cell 0, without the border
    last: float  # last px


def _mark(tensor: Tensor, view: _View) -> None:
    tensor._openpaf_view = view  # type: ignore[attr-defined]


def _view(value: Any) -> _View | None:
    return getattr(value, "_openpaf_view", None)


class _Walk(TorchFunctionMode):
    """Counts multiplications and tracks receptive fields through all functions of torch."""

    macs = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            seen = [tensor for tensor in _flat(args) if _view(tensor) is not None]
            if seen:
                name = getattr(func, "__name__", str(func))
                _mark(result, _VIEWS.get(name, _same)(name, seen, result, args, kwargs))
                if name == "conv2d":
                    self.macs += result.numel() * args[1][0].numel()
        return result


def _flat(args: Any) -> list[Any]:
    flat = []
    for value in args:
        flat += _flat(value) if isinstance(value, (list, tuple)) else [value]
    return flat


def _same(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    """Of an elementwise function: the union of the receptive fields of its inputs."""
    views = [view for view in map(_view, seen) if view is not None]
    sizes = {tuple(tensor.shape[-2:]) for tensor in (*seen, result)}
    if len(sizes) > 1 or len({view.stride for view in views}) > 1:
        raise ValueError(f"network: expected supported layers, got {name!r}")
    return _View(
        views[0].stride, min(view.first for view in views), max(view.last for view in views)
    )


def _cropped(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    view = _view(seen[0])
    keys = args[1] if isinstance(args[1], tuple) else (args[1],)
    if view is None or any(isinstance(key, slice) and (key.start or key.step) for key in keys[2:]):
        raise ValueError("network: expected slices that keep the first cell, got others")
    return view


def _padded(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    view = _view(seen[0])
    if view is None or any(args[1][::2]):
        raise ValueError("network: expected padding on the right and bottom only")
    return view


def _of_window(
    view: _View | None, size: int, stride: int, padding: int, dilation: int = 1
) -> _View:
    assert view is not None
    first = view.first - padding * view.stride
    reach = (size - 1) * dilation * view.stride
    return _View(view.stride * stride, first, view.last - padding * view.stride + reach)


def _convolved(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    _, weight, _, stride, padding, dilation = args[:6]
    return _of_window(_view(seen[0]), weight.shape[3], stride[1], padding[1], dilation[1])


def _pooled(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    names = ("kernel_size", "stride", "padding", "dilation")
    given = dict(zip(names, args[1:], strict=False)) | kwargs
    size, stride, padding, dilation = (
        value[1] if isinstance(value, tuple) else value for value in (given[key] for key in names)
    )
    return _of_window(_view(seen[0]), size, stride, padding, dilation)


def _repeated(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    view = _view(seen[0])
    factor = result.shape[-1] // seen[0].shape[-1]
    if view is None or kwargs.get("mode", "nearest") != "nearest" or factor < 1:
        raise ValueError(f"network: expected upsampling to the nearest cell, got {name!r}")
    # The copies of a cell have its receptive field; relative to the last copy it starts earliest.
    fine = view.stride / factor
    return _View(fine, view.first - (factor - 1) * fine, view.last)


_VIEWS: dict[str, Callable[..., _View]] = {
    "conv2d": _convolved,
    "max_pool2d": _pooled,
    "interpolate": _repeated,
    "pixel_shuffle": _repeated,
    "__getitem__": _cropped,
    "pad": _padded,
}

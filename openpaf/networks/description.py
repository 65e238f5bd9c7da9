"""What a network is, in figures: parameters, receptive field, stride, multiplications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network in figures.

    Args:
        parameters: Numbers that training can change, batch norm's running means not among them.
        receptive_field_px: Side of the square of the picture, in px, that a cell of the last
            heatmaps depends on; a stride too much where a grid is made coarser between two
            pyramids.
        stride: Px from a cell to the next.
        offset_px: The middle of the receptive field of cell 0, in px: where the layers put it.
            Where its weights have learned to put their peaks is another matter: that follows from
            the targets that they were trained with, and stands in the weights' row.
        gmacs: Multiplications (each with its addition) of all convolutions for one picture of
            ``size_hw``, in thousand millions.
        size_hw: Height and width of that picture in px.
    """

    parameters: int
    receptive_field_px: int
    stride: int
    offset_px: float
    gmacs: float
    size_hw: tuple[int, int]


def describe(network: nn.Module, size_hw: tuple[int, int] = (368, 656)) -> Description:
    """Figures of a network, found by following its layers; nothing is computed or changed.

    Args:
        network: Its layers are the same along x and along y.
        size_hw: Height and width in px of the picture that multiplications are counted for.

    Raises:
        ValueError: If a size is below 1 px, or the network has a layer that cannot be followed.
    """
    if min(size_hw) < 1:
        raise ValueError(f"size_hw: expected height and width >= 1 px, got {size_hw}")
    # Tensors of device "meta" have shapes, but no values.
    state = {name: p.to("meta") for name, p in network.named_parameters()}
    state |= {name: b.to("meta") for name, b in network.named_buffers()}
    dtypes = [value.dtype for value in state.values() if value.is_floating_point()]
    image = torch.zeros(1, 3, *size_hw, device="meta", dtype=dtypes[0] if dtypes else None)
    _mark(image, _View(1.0, 0.0, 0.0))
    with torch.no_grad(), _Walk() as walk:
        stages = torch.func.functional_call(network, state, (image,))
    view = _view(stages[-1][0])
    assert view is not None  # all that is computed from the picture has one
    return Description(
        parameters=sum(p.numel() for p in network.parameters()),
        receptive_field_px=round(view.last - view.first) + 1,
        stride=round(view.stride),
        offset_px=(view.first + view.last) / 2,
        gmacs=walk.macs / 1e9,
        size_hw=(int(size_hw[0]), int(size_hw[1])),
    )


class _View(NamedTuple):
    """What the cells of a tensor see of the picture, along x and in px."""

    stride: float  # from a cell to the next
    first: float  # the first px that cell 0 sees, were there no border
    last: float  # the last


def _mark(tensor: Tensor, view: _View) -> None:
    tensor._openpaf_view = view  # type: ignore[attr-defined]


def _view(value: Any) -> _View | None:
    return getattr(value, "_openpaf_view", None)


class _Walk(TorchFunctionMode):
    """Counts multiplications, and follows what cells see, through all functions of torch."""

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
    """Of a function that works cell by cell: all that any of its inputs sees."""
    views = [view for view in map(_view, seen) if view is not None]
    sizes = {tuple(tensor.shape[-2:]) for tensor in (*seen, result)}
    if len(sizes) > 1 or len({view.stride for view in views}) > 1:
        raise ValueError(f"network: expected layers that can be followed, got {name!r}")
    return _View(
        views[0].stride, min(view.first for view in views), max(view.last for view in views)
    )


def _cropped(name: str, seen: list[Tensor], result: Tensor, args: Any, kwargs: Any) -> _View:
    view = _view(seen[0])
    keys = args[1] if isinstance(args[1], tuple) else (args[1],)
    if view is None or any(isinstance(key, slice) and (key.start or key.step) for key in keys[2:]):
        raise ValueError("network: expected slices that keep the first cell, got others")
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
    # The copies of a cell see what it sees; the one that lies furthest from it looks furthest back.
    fine = view.stride / factor
    return _View(fine, view.first - (factor - 1) * fine, view.last)


_VIEWS: dict[str, Callable[..., _View]] = {
    "conv2d": _convolved,
    "max_pool2d": _pooled,
    "interpolate": _repeated,
    "pixel_shuffle": _repeated,
    "__getitem__": _cropped,
}

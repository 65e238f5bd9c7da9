"""torchvision's detection models beside a CPU-only torch, as the reference of the parity tests.

Its compiled operators do not load beside a CPU build of torch, but the models are plain Python.
``pip install --no-deps torchvision==0.28.0`` and then, before anything imports torchvision,
:func:`install`. Only nms and roi_align get bodies, slow ones; the others are only declared, so that
the import works.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch

_ROI = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_BACK = (
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, {extra}"
    "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
)
_ALIGN_BACK = _BACK.format(extra="")
_DEFORM = "Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias"
_STRIDES = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"
)
_FIVE = "(Tensor, Tensor, Tensor, Tensor, Tensor)"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_ROI}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward(Tensor grad, Tensor rois, {_ALIGN_BACK}, int sampling_ratio, "
    "bool aligned) -> Tensor",
    f"roi_pool({_ROI}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, {_ALIGN_BACK}) -> Tensor",
    f"ps_roi_align({_ROI}, int sampling_ratio) -> (Tensor, Tensor)",
    "_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    f"{_BACK.format(extra='int sampling_ratio, ')}) -> Tensor",
    f"ps_roi_pool({_ROI}) -> (Tensor, Tensor)",
    "_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    f"{_ALIGN_BACK}) -> Tensor",
    f"deform_conv2d({_DEFORM}, {_STRIDES}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, {_DEFORM}, {_STRIDES}) -> {_FIVE}",
    "_cuda_version() -> int",
)
_library: Any = None


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    order = scores.argsort(descending=True, stable=True)
    keep = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        first, rest = order[0], order[1:]
        keep.append(int(first))
        low = torch.maximum(boxes[first, :2], boxes[rest, :2])
        high = torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        inter = (high - low).clamp(min=0).prod(1)
        order = rest[inter / (area[first] + area[rest] - inter) <= iou_threshold]
    return torch.tensor(keep, dtype=torch.long)


def install() -> None:
    """Declare torchvision's operators, give two of them bodies, and import torchvision."""
    global _library
    if _library is not None:
        return
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)
    _library.impl("nms", _nms, "CompositeExplicitAutograd")
    import torchvision.extension

    torchvision.extension._HAS_OPS = True
    torchvision.extension._has_ops = lambda: True
    import torchvision.ops

    # The package's attribute of that name is the function.
    module = sys.modules["torchvision.ops.roi_align"]
    # Its body without torch.compile, which takes a minute for every new shape.
    body = inspect.unwrap(module._roi_align)

    def roi_align(
        input: Any,
        boxes: Any,
        output_size: Any,
        spatial_scale: float = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
    ) -> Any:
        if isinstance(boxes, (list, tuple)):
            boxes = torchvision.ops._utils.convert_boxes_to_roi_format(boxes)
        pair = (output_size, output_size) if isinstance(output_size, int) else output_size
        return body(input, boxes, spatial_scale, *pair, sampling_ratio, aligned)

    import torchvision.models.detection.roi_heads as heads
    import torchvision.ops.poolers

    torchvision.ops.poolers.roi_align = roi_align
    torchvision.ops.roi_align = roi_align
    heads.roi_align = roi_align

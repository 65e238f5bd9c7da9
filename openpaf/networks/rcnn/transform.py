"""Resizes images of any size to one batch, and detections back to the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn import boxes as box_ops
from openpaf.networks.rcnn.paste import paste_masks

Target = dict[str, Tensor]
Detection = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Images:
    """A batch of images, padded on the right and the bottom.

    Args:
        tensor: (B, 3, H, W), normalized; H and W multiples of 32.
        sizes_hw: Size of each image inside it in px.
        original_hw: Original size of each image in px.
    """

    tensor: Tensor
    sizes_hw: list[tuple[int, int]]
    original_hw: list[tuple[int, int]]


class Transform(nn.Module):
    """Normalizes, resizes and batches images and their targets.

    Args:
        min_size: Short side in px; in training, one of these at random, otherwise the last.
        max_size: Largest long side in px.
        mean: Subtracted from RGB values of 0 to 1.
        std: The difference is divided by this.
        multiple: The batch is padded to a multiple of this many px.
    """

    def __init__(
        self,
        min_size: Sequence[int],
        max_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        multiple: int = 32,
    ) -> None:
        super().__init__()
        self.min_size, self.max_size = tuple(min_size), max_size
        self.mean, self.std = tuple(mean), tuple(std)
        self.multiple = multiple

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        *,
        resize: bool = True,
    ) -> tuple[Images, list[Target] | None]:
        """Images (3, H, W) of 0 to 1 and their targets, as a batch."""
        original_hw = [(image.shape[1], image.shape[2]) for image in images]
        moved: list[Target] = []
        resized = []
        for i, image in enumerate(images):
            normalized = self._normalize(image)
            resized.append(self._resize(normalized) if resize else normalized)
            if targets is not None:
                new_hw = (resized[i].shape[1], resized[i].shape[2])
                moved.append(_resize_target(targets[i], original_hw[i], new_hw))
        sizes_hw = [(image.shape[1], image.shape[2]) for image in resized]
        height, width = (
            -(-max(side) // self.multiple) * self.multiple for side in zip(*sizes_hw, strict=True)
        )
        tensor = resized[0].new_zeros(len(resized), 3, height, width)
        for i, image in enumerate(resized):
            tensor[i, :, : image.shape[1], : image.shape[2]] = image
        batch = Images(tensor=tensor, sizes_hw=sizes_hw, original_hw=original_hw)
        return batch, None if targets is None else moved

    def undo(
        self, detections: list[Detection], images: Images, *, paste: bool = True
    ) -> list[Detection]:
        """Detections from px of the batch to px of the original images; masks are pasted."""
        for detection, size_hw, original_hw in zip(
            detections, images.sizes_hw, images.original_hw, strict=True
        ):
            detection["boxes"] = box_ops.resize(detection["boxes"], size_hw, original_hw)
            if "masks" in detection and paste:
                pasted = paste_masks(detection["masks"], detection["boxes"], original_hw)
                detection["masks"] = pasted
            if "keypoints" in detection:
                keypoints = detection["keypoints"]
                detection["keypoints"] = _resize_keypoints(keypoints, size_hw, original_hw)
        return detections

    def _normalize(self, image: Tensor) -> Tensor:
        mean, std = image.new_tensor(self.mean), image.new_tensor(self.std)
        return (image - mean[:, None, None]) / std[:, None, None]

    def _resize(self, image: Tensor) -> Tensor:
        size = self.min_size[-1]
        if self.training:
            size = self.min_size[int(torch.empty(1).uniform_(0, len(self.min_size)))]
        height, width = image.shape[1:]
        ratio = min(size / min(height, width), self.max_size / max(height, width))
        return nn.functional.interpolate(
            image[None], scale_factor=ratio, mode="bilinear", recompute_scale_factor=True
        )[0]


def _resize_target(target: Target, old_hw: tuple[int, int], new_hw: tuple[int, int]) -> Target:
    moved = dict(target)
    for name in ("boxes", "ignore_boxes"):
        if name in target:
            moved[name] = box_ops.resize(target[name], old_hw, new_hw)
    if "keypoints" in target:
        moved["keypoints"] = _resize_keypoints(target["keypoints"], old_hw, new_hw)
    if "masks" in target and len(target["masks"]):
        masks = target["masks"][:, None].float()
        moved["masks"] = nn.functional.interpolate(masks, size=new_hw)[:, 0].byte()
    return moved


def _resize_keypoints(
    keypoints: Tensor, old_hw: tuple[int, int], new_hw: tuple[int, int]
) -> Tensor:
    """Keypoints (N, K, 3) after resizing; the third number, the visibility, is not changed."""
    xy = keypoints[..., :2].flatten(0, 1)
    moved = box_ops.resize(torch.cat([xy, xy], dim=1), old_hw, new_hw)[:, :2]
    return torch.cat([moved.view_as(keypoints[..., :2]), keypoints[..., 2:]], dim=2)

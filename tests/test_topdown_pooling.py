"""Pooling of regions, suppression, pasting and peaks, against slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from openpaf.networks.rcnn import boxes as box_ops
from openpaf.networks.rcnn import roi_pooling
from openpaf.networks.rcnn.keypoint_head import find_keypoints, peak_probabilities
from openpaf.networks.rcnn.mask_head import crop_masks
from openpaf.networks.rcnn.matching import BACKGROUND, UNDECIDED, match, sample
from openpaf.networks.rcnn.nms import nms
from openpaf.networks.rcnn.paste import paste_masks
from openpaf.networks.rcnn.roi_pooling import find_regions, pool_regions, roi_align, roi_pool


def slow_bilinear(feature: np.ndarray, y: float, x: float) -> float:
    height, width = feature.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    v, u = y - y0, x - x0
    top = (1 - u) * feature[y0, x0] + u * feature[y0, x1]
    return float((1 - v) * top + v * ((1 - u) * feature[y1, x0] + u * feature[y1, x1]))


def slow_roi_align(feature: np.ndarray, box: list[float], size: int, n_samples: int) -> np.ndarray:
    x0, y0, x1, y1 = box
    step_x, step_y = max(x1 - x0, 1) / size, max(y1 - y0, 1) / size
    out = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            for i in range(n_samples):
                for j in range(n_samples):
                    y = y0 + (row + (i + 0.5) / n_samples) * step_y
                    x = x0 + (column + (j + 0.5) / n_samples) * step_x
                    out[row, column] += slow_bilinear(feature, y, x) / n_samples**2
    return out


def slow_roi_pool(feature: np.ndarray, box: list[float], size: int) -> np.ndarray:
    x0, y0, x1, y1 = (math.floor(value + 0.5) for value in box)
    height, width = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
    out = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            top, bottom = y0 + row * height // size, y0 + math.ceil((row + 1) * height / size)
            left, right = x0 + column * width // size, x0 + math.ceil((column + 1) * width / size)
            part = feature[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            out[row, column] = part.max() if part.size else 0
    return out


def some_boxes(n: int, seed: int = 0, size: float = 96.0) -> Tensor:
    """Boxes in px, some of which reach beyond the map or are smaller than a cell."""
    rng = np.random.default_rng(seed)
    middle, half = rng.uniform(0, size, (n, 2)), rng.uniform(0.5, size / 2, (n, 2))
    return torch.from_numpy(np.concatenate([middle - half, middle + half], 1).astype(np.float32))


@pytest.mark.parametrize("method", ["align", "warp", "pool"])
@pytest.mark.parametrize(("size", "n_samples"), [(2, 1), (3, 2)])
def test_pooling_equals_a_slow_reference(method: str, size: int, n_samples: int) -> None:
    features = torch.randn(2, 3, 12, 14)
    boxes = [some_boxes(4, 1), some_boxes(5, 2)]
    pooled = pool_regions([features], [8], boxes, size=size, method=method, n_samples=n_samples)
    assert pooled.shape == (9, 3, size, size)
    i = 0
    for image, rows in enumerate(boxes):
        for box in (rows / 8).tolist():
            for channel in range(3):
                feature = features[image, channel].numpy()
                if method == "pool":
                    wanted = slow_roi_pool(feature, box, size)
                else:
                    corners = [math.floor(v + 0.5) for v in box] if method == "warp" else box
                    wanted = slow_roi_align(feature, corners, size, n_samples)
                np.testing.assert_allclose(pooled[i, channel].numpy(), wanted, atol=2e-5)
            i += 1


def test_regions_take_the_level_of_their_size() -> None:
    strides = (4, 8, 16, 32)
    features = [torch.full((2, 1, 512 // s, 512 // s), float(s)) for s in strides]
    sides = [10.0, 111.9, 112.0, 223.0, 224.0, 447.0, 448.0, 512.0]
    boxes = torch.tensor([[0, 0, side, side] for side in sides])
    pooled = pool_regions(features, strides, [boxes, boxes[:1]], size=1)[:, 0, 0, 0]
    assert pooled.tolist() == [4, 4, 8, 8, 16, 16, 32, 32, 4]


def test_pooling_in_chunks_and_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, boxes = torch.randn(1, 2, 12, 12), some_boxes(7)
    whole = pool_regions([features], [8], [boxes], size=3, method="pool")
    monkeypatch.setattr(roi_pooling, "_CHUNK", 1)
    assert torch.equal(pool_regions([features], [8], [boxes], size=3, method="pool"), whole)
    for method in ("align", "warp", "pool"):
        none = pool_regions([features], [8], [boxes[:0]], size=3, method=method)
        assert none.shape == (0, 2, 3, 3)
    with pytest.raises(ValueError, match="method: expected one of align, pool, warp, got 'mean'"):
        pool_regions([features], [8], [boxes], size=3, method="mean")


def test_roi_align_and_pool_are_differentiable() -> None:
    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = [some_boxes(2, 3, 48).double(), some_boxes(1, 4, 48).double()]

    def align(x: Tensor) -> Tensor:
        return roi_align(find_regions([x], [8], boxes), 2, 2)

    def pool(x: Tensor) -> Tensor:
        return roi_pool(find_regions([x], [8], boxes), 2)

    assert torch.autograd.gradcheck(align, (features,))
    assert torch.autograd.gradcheck(pool, (features,))


def test_roi_align_follows_a_shift_that_roi_pool_rounds_away() -> None:
    # The feature at column c is c, so a pooled value says where a bin looks.
    features = torch.arange(32.0).expand(1, 1, 32, 32)
    shifts = torch.linspace(0, 1, 9)[:, None]  # in cells
    boxes = torch.tensor([[64.0, 64, 160, 160]]) + 8 * shifts * torch.tensor([1.0, 0, 1, 0])
    found = {
        method: pool_regions([features], [8], [boxes], size=4, method=method)[:, 0, 0, 0]
        for method in ("align", "warp", "pool")
    }
    error = {name: (v - v[0] - shifts[:, 0]).abs().max().item() for name, v in found.items()}
    assert error["align"] < 1e-5
    assert error["warp"] == pytest.approx(0.5)
    assert error["pool"] == pytest.approx(0.5)


# --- suppression


def slow_nms(boxes: Tensor, scores: Tensor, max_iou: float, groups: Tensor) -> list[int]:
    overlap = box_ops.iou(boxes, boxes)
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(groups[i] != groups[j] or overlap[j, i] <= max_iou for j in kept):
            kept.append(i)
    return kept


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), max_iou=st.sampled_from([0.1, 0.5, 0.7]))
def test_nms_is_the_greedy_rule(seed: int, n: int, max_iou: float) -> None:
    torch.manual_seed(seed)
    low = torch.rand(n, 2) * 30
    boxes = torch.cat([low, low + 5 + torch.rand(n, 2) * 20], dim=1)
    scores = (torch.rand(n) * 20).floor() / 20  # with ties
    groups = torch.randint(0, 3, (n,))
    assert nms(boxes, scores, max_iou, groups).tolist() == slow_nms(boxes, scores, max_iou, groups)


def test_nms_of_more_boxes_than_a_block() -> None:
    torch.manual_seed(0)
    low = torch.rand(1300, 2) * 200
    boxes = torch.cat([low, low + 5 + torch.rand(1300, 2) * 40], dim=1)
    scores, groups = torch.rand(1300), torch.zeros(1300, dtype=torch.int64)
    assert nms(boxes, scores, 0.5).tolist() == slow_nms(boxes, scores, 0.5, groups)


# --- boxes


def test_boxes_are_encoded_and_decoded() -> None:
    boxes, anchors = some_boxes(20, 1), some_boxes(20, 2)
    deltas = box_ops.encode(boxes, anchors, (10.0, 10.0, 5.0, 5.0))
    decoded = box_ops.decode(deltas, anchors, (10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(decoded, boxes, atol=1e-3, rtol=1e-4)
    assert torch.isfinite(box_ops.decode(torch.full((1, 4), 1e4), anchors[:1], (1.0,) * 4)).all()


def test_boxes_are_matched_with_objects() -> None:
    objects = torch.tensor([[0.0, 0, 10, 10], [40, 40, 44, 44]])
    boxes = torch.tensor(
        [[0.0, 0, 10, 11], [0, 0, 10, 20], [20, 20, 30, 30], [40, 40, 50, 50], [60, 60, 70, 70]]
    )
    ignore = torch.tensor([[58.0, 58, 80, 68]])
    thresholds = {"foreground_iou": 0.7, "background_iou": 0.3}
    assert match(objects, boxes, **thresholds).tolist() == [0, UNDECIDED, -1, -1, -1]
    rescued = match(objects, boxes, **thresholds, rescue=True, ignore=ignore)
    assert rescued.tolist() == [0, UNDECIDED, BACKGROUND, 1, UNDECIDED]
    assert match(objects[:0], boxes, **thresholds).tolist() == [BACKGROUND] * 5


def test_a_sample_has_at_most_its_share_of_objects() -> None:
    matched = torch.tensor([3] * 10 + [BACKGROUND] * 50 + [UNDECIDED] * 5)
    positive, negative = sample(matched, 16, 0.25)
    assert (len(positive), len(negative)) == (4, 12)
    assert (matched[positive] == 3).all()
    assert (matched[negative] == BACKGROUND).all()
    positive, negative = sample(matched[9:12], 16, 0.25)  # too few of both
    assert (len(positive), len(negative)) == (1, 2)


# --- masks and joints


def test_masks_are_pasted_like_resized_images() -> None:
    boxes = torch.tensor([[3.2, 5.1, 20.7, 30.2], [-6, -4, 9, 12], [30, 20, 60, 60], [5, 5, 5, 5]])
    masks = torch.rand(4, 1, 6, 6)
    pasted = paste_masks(masks, boxes, (32, 40))
    assert pasted.shape == (4, 1, 32, 40)
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        x, y = (x1 - x0) / 12, (y1 - y0) / 12  # half a cell of padding on each side
        left, top, right, bottom = (
            int(v) for v in (x0 - 2 * x, y0 - 2 * y, x1 + 2 * x, y1 + 2 * y)
        )
        padded = F.pad(masks[i, 0], (1, 1, 1, 1))
        size = (bottom - top + 1, right - left + 1)
        resized = F.interpolate(padded[None, None], size=size, mode="bilinear")[0, 0]
        wanted = torch.zeros(32 + 200, 40 + 200)
        wanted[top + 100 : bottom + 101, left + 100 : right + 101] = resized
        torch.testing.assert_close(pasted[i, 0], wanted[100:132, 100:140], atol=1e-5, rtol=0)


def test_mask_targets_are_the_masks_inside_the_boxes() -> None:
    masks = torch.zeros(2, 40, 50)
    masks[0, 10:30, 20:40] = 1
    masks[1, :, 25:] = 1
    boxes = torch.tensor([[10.0, 0, 50, 40], [0, 0, 50, 40]])
    cropped = crop_masks(masks, boxes, 4)
    assert cropped.shape == (2, 4, 4)
    assert cropped[0, 1:3, 1:3].min() > 0.9
    assert cropped[0, 0].max() < 0.2
    for i in range(2):  # with many samples a bin, RoIAlign is the share of each bin
        exact = slow_roi_align(masks[i].numpy(), boxes[i].tolist(), 4, 10)
        np.testing.assert_allclose(cropped[i].numpy(), exact, atol=0.06)


def test_joints_are_the_peaks_of_enlarged_maps() -> None:
    torch.manual_seed(1)
    logits = torch.randn(5, 3, 8, 8)
    boxes = torch.tensor(
        [[0.0, 0, 20, 31], [2.5, 3.5, 40.1, 9.2], [1, 1, 1.2, 1.3], [5, 5, 13, 13], [0, 0, 64, 64]]
    )
    keypoints, scores = find_keypoints(logits, boxes)
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        width, height = max(x1 - x0, 1), max(y1 - y0, 1)
        size = (math.ceil(round(height, 4)), math.ceil(round(width, 4)))
        maps = F.interpolate(logits[i][None], size=size, mode="bicubic")[0].flatten(1)
        score, index = maps.max(dim=1)
        x = x0 + (index % size[1] + 0.5) * width / size[1]
        y = y0 + (index // size[1] + 0.5) * height / size[0]
        torch.testing.assert_close(keypoints[i, :, 0], x, atol=1e-4, rtol=0)
        torch.testing.assert_close(keypoints[i, :, 1], y, atol=1e-4, rtol=0)
        torch.testing.assert_close(scores[i], score, atol=1e-4, rtol=0)
    assert (keypoints[..., 2] == 1).all()
    assert find_keypoints(logits[:0], boxes[:0])[0].shape == (0, 3, 3)


def test_joints_are_found_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, boxes = torch.randn(6, 2, 8, 8), some_boxes(6)
    whole = find_keypoints(logits, boxes)
    monkeypatch.setattr("openpaf.networks.rcnn.keypoint_head._CHUNK", 1)
    assert torch.equal(find_keypoints(logits, boxes)[0], whole[0])


def test_a_sharp_map_is_a_sure_joint() -> None:
    flat, sharp = torch.zeros(8, 8), torch.zeros(8, 8)
    sharp[3, 4] = 50
    probabilities = peak_probabilities(torch.stack([flat, sharp])[None])
    assert probabilities[0].tolist() == pytest.approx([9 / 64, 1])

"""Channel orders of published networks, and fields made from batches of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openpaf import Fields, Grid, Poses, Skeleton, decode, encode_fields
from openpaf.channels import CHANNEL_ORDERS, ChannelOrder
from openpaf.decoding import decode_batch

GRIDS = {"heatmap_grid": Grid(8), "paf_grid": Grid(8)}


def fields_of_somebody(skeleton: Skeleton) -> Fields:
    rng = np.random.default_rng(3)
    keypoints = np.concatenate(
        [rng.uniform(20, 140, (2, skeleton.n_joints, 2)), np.ones((2, skeleton.n_joints, 1))],
        axis=2,
    )
    return encode_fields(Poses.from_keypoints(keypoints, skeleton), (160, 168))


def as_published(fields: Fields, order: ChannelOrder) -> tuple[np.ndarray, np.ndarray]:
    """The arrays as the network of this order would give them, batch axis first."""
    heatmaps = np.empty_like(fields.heatmaps)
    heatmaps[list(order.heatmaps)] = fields.heatmaps
    pafs = np.empty((2 * fields.skeleton.n_limbs, *fields.size_cells), np.float32)
    for limb, (x, y) in enumerate(order.pafs):
        pafs[x], pafs[y] = fields.pafs[limb]
    return heatmaps[None], pafs[None]


@pytest.mark.parametrize("name", sorted(CHANNEL_ORDERS))
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["numpy", "torch", "strided"])
def test_fields_come_back_in_the_skeletons_order(name: str, dtype: str, kind: str) -> None:
    order = CHANNEL_ORDERS[name]
    truth = fields_of_somebody(order.skeleton)
    heatmaps, pafs = (array.astype(dtype) for array in as_published(truth, order))
    if kind == "torch":
        heatmaps, pafs = torch.from_numpy(heatmaps), torch.from_numpy(pafs)
    elif kind == "strided":
        heatmaps, pafs = (
            np.asfortranarray(array)[..., ::-1][..., ::-1] for array in (heatmaps, pafs)
        )
    (fields,) = Fields.from_batch(heatmaps, pafs, channels=name, **GRIDS)
    assert fields.skeleton == order.skeleton
    np.testing.assert_allclose(fields.heatmaps, truth.heatmaps, atol=1e-3)
    np.testing.assert_allclose(fields.pafs, truth.pafs, atol=1e-3)


def test_a_batch_is_parsed_as_its_images_are() -> None:
    truth = fields_of_somebody(Skeleton.COCO17)
    heatmaps = np.stack([truth.heatmaps, truth.heatmaps[:, ::-1]])
    pafs = np.stack([truth.pafs, truth.pafs[..., ::-1, :] * [[[1]], [[-1]]]])
    batch = Fields.from_batch(heatmaps, pafs, skeleton=Skeleton.COCO17, **GRIDS)
    assert decode_batch(batch) == [decode(fields) for fields in batch]
    assert len(batch) == 2


def test_bad_batches_are_named() -> None:
    heatmaps, pafs = as_published(fields_of_somebody(Skeleton.COCO18), CHANNEL_ORDERS["cmu_coco18"])
    with pytest.raises(ValueError, match=r"channels: expected one of .*cmu_coco18.* got 'cmu'"):
        Fields.from_batch(heatmaps, pafs, channels="cmu", **GRIDS)
    with pytest.raises(ValueError, match=r"heatmaps: expected 26 channels of 'cmu_body25'"):
        Fields.from_batch(heatmaps, pafs, channels="cmu_body25", **GRIDS)
    with pytest.raises(ValueError, match="skeleton, channels: expected one of them"):
        Fields.from_batch(heatmaps, pafs, **GRIDS)
    with pytest.raises(ValueError, match="pafs: expected a batch of 2, got 1"):
        Fields.from_batch(np.repeat(heatmaps, 2, axis=0), pafs, skeleton=Skeleton.COCO18, **GRIDS)
    with pytest.raises(ValueError, match=r"pafs: expected the 28 channels .* of 'mpi15'"):
        ChannelOrder(
            name="twice",
            skeleton=Skeleton.MPI15,
            heatmaps=tuple(range(16)),
            pafs=tuple((0, 1) for _ in range(14)),
        )

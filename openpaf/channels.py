"""Channel orders of published networks: one table from their channels to joints and limbs.

A skeleton defines the order of joints and limbs. Which channel of a network's output belongs to
which of them is a property of its checkpoint, and is defined here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openpaf.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class ChannelOrder:
    """Which channel of a network's output belongs to which joint and limb.

    Args:
        name: For error messages.
        skeleton: The joints and limbs.
        heatmaps: K+1 channels of the heatmap array: of each joint, and of the background.
        pafs: L pairs of channels of the PAF array: x and y of each limb, in the skeleton's order.

    Raises:
        ValueError: If the number of channels is not that of the skeleton, or one appears twice.
    """

    name: str
    skeleton: Skeleton
    heatmaps: tuple[int, ...]
    pafs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        flat = tuple(channel for pair in self.pafs for channel in pair)
        for field, channels, expected in (
            ("heatmaps", self.heatmaps, self.skeleton.n_joints + 1),
            ("pafs", flat, 2 * self.skeleton.n_limbs),
        ):
            if sorted(channels) != list(range(expected)):
                raise ValueError(
                    f"{field}: expected the {expected} channels 0 to {expected - 1} of "
                    f"{self.skeleton.name!r}, each once, got {channels}"
                )

    def apply(self, heatmaps: Any, pafs: Any) -> tuple[Any, Any]:
        """A network's arrays in the order of the skeleton.

        Args:
            heatmaps: (K+1, h, w) or (B, K+1, h, w), NumPy or torch.
            pafs: (2L, h, w) or (B, 2L, h, w), NumPy or torch.

        Returns:
            Copies of both, channels in the order of the skeleton's joints and limbs.

        Raises:
            ValueError: If the number of channels is not that of the skeleton.
        """
        order = [channel for pair in self.pafs for channel in pair]
        out = []
        for field, array, channels in (
            ("heatmaps", heatmaps, list(self.heatmaps)),
            ("pafs", pafs, order),
        ):
            if array.ndim < 3 or array.shape[-3] != len(channels):
                raise ValueError(
                    f"{field}: expected {len(channels)} channels of {self.name!r} before height "
                    f"and width, got shape {tuple(array.shape)}"
                )
            out.append(array[..., channels, :, :])
        return out[0], out[1]


def _pairs(*channels: int) -> tuple[tuple[int, int], ...]:
    """Pairs of a limb's x and y: y follows x in every published network."""
    return tuple((channel, channel + 1) for channel in channels)


def _in_order(skeleton: Skeleton) -> ChannelOrder:
    return ChannelOrder(
        name=skeleton.name,
        skeleton=skeleton,
        heatmaps=tuple(range(skeleton.n_joints + 1)),
        pafs=_pairs(*range(0, 2 * skeleton.n_limbs, 2)),
    )


#: By name. ``"cmu_coco18"``: CMU's COCO network of 2017, and networks with its channels, such as
#: the Open Model Zoo's human-pose-estimation-0001 and lightweight-openpose. ``"cmu_body25"``: CMU's
#: network of 2019. ``"mpi15"``: CMU's MPI network, whose channels are in order. ``"coco17"``: the
#: networks of this package.
CHANNEL_ORDERS: dict[str, ChannelOrder] = {
    "coco17": _in_order(Skeleton.COCO17),
    "mpi15": _in_order(Skeleton.MPI15),
    "cmu_coco18": ChannelOrder(
        name="cmu_coco18",
        skeleton=Skeleton.COCO18,
        heatmaps=tuple(range(19)),
        pafs=_pairs(12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26),
    ),
    "cmu_body25": ChannelOrder(
        name="cmu_body25",
        skeleton=Skeleton.BODY25,
        heatmaps=tuple(range(26)),
        pafs=_pairs(
            0, 14, 22, 16, 18, 24, 26, 6, 2, 4, 8, 10, 12, 30, 32, 36, 34, 38, 20, 28,
            40, 42, 44, 46, 48, 50,
        ),
    ),
}  # fmt: skip

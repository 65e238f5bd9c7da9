"""Networks that compute heatmaps and part affinity fields, or detect people, by name.

Example:
    >>> import openpaf
    >>> network = openpaf.networks.build("lightweight", openpaf.Skeleton.COCO17)
    >>> figures = openpaf.networks.describe(network, size_hw=(368, 656))
    >>> figures.parameters, figures.stride
    (4112148, 8)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from openpaf.networks import rcnn
from openpaf.networks.body25 import Body25Network
from openpaf.networks.description import Description, describe
from openpaf.networks.higher_hrnet import HigherHRNet
from openpaf.networks.hourglass import HourglassCenterNet
from openpaf.networks.lightweight import LightweightNetwork
from openpaf.networks.lightweight_arrays import LightweightTags
from openpaf.networks.lightweight_batch_norm import LightweightBatchNormNetwork
from openpaf.networks.lightweight_groupings import (
    LightweightCenterNet,
    LightweightOffsets,
    LightweightPersonLab,
)
from openpaf.networks.lightweight_published import LightweightPublishedNetwork
from openpaf.networks.lite_hrnet import LiteHRNet
from openpaf.networks.mobilenet_v2 import MobileNetV2Network
from openpaf.networks.open_model_zoo import OpenModelZooNetwork
from openpaf.networks.picodet import PicoDet
from openpaf.networks.posenet_mobilenet import PoseNetMobileNet
from openpaf.networks.rtmdet import RTMDet
from openpaf.networks.two_branch import TwoBranchNetwork
from openpaf.skeleton import Skeleton

__all__ = [
    "BUILDERS",
    "Body25Network",
    "Description",
    "HigherHRNet",
    "HourglassCenterNet",
    "LightweightBatchNormNetwork",
    "LightweightCenterNet",
    "LightweightNetwork",
    "LightweightOffsets",
    "LightweightPersonLab",
    "LightweightPublishedNetwork",
    "LightweightTags",
    "LiteHRNet",
    "MobileNetV2Network",
    "OpenModelZooNetwork",
    "PicoDet",
    "PoseNetMobileNet",
    "RTMDet",
    "TwoBranchNetwork",
    "build",
    "describe",
]

#: Each network by name: its class, and the skeleton that it was published or is trained for. A new
#: family is a file in this folder and one row here.
BUILDERS: dict[str, tuple[Callable[..., nn.Module], Skeleton]] = {
    "lightweight": (LightweightNetwork, Skeleton.COCO17),
    "lightweight_coco": (LightweightPublishedNetwork, Skeleton.COCO18),
    "lightweight_batch_norm": (LightweightBatchNormNetwork, Skeleton.COCO17),
    "mobilenet_v2": (MobileNetV2Network, Skeleton.COCO17),
    "cmu_coco": (TwoBranchNetwork, Skeleton.COCO18),
    "cmu_mpi": (TwoBranchNetwork, Skeleton.MPI15),
    "body25": (Body25Network, Skeleton.BODY25),
    "open_model_zoo": (OpenModelZooNetwork, Skeleton.COCO18),
    "lite_hrnet": (LiteHRNet, Skeleton.COCO17),
    "picodet": (PicoDet, Skeleton.COCO17),
    "rtmdet": (RTMDet, Skeleton.COCO17),
    "higher_hrnet": (HigherHRNet, Skeleton.COCO17),
    "lightweight_tags": (LightweightTags, Skeleton.COCO17),
    "lightweight_center_net": (LightweightCenterNet, Skeleton.COCO17),
    "lightweight_person_lab": (LightweightPersonLab, Skeleton.COCO17),
    "lightweight_offsets": (LightweightOffsets, Skeleton.COCO17),
    "posenet_mobilenet": (PoseNetMobileNet, Skeleton.COCO17),
    "hourglass_center_net": (HourglassCenterNet, Skeleton.COCO17),
    **{name: (builder, Skeleton.COCO17) for name, builder in rcnn.BUILDERS.items()},
}


def build(name: str, skeleton: Skeleton | None = None, **options: Any) -> nn.Module:
    """Build a network by name, with random weights.

    Args:
        name: ``"lightweight"``, that of the shipped models; ``"lightweight_coco"``, as published
            by Osokin; ``"lightweight_batch_norm"``; ``"mobilenet_v2"``, the same stages on another
            trunk; ``"cmu_coco"`` and ``"cmu_mpi"``, CMU's two-branch network of 2017;
            ``"body25"``, CMU's of 2019; ``"open_model_zoo"``, Intel's
            human-pose-estimation-0001; ``"lite_hrnet"``, TinyPose, for one person;
            ``"picodet"`` and ``"rtmdet"``, detectors of people; ``"higher_hrnet"`` and
            ``"lightweight_tags"``, which group joints by tags; ``"hourglass_center_net"`` and
            ``"lightweight_center_net"`` by centers; ``"posenet_mobilenet"`` and
            ``"lightweight_person_lab"`` by offsets; ``"lightweight_offsets"``, for one person; or a
            detector of
            :data:`openpaf.networks.rcnn.BUILDERS`, e.g. ``"keypointrcnn_resnet50_fpn"``.
        skeleton: Its joints and limbs define the channels of the heads. Where not given, that of
            :data:`BUILDERS`.
        **options: Options of the network, e.g. ``n_refinement_stages`` or ``n_stages``.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: If there is no such network, or an option is out of range; the message lists
            the names.
    """
    if name not in BUILDERS:
        raise ValueError(f"network: expected one of {', '.join(BUILDERS)}, got {name!r}")
    builder, own_skeleton = BUILDERS[name]
    return builder(skeleton or own_skeleton, **options)

"""The table of published checkpoints: where each is, how it is checked, and how it is run.

Facts only, no file of theirs: links and hashes as their publishers and those who mirror them give
them. Links of this field die for years, so a row has several, and any file at hand will do in
their place: ``openpaf predict --model NAME --weights PATH``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class Published:
    """A checkpoint that others published.

    Args:
        name: As ``--model`` takes it.
        suffix: Of the file, e.g. ``".pth"``.
        urls: The publisher's link first, then mirrors; none where the file must be made.
        sha256: All 64 digits; the first ones where the publisher gives no more, None where he
            gives none. `openpaf weights list` says which it is.
        md5: Where the publisher gave this one.
        size: In bytes; None where not known. A download of another size is refused.
        licence: In plain words.
        restricted: Whether one must agree to the licence before the file is fetched.
        builder: Name of the network for :func:`openpaf.networks.build`.
        options: Arguments of the builder, the skeleton apart.
        skeleton: Its joints and limbs; None where it finds no joints.
        channel_order: Name of one of :data:`openpaf.channels.CHANNEL_ORDERS`; None if top-down.
        heatmap_grid: Where the cells of the heatmaps lie; None if top-down.
        paf_grid: Where the cells of the PAFs, or of tags, lie; None if top-down.
        bgr: Whether the network takes BGR instead of RGB.
        mean: Subtracted from values of 0 to 255, for all channels or for each.
        scale: The difference is divided by this, for all channels or for each.
        sigma_px: As of :class:`openpaf.weights.ModelSpec`, where a method needs it.
        metrics: Published figures (``AP`` is that of COCO keypoints, 0 to 1), and the
            ``protocol`` that they were measured by.
    """

    name: str
    suffix: str
    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    licence: str
    restricted: bool = False
    builder: str
    options: dict[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None
    channel_order: str | None = None
    heatmap_grid: Grid | None = None
    paf_grid: Grid | None = None
    bgr: bool = False
    mean: float | tuple[float, float, float]
    scale: float | tuple[float, float, float]
    sigma_px: float | None = None
    metrics: dict[str, Any]

    @property
    def file(self) -> str:
        """Name of the file in the cache."""
        return self.name + self.suffix

    @property
    def top_down(self) -> bool:
        """Whether it looks for people first and for joints in each; it has no heatmaps."""
        return self.heatmap_grid is None


_CMU_LICENCE = (
    "CMU's OpenPose licence: academic or non-profit organisations, non-commercial research only; "
    "https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/LICENSE"
)
_TORCHVISION_LICENCE = "torchvision, BSD-3-Clause (its code; of the weights it says nothing else)"

# Where the makers of the targets put the cells: the trainers of both of CMU's networks and of the
# lightweight one take heatmaps at the middle of a cell's pixels, but limbs at coordinates divided
# by the stride, as if cell i were at pixel 8 i.
_CELL_MIDDLE, _CELL_CORNER = Grid(8), Grid(8, 0.0)

_OFFICIAL = "http://vcl.snu.ac.kr/OpenPose/models/pose"
_OFFICIAL_OLD = "http://posefs1.perception.cs.cmu.edu/OpenPose/models/pose"
_MIRROR = "https://huggingface.co/camenduru/openpose/resolve/main/models/pose"
_TORCHVISION = "https://download.pytorch.org/models"


def _openpose_urls(file: str, *more: str) -> tuple[str, ...]:
    return (f"{_OFFICIAL}/{file}", f"{_MIRROR}/{file}", *more, f"{_OFFICIAL_OLD}/{file}")


def _cmu(**fields: Any) -> Published:
    """What all of CMU's networks share: their licence, grids, and an input of x / 256 - 0.5."""
    return Published(
        licence=_CMU_LICENCE,
        restricted=True,
        heatmap_grid=_CELL_MIDDLE,
        paf_grid=_CELL_CORNER,
        bgr=True,
        mean=128.0,
        scale=256.0,
        **fields,
    )


def _torchvision(**fields: Any) -> Published:
    return Published(
        suffix=".pth",
        licence=_TORCHVISION_LICENCE,
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        scale=(0.229 * 255, 0.224 * 255, 0.225 * 255),
        **fields,
    )


_CMU_COCO_METRICS = {
    "AP": 0.496,
    "protocol": "COCO val2017, single scale, by tf-pose-estimation (val2014: 0.507)",
}
_ROWS = (
    Published(
        name="lightweight-coco18",
        suffix=".pth",
        urls=(
            "https://download.01.org/opencv/openvino_training_extensions/models/"
            "human_pose_estimation/checkpoint_iter_370000.pth",
        ),
        licence="Apache-2.0 (that of its repository)",
        builder="lightweight_coco",
        skeleton=Skeleton.COCO18,
        channel_order="cmu_coco18",
        heatmap_grid=_CELL_MIDDLE,
        paf_grid=_CELL_CORNER,
        bgr=True,
        mean=128.0,
        scale=256.0,
        metrics={"AP": 0.40, "protocol": "COCO val2017, single scale, no flip, by its README"},
    ),
    Published(
        name="human-pose-estimation-0001",
        suffix=".npz",
        urls=(),  # only as OpenVINO's .xml and .bin; the arrays must be taken out of those
        licence="Apache-2.0 (Open Model Zoo, Intel)",
        builder="open_model_zoo",
        skeleton=Skeleton.COCO18,
        channel_order="cmu_coco18",
        heatmap_grid=_CELL_MIDDLE,
        paf_grid=_CELL_CORNER,
        bgr=True,
        mean=128.0,
        scale=255.0,
        metrics={
            "AP": 0.428,
            "protocol": "the 2017 paper's subset of COCO val2014, by the Open Model Zoo",
        },
    ),
    _cmu(
        name="cmu-coco",
        suffix=".caffemodel",
        urls=_openpose_urls(
            "coco/pose_iter_440000.caffemodel",
            "https://github.com/foss-for-synopsys-dwc-arc-processors/synopsys-caffe-models/raw/"
            "master/caffe_models/openpose/caffe_model/pose_iter_440000.caffemodel",
        ),
        sha256="b4cf475576abd7b15d5316f1ee65eb492b5c9f5865e70a2e7882ed31fb682549",
        md5="5156d31f670511fce9b4e28b403f2939",
        builder="cmu_coco",
        skeleton=Skeleton.COCO18,
        channel_order="cmu_coco18",
        metrics=_CMU_COCO_METRICS,
    ),
    _cmu(
        name="cmu-coco-pytorch",
        suffix=".pth",
        urls=(
            "https://huggingface.co/lllyasviel/Annotators/resolve/main/body_pose_model.pth",
            "https://huggingface.co/lllyasviel/ControlNet/resolve/main/annotator/ckpts/"
            "body_pose_model.pth",
        ),
        sha256="25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746",
        size=209_267_595,
        builder="cmu_coco",
        skeleton=Skeleton.COCO18,
        channel_order="cmu_coco18",
        metrics=_CMU_COCO_METRICS,
    ),
    _cmu(
        name="cmu-mpi",
        suffix=".caffemodel",
        urls=_openpose_urls("mpi/pose_iter_160000.caffemodel"),
        md5="2ca0990c7562bd7ae03f3f54afa96e00",
        builder="cmu_mpi",
        skeleton=Skeleton.MPI15,
        channel_order="mpi15",
        metrics={"AP": None, "protocol": "none published for this file"},
    ),
    _cmu(
        name="cmu-body25",
        suffix=".caffemodel",
        urls=_openpose_urls("body_25/pose_iter_584000.caffemodel"),
        sha256="44e3d7ebd8c8b62d4366d67127f1b562611a9e8fd0f4f3cdeeb4bb4a6ed12be6",
        md5="78287b57cf85fa89c03f1393d368e5b7",
        size=104_715_850,
        builder="body25",
        skeleton=Skeleton.BODY25,
        channel_order="cmu_body25",
        metrics={
            "AP": 0.651,
            "protocol": "COCO val2017, body and foot network of the 2019 paper, by that paper",
        },
    ),
    _torchvision(
        name="keypointrcnn-coco17",
        urls=(f"{_TORCHVISION}/keypointrcnn_resnet50_fpn_coco-fc266e95.pth",),
        sha256="fc266e953d2b302cdcbb9ae66f71f6b0d4649928bf02dc573961e361e4918926",
        size=237_034_793,
        builder="keypointrcnn_resnet50_fpn",
        skeleton=Skeleton.COCO17,
        metrics={"AP": 0.650, "box_AP": 0.546, "protocol": "COCO val2017, by torchvision"},
    ),
    _torchvision(
        name="keypointrcnn-coco17-legacy",
        urls=(f"{_TORCHVISION}/keypointrcnn_resnet50_fpn_coco-9f466800.pth",),
        sha256="9f466800",
        builder="keypointrcnn_resnet50_fpn",
        skeleton=Skeleton.COCO17,
        metrics={"AP": 0.611, "box_AP": 0.506, "protocol": "COCO val2017, by torchvision"},
    ),
    _torchvision(
        name="maskrcnn-coco",
        urls=(f"{_TORCHVISION}/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",),
        sha256="bf2d0c1e",
        size=178_090_079,
        builder="maskrcnn_resnet50_fpn",
        skeleton=None,
        metrics={
            "AP": None,
            "box_AP": 0.379,
            "mask_AP": 0.346,
            "protocol": "COCO val2017, by torchvision; it finds no joints",
        },
    ),
    Published(
        name="higher-hrnet-w32",
        suffix=".pth",
        urls=(
            "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/"
            "higher-hrnet-w32-human-pose-estimation/ckpt/pose_higher_hrnet_w32_512.pth",
        ),
        # No sha256 is published; the Open Model Zoo, whose copy this is, has a sha384 of it.
        size=115_172_215,
        licence="MIT (that of its repository)",
        builder="higher_hrnet",
        skeleton=Skeleton.COCO17,
        # Its trainers round joints down to cells, so that a cell stands for the px that follow it.
        heatmap_grid=Grid(2, 1.0),
        paf_grid=Grid(4, 2.0),
        mean=0.0,
        scale=255.0,
        metrics={
            "AP": 0.671,
            "protocol": "COCO val2017, 512 px, single scale, with flip, by its README "
            "(without flip 0.646, by the Open Model Zoo)",
        },
    ),
    Published(
        name="centernet-hourglass",
        suffix=".pth",
        # A page from which a browser gets the file; a program gets the page.
        urls=("https://drive.google.com/file/d/17-YS11iguOQKwPPHUg8LzakLzrgKSLfA",),
        licence="MIT (that of its repository, xingyizhou/CenterNet)",
        builder="hourglass_center_net",
        skeleton=Skeleton.COCO17,
        heatmap_grid=Grid(4, 0.0),
        paf_grid=Grid(4, 0.0),
        bgr=True,
        mean=0.0,
        scale=255.0,  # the network knows mean and deviation of each channel
        metrics={
            "AP": 0.640,
            "protocol": "COCO val2017, 512 px, with flip, multi_pose_hg_3x by its repository",
        },
    ),
    Published(
        name="posenet-mobilenet-075",
        suffix=".tflite",
        urls=(
            "https://github.com/google-coral/project-posenet/raw/master/models/mobilenet/"
            "components/posenet_mobilenet_v1_075_481_641_quant.tflite",
        ),
        sha256="d7ac211a927e114a9266e424c3cb5b6ce0db462ee2d5311471c437cca2b262a6",
        size=1_298_664,
        licence="Apache-2.0 (that of its repository, google-coral/project-posenet)",
        builder="posenet_mobilenet",
        skeleton=Skeleton.COCO17,
        heatmap_grid=Grid(16, 0.0),
        paf_grid=Grid(16, 0.0),
        mean=128.0,
        scale=128.0,
        sigma_px=16.0,  # disks of 32 px, as in the paper
        metrics={"AP": None, "protocol": "none published for this file"},
    ),
)

#: By name.
PUBLISHED: dict[str, Published] = {row.name: row for row in _ROWS}


def find_published(name: str) -> Published:
    """A row by name.

    Raises:
        WeightsError: If there is none; the message lists those there are.
    """
    if name not in PUBLISHED:
        raise WeightsError(
            f"{name!r}: no published checkpoint of this name ({', '.join(PUBLISHED)})"
        )
    return PUBLISHED[name]

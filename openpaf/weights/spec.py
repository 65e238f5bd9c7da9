"""What a model is: all that must be known to run it, and where its numbers are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError, printable
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.weights.header import read_note

#: The arrays that a network of each method gives, by name, in their order.
OUTPUTS = {
    "part_affinity": ("heatmaps", "pafs"),
    "mask_rcnn": ("boxes", "labels", "scores", "keypoints"),
    "objects": ("boxes", "labels", "scores", "masks"),
    "top_down": ("boxes", "scores", "heatmaps"),
    "person_detector": ("boxes", "scores"),
    "single_person": ("heatmaps",),
    "associative_embedding": ("heatmaps", "tags"),
    "center_net": ("centers", "sizes", "center_offsets", "joints", "heatmaps", "joint_offsets"),
    "person_lab": ("heatmaps", "offsets", "forward", "backward"),
}
#: The methods of networks that are no model alone, but a part of a top-down one, in words.
PARTS = {"person_detector": "a detector of people", "single_person": "a network of one person"}
_METHODS = {
    "picodet": "person_detector",
    "rtmdet": "person_detector",
    "lite_hrnet": "single_person",
    "top_down": "top_down",
    "higher_hrnet": "associative_embedding",
    "lightweight_tags": "associative_embedding",
    "lightweight_center_net": "center_net",
    "lightweight_person_lab": "person_lab",
    "lightweight_offsets": "single_person",
    "posenet_mobilenet": "person_lab",
    "hourglass_center_net": "center_net",
}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that must be known of a model to run it.

    Args:
        name: As ``PoseEstimator(model=...)`` takes it.
        builder: Name of the network for :func:`openpaf.networks.build`.
        options: Arguments of the builder, the skeleton apart.
        skeleton: Its joints and limbs; also the order of its channels, unless ``channel_order``
            says otherwise.
        result: The joints of the people that are found with it, taken from the skeleton's by
            name; all of them if None.
        bgr: Whether the network takes BGR; its engine takes RGB all the same.
        channel_order: Name of the one of :data:`openpaf.channels.CHANNEL_ORDERS` in which the
            network gives its channels, for this very skeleton; its engine gives them in the
            skeleton's order.
        heatmap_grid: Where the cells of the heatmaps lie.
        paf_grid: Where the cells of the PAFs lie, or of another method's second array.
        mean: Subtracted from values of 0 to 255.
        scale: The difference is divided by this.
        licence: In plain words.
        metrics: Figures of its card, e.g. AP.
        method: Name of the way from the network's arrays to people, one of
            :data:`openpaf.estimator.methods.METHODS`; by the builder if empty.
        outputs: Names of the network's arrays, in their order; those of the method if empty.
        size_hw: Height and width in px of the input that the network was trained for; None if it
            takes any.
        sigma_px: Standard deviation of the Gaussians that its heatmaps were trained on, in px;
            None where that is not known. With the next, what further training is to ask of it.
        paf_half_width_px: How far the PAFs that it was trained on reach to either side of a limb,
            in px; None where that is not known.
        classes: Of a detector of objects, the names of its labels 1, 2 ...; empty where they have
            none.
    """

    name: str
    builder: str
    options: dict[str, Any]
    skeleton: Skeleton
    heatmap_grid: Grid
    paf_grid: Grid
    mean: float
    scale: float
    licence: str
    metrics: dict[str, Any]
    result: Skeleton | None = None
    bgr: bool = False
    channel_order: str | None = None
    method: str = ""
    outputs: tuple[str, ...] = ()
    size_hw: tuple[int, int] | None = None
    sigma_px: float | None = None
    paf_half_width_px: float | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.method:
            object.__setattr__(self, "method", method_of(self.builder, self.options))
        if not self.outputs:
            object.__setattr__(self, "outputs", OUTPUTS.get(self.method, ()))
        if self.channel_order is None:
            return
        order = CHANNEL_ORDERS.get(self.channel_order)
        if order is None or order.skeleton != self.skeleton:
            raise ValueError(
                f"channel_order: expected one for {self.skeleton.name!r} among "
                f"{', '.join(CHANNEL_ORDERS)}, got {self.channel_order!r}"
            )

    def to_metadata(self) -> dict[str, str]:
        """As strings, for the header of a safetensors file."""
        note: dict[str, Any] = {
            "name": self.name,
            "builder": self.builder,
            "options": self.options,
            "skeleton": self.skeleton.to_dict(),
            "result": self.result.to_dict() if self.result else None,
            "heatmap_grid": [self.heatmap_grid.stride, self.heatmap_grid.offset],
            "paf_grid": [self.paf_grid.stride, self.paf_grid.offset],
            "mean": self.mean,
            "scale": self.scale,
            "bgr": self.bgr,
            "channel_order": self.channel_order,
            "licence": self.licence,
            "metrics": self.metrics,
        }
        # Only where they do not follow from the rest, so that headers stay as they are.
        if self.method != method_of(self.builder, self.options):
            note["method"] = self.method
        if self.outputs != OUTPUTS.get(self.method, ()):
            note["outputs"] = list(self.outputs)
        if self.size_hw is not None:
            note["size_hw"] = list(self.size_hw)
        for key in ("sigma_px", "paf_half_width_px"):
            if getattr(self, key) is not None:
                note[key] = getattr(self, key)
        if self.classes:
            note["classes"] = list(self.classes)
        return {"openpaf": json.dumps(note)}

    def converted(self) -> ModelSpec:
        """How a converted model is run: what its checkpoint asks for is inside of it."""
        return dataclasses.replace(self, mean=0.0, scale=1.0, bgr=False, channel_order=None)

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, path: Path) -> ModelSpec:
        """Read back what :meth:`to_metadata` wrote.

        Raises:
            WeightsError: If the file does not say how it is run.
        """
        text = (metadata or {}).get("openpaf")
        if text is None:
            raise WeightsError(f"{path}: no description of an openpaf model in it")
        try:
            return cls(**read_note(text))
        except ValueError as error:
            raise WeightsError(
                f"{path}: its description of the model cannot be used: {printable(error, 400)}"
            ) from error


def method_of(builder: str, options: Mapping[str, Any]) -> str:
    """The method of a network whose description names none."""
    if "rcnn_" in builder:
        has_joints = builder.startswith("keypointrcnn") or options.get("num_keypoints")
        return "mask_rcnn" if has_joints else "objects"
    return _METHODS.get(builder, "part_affinity")


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model and where its numbers are: what a name or a path stands for.

    Args:
        spec: How it is run.
        file: Of its weights, or the exported model.
        kind: ``"weights"``; ``"pair"``, a file that names the networks of a top-down model; or
            the engine of an exported file: ``"onnx"``, ``"openvino"``, ``"litert"`` or
            ``"coreml"``.
        replaced: Whether the file stands in the place of the model's own weights.
        parts: Of a pair: its detectors, and last the network that finds the joints in a box.
    """

    spec: ModelSpec
    file: Path
    kind: str = "weights"
    replaced: bool = False
    parts: tuple[ModelSource, ...] = ()

    @property
    def eight_bit_file(self) -> Path | None:
        """The model in 8-bit integers, an OpenVINO file beside its weights, if there is one.

        It cannot be made on first use, as the ranges of its integers are learned from photos;
        ``openpaf export`` makes it.
        """
        path = self.file.with_name(self.file.stem + "-int8.xml")
        if self.kind != "weights" or self.replaced:
            return None
        return path if path.is_file() and path.with_suffix(".bin").is_file() else None

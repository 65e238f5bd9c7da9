"""Top-down, with two networks: a box for each person, then the joints of the one in the box.

Detectors give boxes, of which several are fused to one a person; the crop of each box goes through
a network that finds the joints of one person; who was found twice is left out.

Reference:
    Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openpaf.engines.base import Engine
from openpaf.engines.load import choose_engine, load_source
from openpaf.errors import WeightsError
from openpaf.estimator.boxes import areas, check_boxes, fuse
from openpaf.estimator.calibration import calibrate, raw_score
from openpaf.estimator.crops import affine_of, crop, find_joints
from openpaf.estimator.methods import Options
from openpaf.estimator.mirroring import lag_of, mirrored_maps, mirrored_pairs
from openpaf.estimator.offset_head import find_joints_by_votes, has_offsets
from openpaf.estimator.person_detector import Detections, PersonDetector
from openpaf.estimator.suppression import suppress_duplicates
from openpaf.poses import Poses
from openpaf.weights.pairs import detector_sizes
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn

# Chosen on photos of COCO train2017, as the root of the score of a box is.
_MIN_BOX = 0.1  # score of a box, after fusion
_MIN_CANDIDATE = 0.03  # score of a box of one run
_SAME_BOX = 0.6  # intersection over union of two boxes of a person
_SAME_PERSON = 0.85  # object keypoint similarity of two people who are one
_SURE_JOINT = 0.1  # joints that count for the score of a person
# The power of a person's score; it leaves their order, and puts what is none below 0.1.
_SPREAD = 1.5
# A joint whose heatmap has no higher cell is missing.
_MIN_JOINT = 0.02
# In boxes of lower scores than the first the joints have no higher mean score than the second, as
# far as it matters for whether a person reaches a score.
_WEAK_BOX, _WEAK_MEAN = 0.3, 0.8
# A person covers about this share of their box, as COCO's areas have it.
_BODY_SHARE = 0.53
_MAX_BOXES = 100  # of an image, where no number is given
_MAX_BATCH = 16  # crops of one run


@dataclass(frozen=True, kw_only=True)
class PeopleInBoxes:
    """What the networks give for an image.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in px of the image.
        box_scores: (N,), 0 to 1.
        affines: (N, 2, 3), from px of the image to px of the crops.
        heatmaps: (N, K, h, w) of the crops.
        offsets: (N, 2K, h, w) of the crops; none of them, (N, 0, h, w), where the network gives
            none.
        image_hw: Height and width of the image.
    """

    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    affines: NDArray[np.float64]
    heatmaps: NDArray[np.float32]
    offsets: NDArray[np.float32]
    image_hw: tuple[int, int]


class TopDown:
    """People by detectors and a network of one person.

    Args:
        detectors: One for each run; the same may run at several sizes.
        pose: From crops (B, 3, h, w) to ``heatmaps`` (B, K, h / stride, w / stride), and perhaps
            ``offsets``, see :mod:`openpaf.estimator.offset_head`.
        pose_spec: Of the network of one person: skeleton, grid, and the size of its crops.
        spec: Of the pair; its option ``padding`` is the size of a crop as a multiple of its box.
        options: Those of the estimator; ``config`` and ``size`` have no effect, as there is no
            parser, and the pair says the sizes.

    Raises:
        ValueError: If ``scales`` are given: the pair says the sizes of its inputs.
    """

    def __init__(
        self,
        detectors: Sequence[PersonDetector],
        pose: Engine,
        pose_spec: ModelSpec,
        spec: ModelSpec,
        options: Options,
    ) -> None:
        if options.scales != (1.0,):
            raise ValueError("scales: a top-down pair says its sizes itself, expected none")
        assert pose_spec.size_hw is not None  # pair_source has seen to it
        self.detectors, self.pose, self.engine = tuple(detectors), pose, pose.name
        self.pose_spec, self.options = pose_spec, options
        # Scores of people by votes are other ones than those that probabilities were fitted to.
        self.spec = dataclasses.replace(spec, method="g_rmi") if has_offsets(pose_spec) else spec
        self.crop_hw = pose_spec.size_hw
        self.padding: float = spec.options["padding"]

    @classmethod
    def load(cls, source: ModelSource, options: Options) -> TopDown:
        """Load a pair; see :class:`openpaf.estimator.methods.MethodClass`."""
        if options.scales != (1.0,):
            raise ValueError("scales: a top-down pair says its sizes itself, expected none")
        if not source.parts:
            raise WeightsError(f"{source.file}: expected a pair, which names two networks")
        name = choose_engine(source, options.engine, options.device, threads=options.threads)
        engines = {
            part.file: load_source(part, name, options.device, threads=options.threads)
            for part in source.parts
        }
        detectors = [
            PersonDetector(
                engine=engines[part.file],
                name=part.spec.name,
                size_hw=size if isinstance(size, tuple) else part.spec.size_hw,
                long_side=size if isinstance(size, int) else None,
                min_score=_MIN_CANDIDATE,
                max_overlap=_SAME_BOX,
            )
            for part, size in zip(source.parts, detector_sizes(source.spec), strict=False)
        ]
        pose = source.parts[-1]
        says = source.spec.options
        options = options.replace(flip=options.flip or says["flip"])
        return cls(detectors, engines[pose.file], pose.spec, source.spec, options)

    @classmethod
    def from_network(cls, network: nn.Module, spec: ModelSpec, options: Options) -> TopDown:
        """A pair is several networks, not one.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"network: {spec.name} is a pair of networks, which a file names")

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[PeopleInBoxes]:
        """Boxes in images, RGB uint8 (H, W, 3), and heatmaps of what is in them.

        Raises:
            WeightsError: If a network gives what is not finite.
        """
        return self._people(images, self._detect(images))

    def infer_in_boxes(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[ArrayLike]
    ) -> list[PeopleInBoxes]:
        """As :meth:`infer`, with boxes (N, 4) of each image in place of the detectors'.

        Raises:
            ValueError: If they are no boxes.
        """
        given = [check_boxes(value) for value in boxes]
        return self._people(images, [(array, np.ones(len(array), np.float32)) for array in given])

    def _people(
        self, images: Sequence[NDArray[np.uint8]], detections: Sequence[Detections]
    ) -> list[PeopleInBoxes]:
        affines = [
            np.array([affine_of(box, self.crop_hw, self.padding) for box in found]).reshape(
                -1, 2, 3
            )
            for found, _ in detections
        ]
        crops = [
            (image, affine)
            for image, of_image in zip(images, affines, strict=True)
            for affine in of_image
        ]
        maps, n_joints = self._maps(crops), self.pose_spec.skeleton.n_joints
        ends = np.cumsum([len(of_image) for of_image in affines])
        return [
            PeopleInBoxes(
                boxes=found,
                box_scores=scores,
                affines=of_image,
                heatmaps=maps[end - len(of_image) : end, :n_joints],
                offsets=maps[end - len(of_image) : end, n_joints:],
                image_hw=(image.shape[0], image.shape[1]),
            )
            for image, (found, scores), of_image, end in zip(
                images, detections, affines, ends, strict=True
            )
        ]

    def postprocess(
        self,
        inferred: PeopleInBoxes,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people in the boxes of an image, in px of the image.

        Args:
            inferred: As :meth:`infer` gave it.
            image_hw: Height and width of the image.
            passed: Called with ``"people"`` when they are known.

        Raises:
            ValueError: If it is of an image of another shape.
        """
        if tuple(image_hw) != inferred.image_hw:
            raise ValueError(
                f"image_hw: boxes of an image of {inferred.image_hw} px are not of one of "
                f"{tuple(image_hw)} px (height, width)"
            )
        grid, skeleton = self.pose_spec.heatmap_grid, self.pose_spec.skeleton
        maps, affines = inferred.heatmaps, inferred.affines
        if has_offsets(self.pose_spec):
            xy, scores = find_joints_by_votes(maps, inferred.offsets, affines, self.pose_spec)
            person_scores = inferred.box_scores * scores.mean(axis=1)
        else:
            xy, scores = find_joints(maps, affines, grid)
            person_scores = (np.sqrt(inferred.box_scores) * _mean_scores(scores)) ** _SPREAD
        missing = scores < _MIN_JOINT
        poses = Poses(
            xy=np.where(missing[..., None], np.nan, xy),
            scores=np.where(missing, 0, scores),
            person_scores=person_scores,
            skeleton=skeleton,
        )
        body = _BODY_SHARE * areas(inferred.boxes)
        poses = poses[suppress_duplicates(poses, body, _SAME_PERSON, _SURE_JOINT)]
        poses = calibrate(poses, self.spec)[: self.options.max_people]
        if passed is not None:
            passed("people")
        return poses

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """The boxes of people in images, best first."""
        runs = [
            detector(images, flip=flip)
            for detector in self.detectors
            for flip in ((False, True) if self.options.flip else (False,))
        ]
        limit, least = _MAX_BOXES, self._least_box()
        if self.options.max_people is not None:
            limit = 2 * self.options.max_people  # some may be found twice
        detections = []
        for of_image in zip(*runs, strict=True):
            boxes, scores = fuse(of_image, _SAME_BOX) if len(of_image) > 1 else of_image[0]
            n = min(limit, int((scores >= least).sum()))
            detections.append((boxes[:n], scores[:n]))
        return detections

    def _least_box(self) -> float:
        """The score of a box below which no person reaches ``min_score``."""
        raw = raw_score(self.options.min_score, self.spec)
        with_perfect_joints = raw ** (2 / _SPREAD)
        weak = min(with_perfect_joints / _WEAK_MEAN**2, _WEAK_BOX)
        return max(_MIN_BOX, with_perfect_joints, weak)

    def _maps(
        self, crops: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64]]]
    ) -> NDArray[np.float32]:
        """Heatmaps, and offsets if any, (N, channels, h, w) of crops: an image and a map each."""
        stride, n_joints = self.pose_spec.heatmap_grid.stride, self.pose_spec.skeleton.n_joints
        height, width = self.crop_hw
        n_maps = n_joints * (3 if has_offsets(self.pose_spec) else 1)
        result = np.empty((len(crops), n_maps, height // stride, width // stride), np.float32)
        for start in range(0, len(crops), _MAX_BATCH):
            part = crops[start : start + _MAX_BATCH]
            inputs = np.stack([crop(image, affine, self.crop_hw) for image, affine in part])
            batch = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2), np.float32)
            maps = self._run_pose(batch)
            if self.options.flip:
                maps = (maps + self._mirrored(batch)) / np.float32(2)
            if not np.isfinite(maps).all():
                name = self.pose_spec.name
                raise WeightsError(f"{name}: gives heatmaps that are not finite; it is damaged")
            result[start : start + len(part)] = maps
        return result

    def _run_pose(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps, and offsets if any, in one array."""
        arrays = self.pose(batch)
        if not has_offsets(self.pose_spec):
            return arrays["heatmaps"]
        return np.concatenate([arrays["heatmaps"], arrays["offsets"]], axis=1)

    def _mirrored(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The maps of mirrored crops, mirrored back."""
        maps = self._run_pose(np.ascontiguousarray(batch[..., ::-1]))
        swap, n_joints = self.pose_spec.skeleton.flip_permutation, self.pose_spec.skeleton.n_joints
        shift, rest = lag_of(self.pose_spec.heatmap_grid, maps.shape[3], batch.shape[3])
        heatmaps = mirrored_maps(maps[:, :n_joints], swap, shift)
        if not has_offsets(self.pose_spec):
            return heatmaps
        offsets = mirrored_pairs(maps[:, n_joints:], swap, shift, rest)
        return np.concatenate([heatmaps, offsets], axis=1)


def _mean_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) the mean score of each person's sure joints; of all of them where none is sure."""
    sure = scores >= _SURE_JOINT
    count = sure.sum(axis=1)
    total = np.where(count > 0, np.where(sure, scores, 0).sum(axis=1), scores.sum(axis=1))
    mean: NDArray[np.float32] = (total / np.where(count > 0, count, scores.shape[1])).astype(
        np.float32
    )
    return mean

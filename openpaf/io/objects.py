"""The objects of an image: boxes, classes, scores and masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_array
from openpaf.poses import Poses

#: The names of COCO's labels 1 to 90, which are its category ids; ten of them are not used.
COCO_CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,N/A,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,N/A,"
    "backpack,umbrella,N/A,N/A,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
    "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,N/A,wine glass,cup,fork,"
    "knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,"
    "couch,potted plant,bed,N/A,dining table,N/A,N/A,toilet,N/A,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,N/A,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush".split(",")
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """The objects of one image, as an object detector finds them.

    Args:
        boxes: (N, 4) float32, x0, y0, x1, y1 in px as COCO and torchvision have them: 0 is the edge
            of the first pixel, so that the box of a whole image is (0, 0, W, H).
        labels: (N,) int64 classes, from 1 on; 0 is background.
        scores: (N,) float32, at least 0.
        classes: Names of labels 1, 2 ...
        masks: (N, H, W) bool, the pixels of each object in the image; None without masks.
        poses: The joints of each object, in the same order; None without joints.

    Raises:
        ValueError: If a shape does not fit, a label has no name, or a number is not finite.

    Example:
        >>> import openpaf
        >>> objects = openpaf.Objects(
        ...     boxes=[[10, 20, 30, 60], [0, 0, 5, 5]],
        ...     labels=[2, 1],
        ...     scores=[0.9, 0.4],
        ...     classes=("cat", "dog"),
        ... )
        >>> objects.names
        ['dog', 'cat']
        >>> objects[objects.scores > 0.5].boxes.tolist()
        [[10.0, 20.0, 30.0, 60.0]]
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None
    poses: Poses | None = None

    def __post_init__(self) -> None:
        types = {"boxes": np.float32, "labels": np.int64, "scores": np.float32}
        for name, dtype in types.items():
            object.__setattr__(self, name, as_array(name, getattr(self, name), dtype))
        object.__setattr__(self, "classes", tuple(self.classes))
        n = len(self.scores) if self.scores.ndim else 0
        if n == 0 and self.boxes.size == 0:  # an empty list has no second axis
            object.__setattr__(self, "boxes", self.boxes.reshape(0, 4))
        for name, shape in {"boxes": (n, 4), "labels": (n,), "scores": (n,)}.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {getattr(self, name).shape}")
        if not (np.isfinite(self.boxes).all() and (self.scores >= 0).all()):
            raise ValueError("boxes, scores: expected finite numbers, scores of at least 0")
        if n and not (self.labels.min() >= 1 and self.labels.max() <= len(self.classes)):
            raise ValueError(f"labels: expected 1 to {len(self.classes)}, got {self.labels}")
        if self.masks is not None:
            object.__setattr__(self, "masks", as_array("masks", self.masks, np.bool_))
            if self.masks.ndim != 3 or len(self.masks) != n:
                raise ValueError(f"masks: expected shape ({n}, H, W), got {self.masks.shape}")
        if self.poses is not None and len(self.poses) != n:
            raise ValueError(f"poses: expected {n}, one an object, got {len(self.poses)}")

    @property
    def names(self) -> list[str]:
        """The name of each object's class."""
        return [self.classes[label - 1] for label in self.labels.tolist()]

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Objects]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Objects:
        """The chosen objects, by integer, slice, integer or boolean array; always Objects."""
        if isinstance(index, (int, np.integer)) and not -len(self) <= index < len(self):
            raise IndexError(f"object {index} of {len(self)}")
        chosen = np.arange(len(self))[index].reshape(-1)
        return Objects(
            boxes=self.boxes[chosen],
            labels=self.labels[chosen],
            scores=self.scores[chosen],
            classes=self.classes,
            masks=None if self.masks is None else self.masks[chosen],
            poses=None if self.poses is None else self.poses[chosen],
        )

    def __repr__(self) -> str:
        parts = [name for name in ("masks", "poses") if getattr(self, name) is not None]
        return f"Objects({', '.join([f'{len(self)} objects', *parts])})"

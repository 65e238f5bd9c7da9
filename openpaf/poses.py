"""The people of an image: coordinates and scores of their joints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openpaf.checks import as_array, import_extra
from openpaf.skeleton import Skeleton
from openpaf.skeleton.angles import angle_joints, angle_names, angles_at
from openpaf.skeleton.conversion import converted_joints
from openpaf.tables.convertible import Convertible, no_image

_PLOT_INCHES, _SHOWN_PX = 9.0, 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Poses(Convertible):
    """The people of one image.

    Args:
        xy: (N, K, 2) float32, pixel coordinates (x, y); NaN where a joint is missing.
        scores: (N, K) float32, at least 0; 0 exactly where a joint is missing.
        person_scores: (N,) float32, at least 0; higher is more certain.
        skeleton: The K joints.
        ids: (N,) int64 identities over the frames of a video, or None for a single image.
        image: RGB uint8 (H, W, 3), the image that they are of, where it is kept; it does not count
            in comparisons.

    Raises:
        ValueError: If a shape does not fit, a score is negative or not finite, or a joint has a
            coordinate where its score is 0 or none where it is above 0.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.zeros((1, 17, 3))  # x, y and score; a joint of score 0 is missing
        >>> keypoints[0, 0] = 120, 80, 0.5
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> len(poses)
        1
        >>> poses.joint("nose").tolist()
        [[120.0, 80.0, 0.5]]
        >>> poses.joint("left_eye").tolist()
        [[nan, nan, 0.0]]
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    person_scores: NDArray[np.float32]
    skeleton: Skeleton
    ids: NDArray[np.int64] | None = None
    image: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("xy", "scores", "person_scores"):
            object.__setattr__(self, name, as_array(name, getattr(self, name), np.float32))
        n, k = len(self.xy) if self.xy.ndim else 0, self.skeleton.n_joints
        self._check_shape("xy", self.xy, (n, k, 2))
        self._check_shape("scores", self.scores, (n, k))
        self._check_shape("person_scores", self.person_scores, (n,))
        if self.ids is not None:
            object.__setattr__(self, "ids", as_array("ids", self.ids, np.int64))
            self._check_shape("ids", self.ids, (n,))
        if self.image is not None:
            is_rgb = isinstance(self.image, np.ndarray) and self.image.dtype == np.uint8
            if not (is_rgb and self.image.ndim == 3 and self.image.shape[2] == 3):
                raise ValueError("image: expected RGB uint8 (H, W, 3)")
        for name in ("scores", "person_scores"):
            values = getattr(self, name)
            if not (np.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"{name}: expected finite numbers >= 0")
        present = (self.scores > 0)[..., None]
        if not np.where(present, np.isfinite(self.xy), np.isnan(self.xy)).all():
            raise ValueError(
                "xy: expected finite coordinates where scores > 0 and NaN where scores == 0"
            )

    @staticmethod
    def _check_shape(name: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
        if array.shape != expected:
            raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """No people: a result of length 0."""
        return cls.from_keypoints([], skeleton)

    @classmethod
    def from_keypoints(
        cls,
        keypoints: ArrayLike,
        skeleton: Skeleton,
        *,
        person_scores: ArrayLike | None = None,
    ) -> Poses:
        """Poses from (N, K, 3) rows of x, y and score, or COCO's visibility; 0 means missing.

        Args:
            keypoints: (N, K, 3); the third number is a score, or COCO's v of 0, 1 or 2. Values
                above 1 become 1.
            skeleton: The K joints.
            person_scores: (N,); 1 each where not given.

        Raises:
            ValueError: If the shape is not (N, K, 3).
        """
        array = as_array("keypoints", keypoints, np.float32)
        if array.shape[1:] != (skeleton.n_joints, 3) and array.size > 0:
            raise ValueError(
                f"keypoints: expected shape (N, {skeleton.n_joints}, 3), got {array.shape}"
            )
        array = array.reshape(-1, skeleton.n_joints, 3)  # an empty list has no people
        scores = np.minimum(array[..., 2], 1)
        xy = np.where(scores[..., None] > 0, array[..., :2], np.nan)
        if person_scores is None:
            person_scores = np.ones(len(array), np.float32)
        return cls(
            xy=xy.astype(np.float32),
            scores=scores,
            person_scores=np.asarray(person_scores, np.float32),
            skeleton=skeleton,
        )

    def __len__(self) -> int:
        return len(self.xy)

    def __iter__(self) -> Iterator[Poses]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Poses:
        """The chosen people, by integer, slice, integer array or boolean array; always Poses."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"person {index} of {len(self)}")
            chosen: Any = [int(index)]
        elif isinstance(index, slice):
            chosen = index
        else:
            chosen = np.asarray(index)
            if chosen.size == 0 and chosen.dtype != bool:
                chosen = chosen.astype(np.int64)
        return Poses(
            xy=self.xy[chosen],
            scores=self.scores[chosen],
            person_scores=self.person_scores[chosen],
            skeleton=self.skeleton,
            ids=None if self.ids is None else self.ids[chosen],
            image=self.image,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Poses):
            return NotImplemented
        same_ids = (
            self.ids is other.ids
            if self.ids is None or other.ids is None
            else np.array_equal(self.ids, other.ids)
        )
        return (
            self.skeleton == other.skeleton
            and same_ids
            and np.array_equal(self.xy, other.xy, equal_nan=True)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.person_scores, other.person_scores)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Poses({len(self)} people, {self.skeleton.name})"

    def replace(self, **changes: Any) -> Poses:
        """A copy with some of its arguments changed, e.g. ``poses.replace(xy=moved)``."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = changes.keys() - values.keys()
        if unknown:
            raise ValueError(f"replace: unknown arguments {sorted(unknown)}")
        return Poses(**{**values, **changes})

    def joint(self, name: str) -> NDArray[np.float32]:
        """(N, 3) rows of x, y and score of one joint of each person, e.g. ``"left_wrist"``.

        Raises:
            ValueError: If the skeleton has no such joint.
        """
        k = self.skeleton.index(name)
        return np.concatenate([self.xy[:, k], self.scores[:, k, None]], axis=1)

    def angles(self, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """The angles at joints of each person, e.g. of ``"left_knee"``; 180 is a straight leg.

        Args:
            names: Joints that have an angle (:func:`openpaf.skeleton.angles.angle_names`), or any
                three joints, ``"A-B-C"``, for the angle at B; all that have a name if None.

        Returns:
            For each name (N,) degrees in the image, 0 to 180; NaN where one of the three joints is
            missing, or two are in one place.

        Raises:
            ValueError: If the skeleton has no such angle; the message lists those it has.
        """
        names = angle_names(self.skeleton) if names is None else names
        return {name: angles_at(self.xy, *angle_joints(self.skeleton, name)) for name in names}

    def to(self, skeleton: Skeleton) -> Poses:
        """The same people with the joints of another skeleton, matched by name.

        A neck that these poses lack is put in the middle of the shoulders, and a ``mid_hip`` in the
        middle of the hips, as in OpenPose's annotations. Other joints that they lack are missing.
        """
        xy, scores = converted_joints(self.xy, self.scores, self.skeleton, skeleton)
        return self.replace(xy=xy, scores=scores, skeleton=skeleton)

    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) boxes x0, y0, x1, y1 in px around the joints; NaN for a person without any."""
        boxes = np.full((len(self), 4), np.nan, np.float32)
        some = (self.scores > 0).any(axis=1)
        if some.any():
            boxes[some, :2] = np.nanmin(self.xy[some], axis=1)
            boxes[some, 2:] = np.nanmax(self.xy[some], axis=1)
        return boxes

    def draw(self, image: Any = None, **options: Any) -> NDArray[np.uint8]:
        """The image with these people drawn over it.

        Args:
            image: As :func:`openpaf.read_image` takes it; the one that is kept if None.
            options: Of :func:`openpaf.draw_poses`: ``boxes``, ``scores``, ``ids``, ``width``,
                ``min_joint_score``.

        Returns:
            RGB uint8 (H, W, 3), a copy.

        Raises:
            ValueError: If no image is given and none is kept, or an option is out of range.
            ImageError: If ``image`` is a file that cannot be read.
        """
        import openpaf

        return openpaf.draw_poses(self._known(image, "draw"), self, **options)

    def plot(self, image: Any = None, *, ax: Any = None, **options: Any) -> Any:
        """Show the image with these people drawn over it, by matplotlib.

        Args:
            image: As for :meth:`draw`.
            ax: A :class:`matplotlib.axes.Axes` to plot into; one of a new figure if None.
            options: Of :func:`openpaf.draw_poses`, as for :meth:`draw`.

        Returns:
            The :class:`matplotlib.axes.Axes`, whose coordinates are px of the image, as ``xy`` are:
            ``ax.scatter(*poses.joint("nose")[:, :2].T)``. A notebook shows it; in a script,
            ``matplotlib.pyplot.show()`` does, or ``ax.figure.savefig("people.png")``.

        Raises:
            ValueError: If matplotlib is not installed (the extra ``analyze``), no image is given
                and none is kept, or an option is out of range.
            ImageError: If ``image`` is a file that cannot be read.
        """
        drawn = self.draw(self._known(image, "plot"), **options)
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot", "analyze", "plot")
            height, width = drawn.shape[:2]
            scale = _PLOT_INCHES / max(height, width)
            figure = pyplot.figure(figsize=(scale * width, scale * height), layout="constrained")
            ax = figure.add_subplot()
        ax.imshow(drawn)
        ax.set_axis_off()
        return ax

    def _known(self, image: Any, name: str) -> Any:
        """An image that is given, or the one that is kept."""
        if image is None and self.image is None:
            raise no_image(name, "image")
        return self.image if image is None else image

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the drawn image, at most 1,024 px wide and high, if it is kept."""
        if self.image is None:
            return None
        import io

        from PIL import Image

        drawn = Image.fromarray(self.draw())
        drawn.thumbnail((_SHOWN_PX, _SHOWN_PX))
        png = io.BytesIO()
        drawn.save(png, "PNG")
        return png.getvalue()

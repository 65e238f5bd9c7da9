"""People of an image as rows, tables and objects of other packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from openpaf.checks import as_size, import_extra
from openpaf.tables.flat import person_arrays
from openpaf.tables.schema import PeopleOfImage, arrow_table, image_row, plain_row


class Convertible:
    """The methods of :class:`openpaf.Poses` that give its people in other forms."""

    def to_dict(
        self: PeopleOfImage, *, image_hw: Sequence[int] | None = None, **values: Any
    ) -> dict[str, Any]:
        """These people as a row of a table (docs/bulk.md), ready for JSON.

        Args:
            image_hw: Height and width of the image in px, where they are to be in the row.
            values: Of other columns, such as ``path``, ``frame`` and ``time_s``.

        Returns:
            All columns: ``n_people``, ``boxes``, ``keypoints``, ``joint_scores`` and so on;
            coordinates to 0.001 px, None where a joint is missing.

        Raises:
            ValueError: If there is no such column.
        """
        return plain_row(image_row(self, image_hw=image_hw, **values))

    def to_arrow(
        self: PeopleOfImage, *, image_hw: Sequence[int] | None = None, **values: Any
    ) -> Any:
        """These people as a :class:`pyarrow.Table` of one row, of the schema of all tables.

        Arguments are those of :meth:`to_dict`. Coordinates and scores are float32, as they are
        here; the names of the joints are in the schema's metadata.

        Raises:
            ValueError: If pyarrow is not installed, or there is no such column.
        """
        return arrow_table([image_row(self, image_hw=image_hw, **values)], self.skeleton)

    def to_dataframe(self: PeopleOfImage) -> Any:
        """These people as a :class:`pandas.DataFrame`, a row each.

        Returns:
            Columns ``person``, ``id`` (-1 without ids), ``score``, ``x0``, ``y0``, ``x1``, ``y1``,
            and ``nose_x``, ``nose_y``, ``nose_score`` and so on for every joint; NaN where one is
            missing.

        Raises:
            ValueError: If pandas is not installed.
        """
        pandas = import_extra("pandas", "tables", "to_dataframe")
        return pandas.DataFrame(person_arrays(self, self.skeleton.joints))

    def to_supervision(self: PeopleOfImage) -> Any:
        """These people as :class:`supervision.KeyPoints`, which that package draws and tracks.

        Returns:
            Its ``xy`` is 0, 0 where a joint is missing, as it expects; ``data["person_id"]`` are
            the ids, where there are some.

        Raises:
            ValueError: If supervision is not installed.
        """
        supervision = import_extra("supervision", "supervision", "to_supervision")
        return supervision.KeyPoints(
            xy=np.nan_to_num(self.xy),
            class_id=np.zeros(len(self.xy), np.int64),
            keypoint_confidence=self.scores,
            detection_confidence=self.person_scores,
            visible=self.scores > 0,
            data={} if self.ids is None else {"person_id": self.ids},
        )

    def to_fiftyone(self: PeopleOfImage, image_hw: Sequence[int] | None = None) -> Any:
        """These people as :class:`fiftyone.Keypoints`, a field of a sample of FiftyOne.

        Args:
            image_hw: Height and width of the image in px; not needed where the image is kept.

        Returns:
            A ``fiftyone.Keypoint`` for each person: ``points`` from 0 to 1 of width and height, NaN
            where a joint is missing; ``confidence`` of each joint; ``person_score``; and the id as
            ``index``, where there are some.

        Raises:
            ValueError: If fiftyone is not installed, or the size of the image is not known.
        """
        if image_hw is None:
            if self.image is None:
                raise no_image("to_fiftyone", "image_hw")
            image_hw = self.image.shape[:2]
        height, width = as_size("image_hw", image_hw)
        try:
            import fiftyone
        except ImportError as error:  # no extra of ours: it needs other versions of what we pin
            raise ValueError(
                "to_fiftyone: 'fiftyone' is not installed; pip install fiftyone"
            ) from error
        # Its 0 and 1 are the edges of the image, half a pixel from the outermost centers.
        shares = (self.xy.astype(np.float64) + 0.5) / (width, height)
        ids = [None] * len(shares) if self.ids is None else self.ids.tolist()
        return fiftyone.Keypoints(
            keypoints=[
                fiftyone.Keypoint(
                    label="person",
                    points=shares[n].tolist(),
                    confidence=self.scores[n].astype(np.float64).tolist(),
                    index=ids[n],
                    person_score=float(self.person_scores[n]),
                )
                for n in range(len(shares))
            ]
        )


def no_image(method: str, argument: str) -> ValueError:
    """The error of a method that needs the image, where none is kept.

    Args:
        method: Its name.
        argument: The argument that it takes in place of the image.
    """
    return ValueError(
        f"{method}: the image is not kept; pass {argument}=, or use estimator(..., keep_image=True)"
    )

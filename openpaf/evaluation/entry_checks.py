"""Checks of the entries of a COCO file.

What is wrong is told by the file's name, what was expected, in how many entries it was not so, and
the first of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from openpaf.io.json_files import is_number


class Entries:
    """A list of a COCO file, to be checked.

    Args:
        path: The file.
        kind: What is listed: ``"images"``, ``"annotations"``, ``"categories"`` or ``"results"``.
        entries: The list.

    Raises:
        ValueError: By every check, if an entry does not pass it.
    """

    def __init__(self, path: str | Path, kind: str, entries: list[Any]) -> None:
        self._path, self._kind, self._entries = path, kind, entries

    def refuse(
        self,
        expected: str,
        is_wrong: Callable[[Any], bool],
        describe: Callable[[Any], str] | None = None,
    ) -> None:
        """Refuse entries that are wrong.

        Args:
            expected: What should be so.
            is_wrong: Of an entry, whether it is not.
            describe: Of the first wrong entry, what came instead.
        """
        wrong = [i for i, entry in enumerate(self._entries) if is_wrong(entry)]
        if not wrong:
            return
        first = self._entries[wrong[0]]
        name = f"entry {wrong[0]}"
        if isinstance(first, dict) and "image_id" in first:
            name += f", image {first['image_id']}"
        got = f", {describe(first)}" if describe else ""
        raise ValueError(
            f"{self._path}: {self._kind}: {expected}; not so in {len(wrong)} of "
            f"{len(self._entries)}, first {name}{got}"
        )

    def check_keys(self, keys: Sequence[str]) -> None:
        """Each is a dictionary that has the keys; ids are whole numbers."""
        self.refuse("expected a dictionary", lambda entry: not isinstance(entry, dict))
        for key in keys:
            self.refuse(f"{key!r} is missing", lambda entry, key=key: key not in entry)  # type: ignore[misc]
        for key in ("id", "image_id", "category_id"):
            if key in keys:
                self.refuse(
                    f"{key}: expected a whole number",
                    lambda entry, key=key: type(entry[key]) is not int,  # type: ignore[misc]
                )

    def check_unique(self) -> None:
        """No id comes twice."""
        count = Counter(entry["id"] for entry in self._entries)
        repeated = [key for key, n in count.items() if n > 1]
        if repeated:
            raise ValueError(
                f"{self._path}: {self._kind}: {len(repeated)} ids come twice: {first_of(repeated)}"
            )

    def check_images(self, known: Collection[int]) -> None:
        """Each is of an image that is listed."""
        unknown = [e["image_id"] for e in self._entries if e["image_id"] not in known]
        if unknown:
            images = sorted(set(unknown), key=_natural)
            where = "the file does" if self._kind == "annotations" else "the annotations do"
            raise ValueError(
                f"{self._path}: {self._kind}: {len(unknown)} of {len(self._entries)} are of "
                f"{len(images)} images that {where} not list: {first_of(images)}"
            )

    def check_categories(self, categories: Sequence[dict[str, Any]]) -> None:
        """Each is of a category that is listed."""
        known = [category["id"] for category in categories]
        self.refuse(
            f"category_id: expected one that the file lists: {first_of(known)}",
            lambda entry: entry["category_id"] not in known,
        )

    def check_people(self, n_joints: int) -> None:
        """Each has all that pycocotools asks of a labeled person."""
        self.check_keys(("keypoints", "num_keypoints", "area", "bbox", "iscrowd"))
        self.check_keypoints(n_joints)
        self.refuse("bbox: expected 4 finite numbers", lambda entry: not is_list(entry["bbox"], 4))
        self.refuse(
            "area: expected a finite number, 0 or more",
            lambda entry: not is_number(entry["area"]) or entry["area"] < 0,
        )
        self.refuse("iscrowd: expected 0 or 1", lambda entry: entry["iscrowd"] not in (0, 1))
        self.refuse(
            "num_keypoints: expected the number of keypoints with v > 0",
            lambda entry: entry["num_keypoints"] != sum(v > 0 for v in entry["keypoints"][2::3]),
        )

    def check_keypoints(self, n_joints: int) -> None:
        """Each has x, y and a third number of so many joints."""
        n_values = 3 * n_joints

        def describe(entry: dict[str, Any]) -> str:
            keypoints = entry["keypoints"]
            return f"got {len(keypoints) if isinstance(keypoints, list) else 'none'}"

        self.refuse(
            f"keypoints: expected {n_values} values, 3 for each of {n_joints} joints",
            lambda entry: (
                not isinstance(entry["keypoints"], list) or len(entry["keypoints"]) != n_values
            ),
            describe,
        )
        self.refuse(
            "keypoints: expected finite numbers",
            lambda entry: not is_list(entry["keypoints"], n_values),
        )


def is_list(value: Any, length: int) -> bool:
    """Whether something is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == length and all(map(is_number, value))


def first_of(values: Sequence[Any], limit: int = 3) -> str:
    """The first of many, for a message."""
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(str(value) for value in values[:limit]) + more


def _natural(image_id: int | str) -> tuple[bool, int, str]:
    number = image_id if isinstance(image_id, int) else 0
    return isinstance(image_id, str), number, str(image_id)

"""What a format of label files is. The table is :data:`openpaf.annotation.files.LABEL_FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openpaf.annotation.labels import LabelSet

#: From the labels, and what the addresses of images begin with, to the text of a file.
Text = Callable[[LabelSet, str], str]


@dataclass(frozen=True, kw_only=True)
class LabelFormat:
    """How labels are written for one tool.

    Args:
        description: What the help says that the labels are.
        files: For each suffix what makes the text of that file: first of the labels, then of what
            sets up the tool.
    """

    description: str
    files: dict[str, Text]

    @property
    def suffix(self) -> str:
        """Of the file of the labels."""
        return next(iter(self.files))

"""What a format of label files is. The table is :data:`openpaf.annotation.files.LABEL_FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from openpaf.annotation.labels import LabelSet
from openpaf.annotation.reading import ReadOptions

#: From the labels, and what the addresses of images begin with, to the text of a file.
Text = Callable[[LabelSet, str], str]


@dataclass(frozen=True, kw_only=True)
class LabelFormat:
    """How labels are read from and written for one tool.

    Args:
        description: What the help says that the labels are.
        files: For each suffix what makes the text of that file: first of the labels, then of what
            sets up the tool. Empty where the labels are no text.
        folder: For labels that are a folder: what makes the texts of its files, by their paths in
            it.
        save: For labels that are a file, but no text: what writes it.
        read: Reads the labels; None where they are only written.
        reads: Suffixes of the files that are read.
        lacks: What the format cannot hold, of :data:`openpaf.annotation.losses.FEATURES`.
    """

    description: str
    files: dict[str, Text] = field(default_factory=dict)
    folder: Callable[[LabelSet], dict[str, str]] | None = None
    save: Callable[[LabelSet, Path], None] | None = None
    read: Callable[[Path, ReadOptions], LabelSet] | None = None
    reads: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """Of the file of the labels."""
        return next(iter(self.files or self.reads))

    @property
    def is_written(self) -> bool:
        """Whether labels are written in this format."""
        return bool(self.files) or self.folder is not None or self.save is not None

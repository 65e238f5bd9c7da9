"""Core ML's ``.mlpackage``: the description of the model in it, read without Core ML.

A folder, in which ``model.mlmodel`` is a protocol buffer with the program and what it says of
itself, and another file has the numbers.

Reference:
    Model.proto and MIL.proto of coremltools 9.0, for the numbers of the fields.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from openpaf.weights.limits import MAX_NOTE_CHARS
from openpaf.weights.protobuf_files import BYTES, Field, Message

#: Where the program is in the folder.
PROGRAM = Path("Data", "com.apple.CoreML", "model.mlmodel")
# The file of the numbers, as a program calls it.
_WEIGHTS = "@model_path/weights/weight.bin"
_MAX_BYTES = 64 << 20  # of a program without its numbers
# Numbers of the fields: from a model to its notes, and to the blocks of its program.
_NOTES = (2, 100, 100)
_KEY, _VALUE = 1, 2
_PROGRAM = 502
_BLOCKS = (_PROGRAM, 2, _VALUE, 3, _VALUE)
_OPERATION, _OPERATOR, _NESTED, _ATTRIBUTE = 3, 1, 4, 5
_STORED, _FILE = (_VALUE, 5), 1


def read_program(path: Path, key: str) -> tuple[str | None, set[str]]:
    """What the model of a package says of itself under a key, and its operators that hold blocks.

    Args:
        path: The package.
        key: Of its user-defined metadata.

    Returns:
        The note, None if there is none; names of the operators that loop or branch.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, has no program, or names another file than its own.
    """
    note, nested = None, set()
    with (path / PROGRAM).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > _MAX_BYTES:
            raise ValueError(f"a program of {size} bytes")
        message = Message(file)
        model = Field(0, BYTES, 0, 0, size)
        for entry in _inside(message, model, _NOTES):
            if message.text(_one(message, entry, _KEY)) == key:
                note = message.text(_one(message, entry, _VALUE), MAX_NOTE_CHARS)
        blocks = list(_inside(message, model, _BLOCKS))
        if not blocks:
            raise ValueError("no program in it")
        for operation in (o for block in blocks for o in _inside(message, block, (_OPERATION,))):
            if any(_inside(message, operation, (_NESTED,))):
                nested.add(message.text(_one(message, operation, _OPERATOR)))
            for stored in _inside(message, operation, (_ATTRIBUTE, *_STORED)):
                if message.text(_one(message, stored, _FILE)) != _WEIGHTS:
                    raise ValueError("the name of another file in it")
    return note, nested


def _inside(message: Message, field: Field, numbers: tuple[int, ...]) -> Iterator[Field]:
    """The fields that a path of numbers leads to."""
    if not numbers:
        yield field
        return
    for entry in message.fields(field.start, field.end):
        if entry.number == numbers[0]:
            if entry.kind != BYTES:
                raise ValueError("a field of an unknown kind")
            yield from _inside(message, entry, numbers[1:])


def _one(message: Message, field: Field, number: int) -> Field:
    """The last field of a number, as protocol buffers count; an empty one if there is none."""
    chosen = Field(number, BYTES, 0, field.start, field.start)
    for entry in _inside(message, field, (number,)):
        chosen = entry
    return chosen

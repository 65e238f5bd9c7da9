"""Protocol buffers, read as data: messages in a file, of which each reader knows what it looks for.

Reference:
    protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

from openpaf.weights.limits import MAX_KEY_CHARS, MAX_MESSAGE_FIELDS
from openpaf.weights.stored import read_exactly

# How a field lies in a file: a number of 7 bits a byte, 8 bytes, a length and so many, or 4 bytes.
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5


class Field(NamedTuple):
    number: int
    kind: int
    value: int  # of a number
    start: int  # of bytes
    end: int


class Message:
    """The fields of messages in a file, found by their lengths; nothing is kept of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.n_fields = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between two places of the file.

        Raises:
            ValueError: If it is damaged, cut short, or has too many.
        """
        place = start
        while place < end:
            self.n_fields += 1
            if self.n_fields > MAX_MESSAGE_FIELDS:
                raise ValueError(f"expected at most {MAX_MESSAGE_FIELDS} fields")
            self.file.seek(place)  # who took the last field may have read it
            tag, place = self._varint(place, end)
            number, kind, value, begin = tag >> 3, tag & 7, 0, place
            if kind == VARINT:
                value, place = self._varint(place, end)
            elif kind == BYTES:
                length, begin = self._varint(place, end)
                place = begin + length
            elif kind in (EIGHT, FOUR):
                place += 8 if kind == EIGHT else 4
            else:
                raise ValueError(f"a field of an unknown kind ({kind})")
            if place > end or number == 0:
                raise ValueError("a field that reaches beyond its end")
            yield Field(number, kind, value, begin, place)

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """A number, and the place behind it; the file is at its beginning."""
        value = 0
        for i in range(10):
            byte = self.file.read(1)
            if not byte or place + i >= end:
                break
            value |= (byte[0] & 127) << 7 * i
            if byte[0] < 128:
                return value, place + i + 1
        raise ValueError("a number without an end")

    def text(self, field: Field, limit: int = MAX_KEY_CHARS) -> str:
        """A text of at most so many characters, by default as a name may have."""
        if field.kind != BYTES or field.end - field.start > limit:
            raise ValueError("a name that is none")
        self.file.seek(field.start)
        return bytes(read_exactly(self.file, field.end - field.start)).decode("utf-8")

    def varints(self, field: Field, limit: int) -> list[int]:
        """Numbers, packed or one by itself."""
        if field.kind == VARINT:
            return [field.value]
        if field.kind != BYTES:
            raise ValueError("sizes of an unknown kind")
        values: list[int] = []
        place = field.start
        self.file.seek(place)
        while place < field.end and len(values) <= limit:
            value, place = self._varint(place, field.end)
            values.append(value)
        return values

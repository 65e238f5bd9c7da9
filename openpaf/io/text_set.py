"""A set of very many texts, by their hashes."""

from __future__ import annotations

import hashlib
from array import array


class TextSet:
    """Texts that were seen, in about 12 bytes each, whatever their length.

    Of ten million two are taken for one with a probability of 3e-6.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))  # hashes, each at or after its place; 0 is none
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __contains__(self, text: str) -> bool:
        return self._table[self._place(hash_of(text))] != 0

    def add(self, text: str) -> bool:
        """Add a text; whether it is new."""
        value = hash_of(text)
        place = self._place(value)
        if self._table[place]:
            return False
        self._table[place] = value
        self._n += 1
        if 5 * self._n > 4 * len(self._table):
            self._grow()
        return True

    def _place(self, value: int) -> int:
        """Where a hash is, or would be."""
        table, size = self._table, len(self._table)
        place = value % size
        while table[place] not in (0, value):
            place = (place + 1) % size
        return place

    def _grow(self) -> None:
        values = self._table
        self._table = array("Q", bytes(8 * (len(values) * 3 // 2)))
        for value in values:
            if value:
                self._table[self._place(value)] = value


def hash_of(text: str) -> int:
    """A hash of 64 bits, never 0, the same in each process."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1

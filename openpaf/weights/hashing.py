"""Whether a file is the one that was published, by its hash."""

from __future__ import annotations

from pathlib import Path

from openpaf.io.files import digest_of
from openpaf.io.files import sha256_of as sha256_of
from openpaf.weights.published import Published


def mismatch(row: Published, path: Path) -> str | None:
    """How a file differs from the one that was published.

    Args:
        row: The row of the table. Where it has no hash, the one that :func:`write_down` kept
            when the file was fetched counts.
        path: The file.

    Returns:
        ``expected sha256 ..., found ...``, or None if it is the same or its hash is not known.

    Raises:
        OSError: If it cannot be read.
    """
    expected = row.sha256 or (None if row.md5 else _written_down(path))
    name = "sha256"
    if expected is None:
        expected, name = row.md5, "md5"
    if expected is None:
        return None
    found = digest_of(path, name)
    return None if found.startswith(expected) else f"expected {name} {expected}, found {found}"


def how_verified(row: Published) -> str:
    """What a file is compared with, in words."""
    if row.sha256:
        n = len(row.sha256)
        return "sha256" if n == 64 else f"the first {n} digits of its sha256; no more is published"
    if row.md5:
        return "md5; no sha256 is published"
    return "sha256 of the first download, since none is published"


def known_hash(row: Published) -> str:
    """Which hash of a file is published, in a word: ``sha256:8`` are the first eight digits."""
    if row.sha256:
        n = len(row.sha256)
        return "sha256" if n == 64 else f"sha256:{n}"
    return "md5" if row.md5 else "none"


def write_down(row: Published, path: Path, digest: str) -> None:
    """Keep the hash of a file beside it, if its publisher gave none."""
    if not (row.sha256 or row.md5):
        _note(path).write_text(f"{digest}\n", encoding="ascii")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _written_down(path: Path) -> str | None:
    try:
        return _note(path).read_text(encoding="ascii").split()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        return None

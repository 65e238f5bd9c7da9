"""The photos inside the package, to try a model on where no others are at hand."""

from __future__ import annotations

from pathlib import Path


def sample_images() -> list[Path]:
    """Paths of three photos of one person each, in the public domain or CC0.

    They are those of ``data/photos`` of the repository with a short side of 368 px.
    """
    return sorted((Path(__file__).parent / "samples").glob("*.jpg"))

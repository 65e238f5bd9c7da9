"""Images of a SLEAP file: frames of its videos, and images inside of a ``.pkg.slp``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from openpaf.annotation.sleap_reader import frame_names, load_sleap
from openpaf.errors import shown
from openpaf.io.files import replacing


def extract_frames(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> int:
    """Write the labeled frames of a file as PNG, by the names that its labels have.

    Args:
        path: The ``.slp`` or ``.pkg.slp`` file. Images that are files already are left alone.
        folder: Where the images go; made if missing. Existing files are not replaced.

    Returns:
        How many were written.

    Raises:
        ValueError: If it is no such file, or a video cannot be read; the message names it.
        OSError: If an image cannot be written.
    """
    data = load_sleap(path, open_videos=True)
    n_written = 0
    for frame, name, is_file in frame_names(data):
        target = Path(folder) / name
        if is_file or target.exists() or not (frame.user_instances or frame.is_negative):
            continue
        try:
            image = np.asarray(frame.video[frame.frame_idx])
        except Exception as error:  # of a missing or damaged video, any
            raise ValueError(
                f"{shown(path)}: frame {frame.frame_idx} of {shown(str(frame.video.filename))} "
                f"cannot be read: {error}"
            ) from error
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = image[..., 0] if image.shape[-1] == 1 else image
        with replacing(target) as temporary:
            Image.fromarray(pixels).save(temporary, "PNG")
        n_written += 1
    return n_written

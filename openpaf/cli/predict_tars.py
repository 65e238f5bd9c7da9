"""Photos of tar files that have files of their own: named and run as they come out of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.outputs import OutputNames
from openpaf.cli.predict_inputs import is_list

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Input


def of_tar(
    tar: str, folder: Path, files: Sequence[str], arguments: argparse.Namespace
) -> Iterator[Input]:
    """The photos of a tar file, with their files.

    What these are called depends on the tar file alone, so that a run that goes on gives them the
    same names.

    Args:
        tar: The tar file.
        folder: For the results; it is made with the first of them.
        files: The formats of the files.
        arguments: Of the command.
    """
    from openpaf.bulk.inputs import Listing, is_tar

    names = OutputNames(folder, arguments.format)
    of_several = sum(map(is_tar, arguments.sources)) != 1 or any(map(is_list, arguments.sources))
    for one in Listing(sources=(tar,)):
        if one.error is not None:
            yield one
            continue
        photo = Path(one.path[len(tar) + 1 :])
        output = names.name(photo)
        if of_several:  # of which each may have a photo of this name
            output = replace(output, image_id=f"{folder.name}/{output.stem}{photo.suffix}")
        if not output.files or (arguments.skip_existing and output.is_there()):
            continue
        folder.mkdir(exist_ok=True)
        yield replace(one, output=replace(output, files=output.some(files)))


def stem_of_tar(tar: str) -> str:
    """The name of a tar file without its suffix, or both of them."""
    name = os.path.basename(tar)
    return name[: name.lower().rindex(".tar" if ".tar" in name.lower() else ".tgz")] or "tar"

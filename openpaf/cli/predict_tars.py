"""Photos of tar files that have files of their own: named and run as they come out of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.outputs import OutputNames

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Input


def tar_inputs(
    tars: Sequence[str], names: OutputNames, files: Sequence[str], arguments: argparse.Namespace
) -> Iterator[Input]:
    """The photos of tar files, those of each with a folder for their results.

    What a photo's files are called depends on its tar file alone, so that runs of other shards,
    or one that goes on, give it the same names.

    Args:
        tars: All of the run, also those of other shards.
        names: Gives the folders.
        files: The formats of the files.
        arguments: Of the command.
    """
    folders = [names.name_folder(_stem(tar)) for tar in tars]
    shard = arguments.shard
    for tar, folder in list(zip(tars, folders, strict=True))[shard.index :: shard.count]:
        yield from _of_tar(tar, folder, files, arguments, has_others=len(tars) > 1)


def _of_tar(
    tar: str, folder: Path, files: Sequence[str], arguments: argparse.Namespace, has_others: bool
) -> Iterator[Input]:
    from openpaf.bulk.inputs import Listing

    names = OutputNames(folder, arguments.format)
    for one in Listing(sources=(tar,)):
        if one.error is not None:
            yield one
            continue
        photo = Path(one.path[len(tar) + 1 :])
        output = names.name(photo)
        if has_others:  # of which each may have a photo of this name
            output = replace(output, image_id=f"{folder.name}/{output.stem}{photo.suffix}")
        if not output.files or (arguments.skip_existing and output.is_there()):
            continue
        folder.mkdir(exist_ok=True)
        yield replace(one, output=replace(output, files=output.some(files)))


def _stem(tar: str) -> str:
    """The name of a tar file without its suffix, or both of them."""
    name = os.path.basename(tar)
    return name[: name.lower().rindex(".tar" if ".tar" in name.lower() else ".tgz")] or "tar"

"""What ``openpaf predict`` is given: photos with their output files, or a listing; and videos."""

from __future__ import annotations

import argparse
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from openpaf.cli.common import one_line, shown
from openpaf.cli.outputs import (
    IMAGE,
    OutputNames,
    Outputs,
    check_folder,
    name_file,
    name_outputs,
)
from openpaf.cli.photos import with_subfolders
from openpaf.cli.predict_tars import tar_inputs
from openpaf.cli.videos import list_videos, video_name

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Input


@dataclass
class Inputs:
    """What a run goes through.

    Args:
        images: In one pass.
        n_images: How many there are, if that is known.
        count: Counts them, where it is not known and can be.
        videos: In order, complete when the images are through.
        name_videos: The output files of the videos.
        errors: What is wrong with sources that give nothing.
    """

    images: Iterable[Input]
    n_images: int | None
    videos: list[str]
    name_videos: Callable[[Sequence[str]], list[Outputs]]
    errors: list[str] = field(default_factory=list)
    count: Callable[[], int] | None = None


def named_inputs(arguments: argparse.Namespace, files: Sequence[str]) -> Inputs:
    """Photos of which each has files of its own: all are listed and named before the first is run,
    but for those of tar files, which come last.

    Args:
        arguments: Of the command.
        files: The formats of these files.

    Raises:
        ValueError: If there is no photo at all, or the output cannot be.
    """
    from openpaf.bulk.inputs import Input, is_image_address

    sources, tars = _sources(arguments)
    addresses = [source for source in sources if is_image_address(source)]
    videos, others = list_videos([source for source in sources if source not in addresses])
    photos, errors = find_photos(others, is_required=not (videos or addresses or tars))
    moving = set(map(os.path.realpath, videos))  # animated images of a folder are in both
    photos = [photo for photo in photos if os.path.realpath(photo) not in moving]
    paths = [*map(str, photos), *addresses]
    names = [*photos, *(Path(unquote(urlsplit(address).path)) for address in addresses)]
    outputs, folders = _outputs(arguments, [*names, *map(video_name, videos)], tars)
    of_photos = outputs[: len(paths)]
    of_videos = dict(zip(videos, outputs[len(paths) :], strict=True))
    inputs = [
        Input(path, output=replace(output, files=output.some(files)))
        for path, output in zip(paths, of_photos, strict=True)
        if output.files
        and arguments.shard.takes(path)
        and not (arguments.skip_existing and output.is_there())
    ]
    videos = [
        video for video in videos
        if arguments.shard.takes(video)
        and not (arguments.skip_existing and of_videos[video].is_there())
    ]  # fmt: skip

    def name_videos(those: Sequence[str]) -> list[Outputs]:
        return [of_videos[video] for video in those]

    if folders is None:
        return Inputs(inputs, len(inputs), videos, name_videos, errors)
    images = itertools.chain(inputs, tar_inputs(tars, folders, files, arguments))
    return Inputs(images, None, videos, name_videos, errors)


def listed_inputs(
    arguments: argparse.Namespace, wanted: Callable[[str], bool], on_error: Callable[[str], None]
) -> Inputs:
    """Photos that have rows of tables only: they are listed while the run goes on.

    Args:
        arguments: Of the command.
        wanted: Whether a path is to be run.
        on_error: Called with what is wrong with a source, from a thread.
    """
    from openpaf.bulk.inputs import Listing, is_image_address, is_tar
    from openpaf.video.base import VIDEO_SUFFIXES, is_video

    files = [s for s in arguments.sources if not (os.path.isdir(s) or is_image_address(s))]
    direct = [s for s in files if not (is_tar(s) or s == "-" or s[0] == "@" or glob.has_magic(s))]
    videos, _ = list_videos(direct)
    of_videos = set(videos)
    videos = [video for video in videos if arguments.shard.takes(video)]
    listing = Listing(
        sources=tuple(source for source in arguments.sources if source not in of_videos),
        recursive=arguments.recursive,
        shard=arguments.shard,
        wanted=wanted,
        on_error=on_error,
        on_video=videos.append,
        takes_video=lambda path: Path(path).suffix.lower() in VIDEO_SUFFIXES and is_video(path),
    )
    is_countable = not any(is_tar(source) or source == "-" for source in arguments.sources)

    def count() -> int:
        silent = replace(listing, on_error=lambda _: None, on_video=lambda _: None)
        return sum(1 for _ in silent)

    def name_videos(those: Sequence[str]) -> list[Outputs]:
        return name_outputs([*map(video_name, those)], arguments.output, arguments.format)

    return Inputs(listing, None, videos, name_videos, count=count if is_countable else None)


def first_of(images: Iterable[Input]) -> Iterator[Input] | None:
    """The same images, once it is seen that there is one; None if there is none."""
    rest = iter(images)
    first = next(rest, None)
    return None if first is None else itertools.chain([first], rest)


def _sources(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The sources with lists expanded, and folders as globs where subfolders count, too; and the
    tar files.

    Raises:
        ValueError: If the drawn images would be found by the next run.
    """
    from openpaf.bulk.inputs import expanded, is_tar

    expanded_sources = [one for source in arguments.sources for one, _ in expanded(source)]
    tars = [one for one in expanded_sources if is_tar(one) and not os.path.isdir(one)]
    sources = [one for one in expanded_sources if one not in set(tars)]
    if not arguments.recursive:
        return sources, tars
    output = os.path.realpath(arguments.output)
    for source in sources:
        inside = os.path.isdir(source) and f"{output}/".startswith(f"{os.path.realpath(source)}/")
        if inside and IMAGE in arguments.format:
            raise ValueError(f"--output: {shown(arguments.output)} is in a source; choose another")
    return with_subfolders(sources), tars


def _outputs(
    arguments: argparse.Namespace, sources: Sequence[Path], tars: Sequence[str]
) -> tuple[list[Outputs], OutputNames | None]:
    """The files of each source; and what names the folders of tar files, if there are some."""
    file = name_file(arguments.output, [*sources, *map(Path, tars)], arguments.format)
    if file is not None and tars:
        raise ValueError(
            f"--output: {shown(arguments.output)} is one file; a tar file needs a folder"
        )
    if file is not None:
        return [file], None
    folder = check_folder(arguments.output, arguments.sources, arguments.format)
    names = OutputNames(folder, arguments.format, sources)
    return [names.name(source) for source in sources], names if tars else None


def find_photos(
    sources: Sequence[str], *, is_required: bool = True
) -> tuple[list[Path], list[str]]:
    """The photos of the sources, and what is wrong with those that give none.

    Raises:
        ValueError: If there is no photo at all, and one is required.
    """
    from openpaf.io.images import list_images

    missing: list[str] = []
    photos = list_images(sources, on_error=lambda error: missing.append(one_line(error)))
    if not photos and is_required:
        raise no_photo(missing)
    return photos, missing


def no_photo(missing: Sequence[str]) -> ValueError:
    """The error of a run without any photo."""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return ValueError(f"no photo to read: {missing[0] if missing else 'no source has one'}{more}")

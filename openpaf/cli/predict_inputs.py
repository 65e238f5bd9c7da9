"""What ``openpaf predict`` is given: images, listed while the run goes on; and videos."""

from __future__ import annotations

import argparse
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.outputs import Outputs, name_outputs
from openpaf.cli.videos import list_videos, video_name

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Input, Listing


@dataclass
class Inputs:
    """What a run goes through.

    Args:
        images: In one pass.
        n_images: How many there are, if that is known.
        videos: In order, of all shards; complete when the images are through.
        name_videos: The output files of the videos.
        count: Counts the images, where their number is not known and can be; None if it cannot.
    """

    images: Iterable[Input]
    n_images: int | None
    videos: list[str]
    name_videos: Callable[[Sequence[str]], list[Outputs]]
    count: Callable[[], int | None] | None = None


def listed_inputs(
    arguments: argparse.Namespace, wanted: Callable[[str], bool], on_error: Callable[[str], None]
) -> Inputs:
    """Photos that have rows of tables only.

    Args:
        arguments: Of the command.
        wanted: Whether a path is to be run.
        on_error: Called with what is wrong with a source, from a thread.
    """
    from openpaf.bulk.inputs import Listing
    from openpaf.video.base import VIDEO_SUFFIXES, is_video

    videos, _ = list_videos(direct_files(arguments.sources))
    of_videos = set(videos)
    listing = Listing(
        sources=tuple(source for source in arguments.sources if source not in of_videos),
        recursive=arguments.recursive,
        shard=arguments.shard,
        wanted=wanted,
        on_error=on_error,
        on_video=videos.append,
        takes_video=lambda path: Path(path).suffix.lower() in VIDEO_SUFFIXES and is_video(path),
    )

    def name_videos(those: Sequence[str]) -> list[Outputs]:
        return name_outputs([*map(video_name, those)], arguments.output, arguments.format)

    return Inputs(listing, None, videos, name_videos, counter(listing))


def direct_files(sources: Sequence[str]) -> list[str]:
    """The sources that are single files, or streams."""
    from openpaf.bulk.inputs import is_image_address, is_tar

    return [
        source for source in sources
        if not (os.path.isdir(source) or is_image_address(source) or is_tar(source)
                or is_list(source) or is_glob(source))
    ]  # fmt: skip


def is_list(source: str) -> bool:
    """Whether a source is a file with a list, or one on standard input."""
    return source == "-" or (source.startswith("@") and not os.path.lexists(source))


def is_glob(source: str) -> bool:
    """Whether a source is a glob, and not a file of that name."""
    return glob.has_magic(source) and not os.path.lexists(source)


def counter(
    listing: Listing, takes: Callable[[Input], bool] = lambda one: True
) -> Callable[[], int | None] | None:
    """What counts the inputs of a listing; None where it cannot, as of standard input, which is
    there once, and of tar files, which would be read for it.

    Args:
        listing: Gone through once more, silently.
        takes: Which inputs count.
    """
    from openpaf.bulk.inputs import is_tar

    if any(is_tar(source) or source == "-" for source in listing.sources):
        return None
    silent = replace(listing, on_error=lambda _: None, on_video=lambda _: None, opens_tars=False)

    def count() -> int | None:
        n = 0
        for one in silent:
            if is_tar(one.path):
                return None
            n += takes(one)
        return n

    return count


def first_of(images: Iterable[Input]) -> Iterator[Input] | None:
    """The same images, once it is seen that there is one; None if there is none."""
    rest = iter(images)
    first = next(rest, None)
    return None if first is None else itertools.chain([first], rest)


def no_photo(missing: Sequence[str]) -> ValueError:
    """The error of a run without any photo."""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return ValueError(f"no photo to read: {missing[0] if missing else 'no source has one'}{more}")

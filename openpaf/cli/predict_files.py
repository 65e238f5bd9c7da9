"""Images of ``openpaf predict`` that have files of their own, named while they are listed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from openpaf.cli.common import one_line, shown, waiting
from openpaf.cli.outputs import IMAGE, RRD, OutputNames, check_folder, name_file, names_file
from openpaf.cli.own_files import OwnFiles
from openpaf.cli.predict_inputs import (
    Inputs,
    counter,
    direct_files,
    first_of,
    is_list,
    no_photo,
)
from openpaf.cli.predict_tars import of_tar, stem_of_tar
from openpaf.cli.videos import check_videos, list_videos, video_name
from openpaf.io.addresses import is_url
from openpaf.io.text_set import TextSet

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Input, Listing


def named_inputs(
    arguments: argparse.Namespace,
    files: Sequence[str],
    wanted: Callable[[str], bool] = lambda path: True,
    on_error: Callable[[str], None] = lambda message: None,
) -> Inputs:
    """Photos of which each has files of its own.

    Args:
        arguments: Of the command.
        files: The formats of these files.
        wanted: Whether a path is to be run; asked when the images are.
        on_error: Called with what is wrong with a source, also from a thread.

    Raises:
        ValueError: If there is no photo at all, or the output cannot be.
    """
    _check_recursion(arguments)
    errors: list[str] = []

    def tell(message: str) -> None:
        if len(errors) < 1000:  # for the error of a run without any photo
            errors.append(message)
        on_error(message)

    direct = direct_files(arguments.sources)
    videos, others = list_videos(direct)
    left_out = {*videos, *(source for source in others if not _is_there(source, tell))}
    listing = _listing(arguments, [s for s in arguments.sources if s not in left_out], videos, tell)
    photos = first_of(_read(listing, arguments, tell))
    check_videos(videos)
    if photos is None and not videos:
        raise no_photo(errors)
    if names_file(arguments.output):
        return _one_file(arguments, photos or (), videos, files)
    folder = check_folder(arguments.output, arguments.sources, arguments.format)
    own = OwnFiles(folder, draws=IMAGE in files)
    with waiting("looking for photos in the output folder"):
        inside = own.find(listing)
    names = OutputNames(folder, arguments.format, map(Path, [*inside, *videos]))
    named = _Named(arguments, files, names, own, wanted)
    images: Iterable[Input] = named.of(photos or ())
    # Addresses and files are few; and Rerun's files need a video, which is to be found first.
    if RRD in files or set(arguments.sources) <= {*direct, *_addresses(arguments.sources)}:
        images = list(images)
    is_counted = isinstance(images, Iterator) and not arguments.skip_existing
    return Inputs(
        images,
        len(images) if isinstance(images, list) else None,
        videos,
        lambda those: [names.name(video_name(video)) for video in those],
        counter(listing, lambda one: named.takes(_plain(one))) if is_counted else None,
    )


def _check_recursion(arguments: argparse.Namespace) -> None:
    """Refuse an output whose drawn images the next run would find."""
    output = os.path.realpath(arguments.output)
    for source in arguments.sources if arguments.recursive and IMAGE in arguments.format else ():
        if os.path.isdir(source) and f"{output}/".startswith(f"{os.path.realpath(source)}/"):
            raise ValueError(f"--output: {shown(arguments.output)} is in a source; choose another")


def _addresses(sources: Sequence[str]) -> list[str]:
    from openpaf.bulk.inputs import is_image_address

    return [source for source in sources if is_image_address(source)]


def _is_there(file: str, on_error: Callable[[str], None]) -> bool:
    """Whether a file is there, and of a kind that is read."""
    from openpaf.io.images import list_images

    return bool(list_images([file], on_error=lambda error: on_error(one_line(error))))


def _listing(
    arguments: argparse.Namespace,
    sources: Sequence[str],
    videos: list[str],
    on_error: Callable[[str], None],
) -> Listing:
    """The sources but for videos; of folders and globs these are added to the videos."""
    from openpaf.bulk.inputs import Listing
    from openpaf.video.base import is_video
    from openpaf.video.open import is_moving

    known = set(videos)

    def on_video(path: str) -> None:
        if path not in known:
            known.add(path)
            videos.append(path)

    return Listing(
        sources=tuple(sources), recursive=arguments.recursive, opens_tars=False,
        on_error=on_error, on_video=on_video,
        takes_video=lambda path: is_video(path) or is_moving(path),
    )  # fmt: skip


def _read(
    listing: Listing, arguments: argparse.Namespace, on_error: Callable[[str], None]
) -> Iterator[Input]:
    """The inputs, without those of kinds that are not read, but for tables, where they have rows;
    each file once, where there are several sources."""
    from openpaf.tables.files import TABLES

    has_rows = any(name in TABLES for name in arguments.format)
    seen = None if len(listing.sources) == 1 and not is_list(listing.sources[0]) else TextSet()
    for one in listing:
        if one.error is not None and not has_rows:
            on_error(one.error)
        elif seen is None or seen.add(one.path if is_url(one.path) else os.path.realpath(one.path)):
            yield _plain(one)


def _plain(one: Input) -> Input:
    """An input whose path has no ``./`` and the like."""
    return one if is_url(one.path) else replace(one, path=str(Path(one.path)))


def _one_file(
    arguments: argparse.Namespace, photos: Iterable[Input], videos: list[str], files: Sequence[str]
) -> Inputs:
    """The input of a run whose output is a file."""
    from openpaf.bulk.inputs import is_tar

    listed = list(photos)
    if any(is_tar(one.path) for one in listed):
        raise ValueError(
            f"--output: {shown(arguments.output)} is one file; a tar file needs a folder"
        )
    sources = [*(_name_of(one.path) for one in listed), *map(video_name, videos)]
    output = name_file(arguments.output, sources, arguments.format)
    images = [
        replace(one, output=replace(output, files=output.some(files)))
        for one in listed
        if output.files
        and arguments.shard.takes(one.path)
        and not (arguments.skip_existing and output.is_there())
    ]
    return Inputs(images, len(images), videos, lambda those: [output] * len(those))


def _name_of(path: str) -> Path:
    """The path after which the files of a photo are named."""
    name = Path(unquote(urlsplit(path).path)) if is_url(path) else Path(path)
    return name if name.stem else Path("image")


class _Named:
    """Gives each photo its files; what they are called is the same in each shard.

    Args:
        arguments: Of the command.
        files: The formats of the files.
        names: Gives the names.
        own: Tells photos from what the run has drawn.
        wanted: Whether a path is to be run.
    """

    def __init__(
        self, arguments: argparse.Namespace, files: Sequence[str], names: OutputNames,
        own: OwnFiles, wanted: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._arguments, self._files, self._names = arguments, files, names
        self._own, self._wanted = own, wanted

    def takes(self, one: Input) -> bool:
        """Whether an input is of this shard, and to be run."""
        return self._arguments.shard.takes(one.path) and self._wanted(one.path)

    def of(self, photos: Iterable[Input]) -> Iterator[Input]:
        """The photos with their files; those of a tar file have a folder of its name."""
        from openpaf.bulk.inputs import is_tar

        arguments, n_tars = self._arguments, 0
        for one in photos:
            if is_tar(one.path) and not is_url(one.path):
                folder = self._names.name_folder(stem_of_tar(one.path))
                if n_tars % arguments.shard.count == arguments.shard.index:
                    inside = of_tar(one.path, folder, self._files, arguments)
                    yield from (image for image in inside if self._wanted(image.path))
                n_tars += 1
            elif one.error is None and not self._own.has_made(one.path):
                output = self._names.name(_name_of(one.path))
                is_done = arguments.skip_existing and output.is_there()
                if output.files and self.takes(one) and not is_done:
                    yield replace(one, output=replace(output, files=output.some(self._files)))
            elif one.error is not None and self.takes(one):
                yield one

"""``openpaf weights``: list, fetch and verify shipped and published checkpoints."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from openpaf.cli.arguments import add_quiet_argument, add_verb
from openpaf.cli.common import one_line, path_argument, report, say, shown, waiting
from openpaf.errors import did_you_mean

_DESCRIPTION = """\
The checkpoints that openpaf knows: those inside the package, and published ones of others, which
are fetched into a cache. `openpaf predict --model NAME` runs them; with `--weights FILE` it takes
a file that you have from elsewhere, and nothing need be fetched.
"""
_EPILOG = """\
examples:
  openpaf weights list
  openpaf weights list cmu-body25         links, hashes, licence, and how it is run
  openpaf weights fetch cmu-body25        asks whether you agree to its licence
  openpaf weights verify                  hashes of all that is there

The cache is the platform's (on Linux ~/.cache/openpaf), or OPENPAF_CACHE, or --cache DIR.
exit status: 0 done; 1 verify: a file is damaged; 2 bad use, or no mirror gave the file.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb and its three actions."""
    parser = add_verb(
        verbs,
        "weights",
        None,
        help="list, fetch and verify checkpoints",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    for name, run, optional, text in (
        ("list", _list, True, "the table, or all that is known of one row"),
        ("fetch", _fetch, False, "download a published checkpoint into the cache"),
        ("verify", _verify, True, "compare hashes: of one checkpoint, or of all that are there"),
    ):
        action = add_verb(actions, name, run, help=text)
        action.add_argument("name", metavar="NAME", nargs="?" if optional else None)
        action.add_argument(
            "--cache", metavar="DIR", type=path_argument, help="in place of the platform's cache"
        )
        if name == "fetch":
            action.add_argument(
                "--accept-licence",
                "--accept-license",
                action="store_true",
                help="you have read it and agree",
            )
            add_quiet_argument(action, "no progress bar")


def _rows(name: str | None) -> list[dict[str, Any]]:
    """The rows of the table, or the one of this name.

    Raises:
        ValueError: If there is none.
    """
    from openpaf.weights.catalog import table

    rows = table()
    chosen = [row for row in rows if name in (None, row["name"])]
    if not chosen:
        known = ", ".join(row["name"] for row in rows)
        hint = did_you_mean(str(name), [row["name"] for row in rows])
        raise ValueError(f"NAME: got {name!r}{hint}, expected one of {known}")
    return chosen


def _list(arguments: argparse.Namespace) -> int:
    rows = _rows(arguments.name)
    if arguments.name is not None:
        _list_one(rows[0], arguments.cache)
        return 0
    header = f"{'name':<26} {'state':<9} {'MB':>5} {'skeleton':<9} {'hash':<8}  licence"
    measured: dict[str, list[str]] = {}
    say(header)
    for row in rows:
        size = f"{row['size'] / 1e6:.0f}" if row["size"] else "?"
        if row["AP"] is not None:
            protocol = row["protocol"] or "of its own, see its card"
            measured.setdefault(protocol, []).append(f"  {row['name']:<26} {row['AP']:.3f}")
        licence = row["licence"].split(":")[0].split(" (")[0]
        licence += ", non-commercial" if "non-commercial" in row["licence"] else ""
        say(
            f"{row['name']:<26} {_state(row, arguments.cache):<9} {size:>5} "
            f"{row['skeleton'] or '-':<9} {row['hash']:<8}  {licence}"
        )
    say("\nAP of COCO keypoints, comparable only within a protocol:")
    for protocol, lines in measured.items():
        say("\n".join([f"{protocol}:", *lines]))
    return 0


def _list_one(row: dict[str, Any], cache: Path | None) -> None:
    say(f"{'state':<14} {_state(row, cache)}")
    for name, value in row.items():
        if name == "source":
            for url in value:
                say(f"{'source':<14} {url}")
        elif value is not None and name not in ("shipped", "file", "hash"):
            say(f"{name:<14} {value}")


def _state(row: dict[str, Any], cache: Path | None) -> str:
    if row["shipped"]:
        return "shipped"
    return "fetched" if _file(row, cache).is_file() else "-"


def _file(row: dict[str, Any], cache: Path | None) -> Path:
    from openpaf.io.cache import cache_folder
    from openpaf.weights.published import find_published

    if row["shipped"]:
        return Path(row["file"])
    return cache_folder(cache) / find_published(row["name"]).file


def _fetch(arguments: argparse.Namespace) -> int:
    from openpaf.weights.download import fetch

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    (row,) = _rows(arguments.name)
    if row["shipped"]:
        say(f"{row['name']}: inside the package, nothing to fetch")
        return 0
    agreed = arguments.accept_licence
    if not _is_there(row["name"], arguments.cache):
        report(f"{row['name']}: licence: {row['licence']}")
        agreed = agreed or _agrees(row["name"])
    path = fetch(
        row["name"],
        cache=arguments.cache,
        accept_licence=agreed,
        progress=not arguments.quiet,
    )
    say(f"{row['name']}: {shown(path)}")
    return 0


def _is_there(name: str, cache: Path | None) -> bool:
    from openpaf.errors import WeightsError
    from openpaf.weights.download import cached

    try:
        return cached(name, cache).is_file()
    except WeightsError:
        return False


def _agrees(name: str) -> bool:
    """Whether the user says yes, on a terminal; without one they cannot be asked, and have not."""
    from openpaf.weights.published import find_published

    if not find_published(name).restricted or not sys.stdin.isatty():
        return False
    sys.stderr.write("Do you agree to it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _verify(arguments: argparse.Namespace) -> int:
    from openpaf.errors import WeightsError
    from openpaf.weights.catalog import verify

    damaged = 0
    for row in _rows(arguments.name):
        path = _file(row, arguments.cache)
        there = path.is_file()
        if not there and arguments.name is None:
            continue
        try:
            with waiting(f"reading {row['name']}"):
                how = verify(row["name"], cache=arguments.cache)
            say(f"{row['name']}: good ({how}), {shown(path)}")
        except WeightsError as error:
            if not there:
                raise
            damaged += 1
            report(one_line(error))
    return 1 if damaged else 0

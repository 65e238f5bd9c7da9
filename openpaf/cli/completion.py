"""``openpaf completion``: a script with which a shell completes the command line."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from openpaf.cli.arguments import add_verb
from openpaf.cli.common import path_argument, say, source_argument

_EPILOG = """\
examples:
  openpaf completion bash > ~/.local/share/bash-completion/completions/openpaf
  openpaf completion zsh > ~/.zfunc/_openpaf
  openpaf completion tcsh > ~/.completion.tcsh       source it in ~/.tcshrc
  eval "$(openpaf completion bash)"       for this shell only
"""


def add_parser(verbs: argparse._SubParsersAction[Any], root: argparse.ArgumentParser) -> None:
    """Describe the verb.

    Args:
        verbs: Where the verb is added.
        root: The parser of the whole command, which is what is completed.
    """
    parser = add_verb(
        verbs,
        "completion",
        functools.partial(run, root),
        help="a script with which the shell completes commands",
        description="Prints a script for the shell; needs the extra completion.",
        epilog=_EPILOG,
    )
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"),
        help="bash, zsh or tcsh")  # fmt: skip


def run(root: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from openpaf.io.extras import import_extra

    shtab = import_extra("shtab", "completion", "completion")
    _tell_values(root, shtab)
    say(shtab.complete(root, arguments.shell))
    return 0


def _tell_values(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Say what the arguments of a parser, and of its verbs, are completed with."""
    from openpaf.engines.table import engine_names
    from openpaf.weights.catalog import model_names

    names = {"engine": engine_names(), "model": model_names()}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _tell_values(verb, shtab)
        elif action.dest in names:
            action.choices = names[action.dest]
        elif action.type in (path_argument, source_argument):
            setattr(action, "complete", shtab.FILE)  # noqa: B010 (mypy knows no such attribute)

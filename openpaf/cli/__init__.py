"""The command ``openpaf``: one module a verb, and here what they share.

A verb's module has ``add_parser``, which describes it, and ``run``, which does it and returns the
exit status. Heavy imports are inside functions, so that ``openpaf --help`` is immediate.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import openpaf
from openpaf.cli import (
    analyze,
    annotate,
    benchmark,
    bulk,
    compare,
    completion,
    convert,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    serve,
    skeleton,
    train,
    warm_up,
    webcam,
    weights,
)
from openpaf.cli.common import described, one_line, report, shown, traceback_wanted
from openpaf.cli.interrupts import no_interrupt_is_swallowed
from openpaf.cli.signals import TERMINATED, exit_status, sigterm_like_ctrl_c
from openpaf.errors import did_you_mean

OK, SOME_SKIPPED, BAD_USE = 0, 1, 2

#: The verbs in the order of the help.
GROUPS = {
    "find people": ("predict", "webcam", "serve", "bulk", "demo"),
    "what they do": ("analyze",),
    "measure": ("evaluate", "compare", "benchmark"),
    "label and train": ("annotate", "convert", "skeleton", "train"),
    "models": ("weights", "export"),
    "this machine": ("warm-up", "doctor", "completion"),
}
_EPILOG = """\
examples:
  openpaf predict photo.jpg --output out
  openpaf predict photos/ more/*.png --output out --format coco
  openpaf predict street.mp4 --output out
  openpaf bulk photos/ --output table --recursive
  openpaf analyze squats.mp4 --repetitions left_knee
  openpaf webcam
  openpaf serve
  openpaf demo browser
  openpaf annotate photos/ --output labels.json
  openpaf convert annotations.xml labels.json
  openpaf train --from default --data labels.json --images photos/ --output run
  openpaf evaluate --annotations annotations.json --images photos/
  openpaf skeleton suggest annotations.json
  openpaf weights list
  openpaf warm-up
  openpaf doctor
  openpaf predict --help

exit status: 0 done; 1 done, but some input was skipped; 2 bad use, nothing done; 130 interrupted;
143 terminated (SIGTERM).
With OPENPAF_TRACEBACK=1 in the environment, an error comes with Python's traceback.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments after the command's name; those of the process where not given.

    Returns:
        The exit status: 0 done; 1 some input was skipped; 2 bad use, and one line on the standard
        error stream says what; 130 interrupted; 143 terminated by SIGTERM, with the same cleaning
        up. A traceback comes only where OPENPAF_TRACEBACK asks for it.
    """
    _prepare_streams()
    if sys.stderr.isatty():
        _show_waiting()
    try:
        with sigterm_like_ctrl_c(), no_interrupt_is_swallowed():
            status = _run(argv)
        sys.stdout.flush()  # here and not at exit, where an error would be shown as Python's
        return status
    except KeyboardInterrupt as interrupt:
        _forget_output()
        status = exit_status(interrupt)
        report("terminated" if status == TERMINATED else "interrupted")
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _forget_output()
        return SOME_SKIPPED
    except Exception as error:
        if traceback_wanted():
            raise
        _forget_output()
        report(described(error))
        return BAD_USE


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = command_parser().parse_args(argv)
    except SystemExit as stop:  # --help, --version, or a usage error that is already reported
        return int(stop.code or 0)
    if getattr(arguments, "verbose", False):
        logging.basicConfig(level=logging.INFO, format="openpaf: %(message)s")
    status: int = arguments.run(arguments)
    return status


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, where argparse prints the whole usage before it."""

    _given: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]  # argparse has overloads for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is unknown here, where the flags of the verb are known."""
        self._given = sys.argv[1:] if args is None else args
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            hint = did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        else:
            hint = self._meant_flag(message)
        report(f"{one_line(message)}{hint} (see: {self.prog} --help)")
        raise SystemExit(BAD_USE)

    def _meant_flag(self, message: str) -> str:
        """What the first flag that does not exist may have meant."""
        for argument in self._given:
            flag = argument.partition("=")[0]
            if flag == "--" or (self._subparsers is not None and not flag.startswith("-")):
                break  # what follows are files, or is for a verb
            if flag.startswith("--") and flag not in self._option_string_actions:
                hint = did_you_mean(flag, self._option_string_actions)
                is_named = re.search(rf"{re.escape(flag)}(?![\w-])", message)
                return hint if is_named else f"; got {shown(flag)}{hint}"
        return ""


class _VerbsInGroups(argparse.RawDescriptionHelpFormatter):
    """Lists the verbs by what they are for, one a line."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        texts = {verb.dest: verb.help for verb in action._choices_actions}
        lines = []
        for group, names in GROUPS.items():
            lines += [f"  {group}:", *(f"    {name:<12}{texts[name]}" for name in names)]
        return "\n".join(lines) + "\n"


def command_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = _Parser(
        prog="openpaf",
        description="Finds every person in an image and their joints.",
        epilog=_EPILOG,
        formatter_class=_VerbsInGroups,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"openpaf {openpaf.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb")
    predict.add_parser(verbs)
    bulk.add_parser(verbs)
    analyze.add_parser(verbs)
    annotate.add_parser(verbs)
    convert.add_parser(verbs)
    train.add_parser(verbs)
    benchmark.add_parser(verbs)
    evaluate.add_parser(verbs)
    compare.add_parser(verbs)
    skeleton.add_parser(verbs)
    weights.add_parser(verbs)
    webcam.add_parser(verbs)
    serve.add_parser(verbs)
    demo.add_parser(verbs)
    export.add_parser(verbs)
    warm_up.add_parser(verbs)
    doctor.add_parser(verbs)
    completion.add_parser(verbs, parser)
    return parser


def _prepare_streams() -> None:
    """Make sure that there are streams, and that any name can be printed on them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the process that started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_waiting() -> None:
    """Say on a terminal what takes long, such as to choose an engine the first time."""
    logger = logging.getLogger("openpaf.waiting")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("openpaf: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _forget_output() -> None:
    """Drop what cannot be written, so that Python does not complain about it when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

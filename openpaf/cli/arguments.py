"""The arguments that verbs share, a function for each group, so that names and defaults agree."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

from openpaf.cli.common import (
    IMAGE_THRESHOLD,
    path_argument,
    port_argument,
    positive_integer,
    score_argument,
)

#: Short side of the network's input in px.
SIZE = 368


def add_verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    *,
    help: str,
    description: str | None = None,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Describe a verb, or an action of one.

    Args:
        verbs: Where it is added.
        name: Of the verb.
        run: Does it, and returns the exit status; None where its actions do.
        help: The verb in some words.
        description: What it does; as ``help`` if None.
        epilog: Examples.

    Returns:
        Its parser, to which arguments are added.
    """
    parser = verbs.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the model and how it is run: what `openpaf.cli.models.load_estimator` takes."""
    add_model_arguments(parser)
    add_engine_arguments(parser)
    add_size_argument(parser)
    add_scale_arguments(parser)
    add_set_argument(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the model: ``--model`` and ``--weights``."""
    add = parser.add_argument
    add("--model", metavar="NAME_OR_PATH",
        help="default, fast, topdown, another name of `openpaf weights list`, or a file",
    )  # fmt: skip
    add("--weights", metavar="FILE", type=path_argument,
        help="a checkpoint to take in place of the model's own: .pth, .caffemodel, .npz ...",
    )  # fmt: skip


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what runs the network: ``--engine``, ``--device`` and ``--threads``."""
    from openpaf.engines.table import engine_names

    add = parser.add_argument
    names = ", ".join(engine_names()[1:])
    add("--engine", default="auto", metavar="E",
        help=f"{names}, or auto, the fastest (default: auto)")  # fmt: skip
    add("--runtime", dest="engine", action=_OldName, help=argparse.SUPPRESS)
    add("--device", metavar="D", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    add("--threads", type=positive_integer, metavar="N",
        help="threads of the CPU for the network (default: the engine's choice)")  # fmt: skip
    add("-v", "--verbose", action="store_true",
        help="say what is done, such as which engine was chosen, and why")  # fmt: skip


def add_size_argument(
    parser: argparse.ArgumentParser, *, several: bool = False, more: str = ""
) -> None:
    """Describe the size of the network's input, ``--size``.

    Args:
        parser: Gets it.
        several: Whether it takes several, which makes it a list.
        more: What else there is to say.
    """
    many: dict[str, Any] = {"nargs": "+", "default": [SIZE]} if several else {"default": SIZE}
    text = f"short side of the network's input in px{more} (default: {SIZE})"
    parser.add_argument("--size", type=positive_integer, metavar="N", help=text, **many)


def add_scale_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe more than one view of an image: ``--scales`` and ``--flip``."""
    add = parser.add_argument
    add("--scales", type=float, nargs="+", default=[1.0], metavar="S",
        help="merge the people of several sizes: multiples of --size or, from 32 on, px, e.g. "
        "256 368 640; each takes its own run of the network (default: 1)")  # fmt: skip
    add("--flip", action="store_true",
        help="average in the fields of the mirrored image, which takes twice as long")  # fmt: skip


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    """Describe ``--set``, which changes thresholds of the model's method."""
    parser.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="KEY=VALUE",
        help="a threshold of the parser, such as peak_threshold=0.3; may be given again",
    )  # fmt: skip


def add_batch_argument(parser: argparse.ArgumentParser, default: int = 1) -> None:
    """Describe ``--batch-size``."""
    parser.add_argument(
        "--batch-size", type=positive_integer, metavar="N", default=default,
        help="images at a time; more use a GPU better (default: %(default)s)",
    )  # fmt: skip


def add_threshold_argument(
    parser: argparse.ArgumentParser, default: float = IMAGE_THRESHOLD, *, more: str = ""
) -> None:
    """Describe ``--threshold``, the least score of people.

    Args:
        parser: Gets it.
        default: The threshold of images, or that of videos where people are followed.
        more: What else there is to say.
    """
    parser.add_argument(
        "--threshold", type=score_argument, metavar="S", default=default,
        help=f"leave out people who are less likely than this to be there{more} "
        "(default: %(default)s)",
    )  # fmt: skip


def add_smoothing_argument(parser: argparse.ArgumentParser) -> None:
    """Describe ``--no-smoothing``."""
    parser.add_argument(
        "--no-smoothing", dest="smoothing", action="store_false",
        help="leave the joints of videos as they are found in each frame",
    )  # fmt: skip


def add_address_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """Describe the address of a server: ``--host`` and ``--port``.

    Args:
        parser: Gets them.
        port: The default.
    """
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="H",
        help="address to listen on (default: 127.0.0.1, this computer only)")  # fmt: skip
    add("--port", type=port_argument, default=port, metavar="N",
        help=f"0 takes a free one (default: {port})")  # fmt: skip


def add_quiet_argument(
    parser: argparse.ArgumentParser, text: str = "no lines but errors, and no progress bar"
) -> None:
    """Describe ``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help=text)


def _setting(text: str) -> tuple[str, str]:
    """``KEY=VALUE``; which keys there are is known when the model is."""
    key, separator, value = text.partition("=")
    if not (key.strip() and separator and value.strip()):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key.strip(), value.strip()


class _OldName(argparse.Action):
    """A flag by its old name: it works, with a warning."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        warnings.warn(
            f"{option_string}: renamed, use --{self.dest}", DeprecationWarning, stacklevel=2
        )
        setattr(namespace, self.dest, values)

"""``openpaf demo``: the browser's camera, and what the parser saw in an image."""

from __future__ import annotations

import argparse
import json
import logging
import os
import ssl
from pathlib import Path
from typing import Any

from openpaf.cli.arguments import (
    add_address_arguments,
    add_engine_arguments,
    add_estimator_arguments,
    add_model_arguments,
    add_set_argument,
    add_size_argument,
    add_verb,
)
from openpaf.cli.common import (
    IMAGE_THRESHOLD,
    VIDEO_THRESHOLD,
    path_argument,
    say,
    score_argument,
    shown,
    source_argument,
    waiting,
)
from openpaf.cli.models import load_estimator
from openpaf.cli.photos import check_writable

_BROWSER = """\
A page that shows the skeletons of the people before the browser's camera. Open the address that is
printed; without a camera, drop an image on the page. Nothing is stored. Ctrl-C or SIGTERM stops it.

Only this computer can reach it unless --host says otherwise; browsers give pages of other computers
the camera over HTTPS only, for which there are --certificate and --key.
"""
_BROWSER_EXAMPLES = """\
examples:
  openpaf demo browser                  needs the extra demo
  openpaf demo browser --size 256 --port 8000
  openpaf demo browser --host 0.0.0.0 --name 192.168.1.5 --certificate cert.pem --key key.pem
"""
_FIELDS = """\
Draws an image's heatmaps, PAFs, candidate limbs and people as four panels of one image. A limb
connects two peaks of one person (green), or was accepted by the matching but the person has a
better one (orange), or was not accepted (gray). Without --limb and --joint not every score has
room; --crop enlarges a part of the image.
"""
_FIELDS_EXAMPLES = """\
examples:
  openpaf demo fields photo.jpg
  openpaf demo fields photo.jpg --limb left_shoulder-left_elbow --json fields.json
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb and its actions."""
    parser = add_verb(verbs, "demo", None, help="the browser's camera; fields of an image")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_browser(actions)
    _add_fields(actions)


def _add_browser(actions: argparse._SubParsersAction[Any]) -> None:
    parser = add_verb(
        actions,
        "browser",
        _run_browser,
        help="a page that shows skeletons over the browser's camera, or over dropped images",
        description=_BROWSER,
        epilog=_BROWSER_EXAMPLES,
    )
    add_address_arguments(parser, 8016)
    add = parser.add_argument
    add("--name", action="append", default=[], metavar="H",
        help="a further host name under which it is called")  # fmt: skip
    add_estimator_arguments(parser)
    add("--threshold", type=score_argument, metavar="S",
        help="leave out people who are less likely than this to be there (default: "
        f"{IMAGE_THRESHOLD}, of the camera {VIDEO_THRESHOLD})")  # fmt: skip
    add("--certificate", type=path_argument, metavar="FILE", help="PEM, for HTTPS")
    add("--key", type=path_argument, metavar="FILE", help="PEM, for HTTPS")


def _run_browser(arguments: argparse.Namespace) -> int:
    """Serve the page; what is missing here is found before the model is loaded."""
    from openpaf.io.extras import need_extra

    need_extra("demo", "demo browser")
    from aiohttp import web

    from openpaf.demos.browser import CAMERA, IMAGE, Server

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    secure = _encryption(arguments)
    thresholds = {CAMERA: VIDEO_THRESHOLD, IMAGE: IMAGE_THRESHOLD}
    if arguments.threshold is not None:
        thresholds = dict.fromkeys(thresholds, arguments.threshold)
    estimator = load_estimator(arguments, min_score=min(thresholds.values()))
    hosts = frozenset({"localhost", "127.0.0.1", "::1", arguments.host, *arguments.name})
    web.run_app(
        Server(estimator, hosts=hosts, thresholds=thresholds).app(),
        host=arguments.host,
        port=arguments.port,
        ssl_context=secure,
        access_log=None,
        shutdown_timeout=1.0,  # for clients to disconnect, instead of a minute
        print=say,
    )
    return 0


def _encryption(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """What HTTPS needs, if it is asked for.

    Raises:
        ValueError: If certificate and key cannot be read or do not go together.
    """
    if arguments.key and not arguments.certificate:
        raise ValueError("--key: expected --certificate too")
    if not arguments.certificate:
        return None
    for option, file in (("--certificate", arguments.certificate), ("--key", arguments.key)):
        if file and not file.is_file():
            raise ValueError(f"{option}: no file {shown(file)}")
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        secure.load_cert_chain(arguments.certificate, arguments.key)
    except OSError as error:  # ssl's own errors are some
        raise ValueError(f"--certificate, --key: not PEM files of one pair ({error})") from error
    return secure


def _add_fields(actions: argparse._SubParsersAction[Any]) -> None:
    parser = add_verb(
        actions,
        "fields",
        _run_fields,
        help="heatmaps, PAFs, candidate limbs and people of an image, as one image",
        description=_FIELDS,
        epilog=_FIELDS_EXAMPLES,
    )
    add = parser.add_argument
    add("image", metavar="IMAGE", type=source_argument, help="a file")
    add("--output", type=path_argument, default=Path("fields.png"), metavar="FILE",
        help="a PNG file (default: fields.png)")  # fmt: skip
    add("--json", type=path_argument, metavar="FILE",
        help="write all peaks and candidate limbs, in px of the image")  # fmt: skip
    add_model_arguments(parser)
    add_engine_arguments(parser)
    add_size_argument(parser)
    add_set_argument(parser)
    add("--joint", metavar="NAME",
        help="its heatmap, and its limbs if no --limb is given (default: all)")  # fmt: skip
    add("--limb", metavar="A-B", help="its field, its candidates, its joints (default: all)")
    add("--min-score", type=score_argument, default=0.1, metavar="S",
        help="draw no weaker peaks and limbs (default: 0.1)")  # fmt: skip
    add("--crop", type=int, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="draw only these px")


def _run_fields(arguments: argparse.Namespace) -> int:
    """Draw the panels; what can be wrong with the arguments is found before the network is run."""
    from openpaf.cli.outputs import write_image
    from openpaf.demos.panels import draw
    from openpaf.demos.parse import Parse, Shown, View, as_json
    from openpaf.geometry import Letterbox
    from openpaf.io.files import write_text
    from openpaf.io.images import read_image
    from openpaf.weights.catalog import resolve

    image = read_image(arguments.image)
    for option, file in (("--output", arguments.output), ("--json", arguments.json)):
        check_writable(file, option)
        if file and os.path.realpath(file) == os.path.realpath(arguments.image):
            raise ValueError(f"{option}: {shown(file)} is the image; choose another name")
    spec = resolve(arguments.model, arguments.weights).spec
    if "pafs" not in spec.outputs:
        raise ValueError(f"--model: {spec.name} makes no fields; expected one that does")
    chosen = Shown.of(spec.skeleton, arguments.joint, arguments.limb)
    estimator = load_estimator(arguments)
    letterbox = Letterbox.fit(image.shape[:2], estimator.size)
    view = View.of(letterbox, arguments.crop)
    with waiting("running the network and drawing"):
        parse = Parse.of(estimator.fields(image), estimator.config)
        drawn = draw(image, parse, view, chosen, arguments.min_score)
    write_image(drawn, arguments.output)
    if arguments.json:
        write_text(arguments.json, json.dumps(as_json(parse, letterbox), indent=1) + "\n")
    n_people, n_limbs = len(parse.people), len(parse.limbs.types)
    say(f"people: {n_people}, candidate limbs: {n_limbs}, image: {shown(arguments.output)}")
    return 0

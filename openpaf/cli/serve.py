"""``openpaf serve``: people over HTTP."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_address_arguments,
    add_batch_argument,
    add_estimator_arguments,
    add_quiet_argument,
    add_threshold_argument,
    add_verb,
)
from openpaf.cli.common import (
    counted,
    number_argument,
    positive_integer,
    report,
    say,
    waiting,
)
from openpaf.cli.models import load_estimator

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

_GRACE_S = 60  # until requests that are still open at a stop are broken off

_DESCRIPTION = """\
Answers HTTP requests with the people of images. SIGTERM or Ctrl-C stops it: it answers what is
queued, and ends with status 0.
  POST /predict        JPEG, PNG or WebP as the body, or a form with one file;
                       ?format=json (default), jpeg or png (drawn), &threshold=S
  GET  /health         model and engine
  GET  /metrics        figures for Prometheus
  GET  /openapi.json   all of it, in the form of OpenAPI
"""
_EPILOG = """\
examples:
  openpaf serve
  openpaf serve --port 9000 --engine openvino --size 256
  openpaf serve --host 0.0.0.0            for other computers, without password or encryption
  curl --data-binary @photo.jpg http://127.0.0.1:8017/predict
  curl -F image=@photo.jpg 'http://127.0.0.1:8017/predict?format=jpeg' --output drawn.jpg
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = add_verb(
        verbs,
        "serve",
        run,
        help="people over HTTP",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_address_arguments(parser, 8017)
    add_estimator_arguments(parser)
    add = parser.add_argument
    add_batch_argument(parser, 8)  # of the requests that wait
    add("--batch-wait", type=number_argument, default=5.0, metavar="MS",
        help="time in ms for which an idle network waits for more images (default: 5)")  # fmt: skip
    add_threshold_argument(parser, more="; requests may ask for more")
    add("--max-queue", type=positive_integer, default=32, metavar="N",
        help="requests at a time; further ones are told to come back (default: 32)")  # fmt: skip
    add("--max-megabytes", type=positive_integer, default=20, metavar="N",
        help="largest body of a request (default: 20)")  # fmt: skip
    add("--max-megapixels", type=positive_integer, default=24, metavar="N",
        help="largest image (default: 24)")  # fmt: skip
    add_quiet_argument(parser, "no lines but errors")


def run(arguments: argparse.Namespace) -> int:
    """Do it; what is missing here is found before the model is loaded."""
    from openpaf.io.extras import import_extra

    for module in ("uvicorn", "fastapi", "prometheus_client", "python_multipart"):
        import_extra(module, "serve", "serve")
    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    with contextlib.closing(_bind(arguments.host, arguments.port)) as listener:
        estimator = load_estimator(arguments, min_score=arguments.threshold)
        with waiting("preparing the first image"):
            _warm_up(estimator)
        listener.listen()  # before the line below, upon which programs send their first request
        address = _address(arguments.host, listener.getsockname()[1])
        if not _is_loopback(arguments.host):
            report(f"{address}: other computers may use it, without password or encryption")
        if not arguments.quiet:
            say(f"{estimator.spec.name} in {estimator.engine} answers on {address}/predict; "
                "Ctrl-C stops it")  # fmt: skip
        n_answers = _serve(estimator, arguments, listener)
    if not arguments.quiet:
        say(f"stopped after {counted(n_answers, 'request', 'requests')}")
    return 0


def _serve(estimator: PoseEstimator, arguments: argparse.Namespace, listener: socket.socket) -> int:
    """Answer until a signal says to stop; the number of requests that came."""
    import uvicorn

    from openpaf.serving.app import make_app
    from openpaf.serving.limits import Limits

    limits = Limits(
        max_bytes=arguments.max_megabytes * 1_000_000,
        max_pixels=arguments.max_megapixels * 1_000_000,
        max_queue=arguments.max_queue,
        max_batch=arguments.batch_size,
        max_wait_s=arguments.batch_wait / 1000,
    )
    config = uvicorn.Config(
        make_app(estimator, limits=limits, threshold=arguments.threshold),
        log_config=None,
        log_level="error",  # malformed requests are answered, and fill no log
        access_log=False,
        server_header=False,
        # Above the queue, whose refusals say when to come back; these bound open connections.
        limit_concurrency=4 * limits.max_queue + 64,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    # It stops by itself, and then raises the signal that it was stopped by.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return server.server_state.total_requests


def _bind(host: str, port: int) -> socket.socket:
    """A socket with an address, which is not yet listened on: until then clients are refused.

    Raises:
        ValueError: If the address cannot be had.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(kind, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        return listener
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--host, --port: {host!r}, {port}: {reason}") from error


def _warm_up(estimator: PoseEstimator) -> None:
    """Compile the parser, and prepare the engine, before the first request."""
    import numpy as np

    estimator(np.full((estimator.size, estimator.size, 3), 127, np.uint8))


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""A page that shows the skeletons of the people before the browser's camera.

    pip install '.[demo]'
    python demos/browser
    python demos/browser --size 192 --port 8000

Open the address that is printed. Without a camera, drop an image on the page. Only this computer
can reach it unless --host says otherwise; browsers give pages of other computers the camera over
HTTPS only, for which there are --certificate and --key. For a phone in the same network:

    python demos/browser --host 0.0.0.0 --name 192.168.1.5 --certificate cert.pem --key key.pem
"""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="demos/browser",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8016, help="0 takes a free one (8016)")
    add("--name", action="append", default=[], help="a further host name under which it is called")
    add("--model", metavar="NAME_OR_PATH", help="the shipped model if not given")
    add("--engine", default="auto", help="the engine (auto)")
    add("--size", type=int, default=256, metavar="N", help="short side of the input in px (256)")
    add("--certificate", type=Path, metavar="FILE", help="PEM, for HTTPS")
    add("--key", type=Path, metavar="FILE", help="PEM, for HTTPS")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is 0, or 2 after an error in one line."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        from aiohttp import web
        from server import Server

        import openpaf

        secure = None
        if arguments.certificate:
            secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            secure.load_cert_chain(arguments.certificate, arguments.key)
        estimator = openpaf.PoseEstimator(
            arguments.model, engine=arguments.engine, size=arguments.size
        )
        hosts = frozenset({"localhost", "127.0.0.1", "::1", arguments.host, *arguments.name})
        server = Server(estimator, hosts=hosts)
        # One second for clients to disconnect, instead of a minute.
        web.run_app(
            server.app(),
            host=arguments.host,
            port=arguments.port,
            ssl_context=secure,
            access_log=None,
            shutdown_timeout=1.0,
        )
    except ImportError as error:
        from openpaf.io.extras import install_hint

        print(f"demos/browser: {error}; {install_hint('demo')}", file=sys.stderr)
        return 2
    except (openpaf.WeightsError, ValueError, OSError) as error:
        print("demos/browser:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

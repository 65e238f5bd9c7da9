"""Web pages in one file: images inside, no scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1360px;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 0; flex: 1 1 0; min-width: 0; } figcaption { opacity: .75; }
.pair { display: flex; gap: 1rem; } img { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; } p { margin: .2rem 0 .6rem; } dt { font-weight: 600; }
"""


def page(title: str, body: str) -> str:
    """A whole page around a body of HTML."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table; the first column names the rows."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def image_data(image: NDArray[np.uint8], caption: str, *, quality: int = 85) -> str:
    """An image, RGB uint8 (H, W, 3), as JPEG, with its caption."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    size = f'width="{image.shape[1]}" height="{image.shape[0]}"'
    return _figure(buffer.getvalue(), "image/jpeg", caption, size)


def image_file(path: str | Path, caption: str) -> str:
    """A PNG file with its caption."""
    return _figure(Path(path).read_bytes(), "image/png", caption, "")


def _figure(data: bytes, kind: str, caption: str, size: str) -> str:
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure><img {size} alt="{escape(caption)}" src="{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )

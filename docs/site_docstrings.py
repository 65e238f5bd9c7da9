"""Docstrings as mkdocstrings wants them: its name of the section of examples, and no roles."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Changes them before they are parsed."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change that of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = re.sub(r":(?:func|class|mod|data|meth|attr|exc):(?=`)", "", text)

"""Hostile inputs by class, made from a seed, and the processes that try them.

A class is a module with ``make(rng, folder)``, which writes an input into an empty folder and
returns a :class:`fuzzing.case.Case`, and if it has something to do once a process, ``prepare()``.
"""

from __future__ import annotations

#: By the name on the command line, the module of each class.
CLASSES = {
    "images": "fuzzing.images",
    "weights": "fuzzing.weights",
    "json": "fuzzing.json_files",
    "toml": "fuzzing.toml_files",
    "fields": "fuzzing.fields",
    "steps": "fuzzing.steps",
    "configurations": "fuzzing.configurations",
    "videos": "fuzzing.videos",
    "messages": "fuzzing.messages",
    "command-lines": "fuzzing.command_lines",
}
#: Faults made on purpose, which show that the harness sees them.
OWN_FAULTS = {"faults": "fuzzing.faults"}

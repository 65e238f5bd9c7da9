"""Training files: valid ones are read as they are, others refused by file and key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.case import Case
from fuzzing.mutate import changed, damaged
from openpaf.training.config_files import read_config
from openpaf.training.tables import flat, plain

_OPTIMIZER: dict[str, Any] = {
    "name": "adamw", "steps": 9, "batch_size": 2, "learning_rate": 1e-3,
    "warmup": 1, "weight_decay": 0.0, "clip": 1.0, "average": 0.9, "checkpoint_every": 5,
    "validate_every": 5, "validation_size": 64, "precision": "float32",
}  # fmt: skip
_FIELDS: dict[str, Any] = {
    "output": "run", "name": "mine", "seed": 3,
    "network": {"name": "lightweight", "options": {"width": 8, "ranks": [1, 2, 3]}},
    "targets": {"grid_offsets": [3.5, 0.0], "sigma_px": 7.0},
    "distillation": {"weight": 0.0},
}  # fmt: skip
_DETECTOR: dict[str, Any] = {
    "output": "run", "name": "mine", "seed": 3,
    "network": {"name": "keypointrcnn_mobilenet_v2_fpn"},
}  # fmt: skip
_TABLES: dict[str, Any] = {
    "optimizer": _OPTIMIZER,
    "augment": {"crop_px": 64},
    "data": {
        "workers": 1,
        "sets": [{"annotations": "a.json", "images": "photos", "weight": 1.0, "holdout": [0, 5]}],
        "validation": {"annotations": "b.json", "images": "photos"},
    },
}
_NUMBERS = {key for key, value in flat({**_FIELDS, **_TABLES}).items() if isinstance(value, float)}


def make(rng: np.random.Generator, folder: Path) -> Case:
    path = folder / "train.toml"
    data = {**(_DETECTOR if rng.random() < 0.3 else _FIELDS), **_TABLES}
    choice = rng.random()
    if choice < 0.1:
        path.write_text(text_of(data))
        return Case(
            "valid", lambda: _compared(read_config(path), data), name=path.name, is_good=True
        )
    if choice < 0.35:
        how, raw = damaged(rng, text_of(data).encode())
        path.write_bytes(raw)
    elif choice < 0.45:
        how, raw = _texts(rng, text_of(data))
        path.write_bytes(raw)
    else:
        how, data = changed(rng, data)
        path.write_bytes(text_of(data).encode("utf-8", "surrogatepass"))

    def check() -> str | None:
        config = read_config(path)
        values = flat(plain(config))
        numbers = {key: values[key] for key in _NUMBERS & values.keys() if values[key] is not None}
        bad = [key for key, value in numbers.items() if not math.isfinite(value)]
        return f"{bad[0]} is not finite" if bad else None

    return Case(how.split(".")[-1], check, name=path.name)


def text_of(data: Any) -> str:
    """Values, then tables, then lists of tables."""
    return "\n".join(_lines(data, ()) if isinstance(data, dict) else [_value(data)]) + "\n"


def _lines(data: dict[Any, Any], place: tuple[Any, ...]) -> Iterator[str]:
    tables = {
        key: value for key, value in data.items()
        if isinstance(value, dict)
        or (isinstance(value, list) and value and all(isinstance(row, dict) for row in value))
    }  # fmt: skip
    for key, value in data.items():
        if key not in tables:
            yield f"{_text(key)} = {_value(value)}"
    for key, value in tables.items():
        name = ".".join(map(_text, (*place, key)))
        is_list = isinstance(value, list)
        for row in value if is_list else [value]:
            yield f"[[{name}]]" if is_list else f"[{name}]"
            yield from _lines(row, (*place, key))


def _value(value: Any) -> str:
    if value is None:
        return "null"  # which TOML has not
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "")


def _texts(rng: np.random.Generator, text: str) -> tuple[str, bytes]:
    """The text of a file with something wrong with it, or unusual."""
    choices: dict[str, bytes] = {
        "a BOM": b"\xef\xbb\xbf" + text.encode(),
        "UTF-16": text.encode("utf-16"),
        "nested deeply": b"a = " + b"[" * 100_000,
        "tables nested deeply": b"[" + b".".join([b"a"] * 20_000) + b"]",
        "a long number": text.replace("9", "9" * 5000, 1).encode(),
        "a key twice": (text + text).encode(),
        "empty": b"",
        "dates": text.replace("9", "2026-01-01", 1).encode(),
        "NUL": text.encode() + b"\0",
        "an index that is missing": text.replace("workers", 'index = "no.toml"\nworkers').encode(),
        "an index of itself": text.replace("workers", 'index = "train.toml"\nworkers').encode(),
        "old line ends": text.replace("\n", "\r\n").encode(),
    }
    name = list(choices)[int(rng.integers(len(choices)))]
    return name, choices[name]


def _compared(config: Any, data: dict[str, Any]) -> str | None:
    values = flat(plain(config))
    for key, value in flat(data).items():
        is_path = key == "output" or key.endswith(("annotations", "images"))
        if not is_path and values[key] != value:
            return f"{key} is {values[key]!r}, not {value!r}"
    return None

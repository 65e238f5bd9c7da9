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
from openpaf.training.rcnn.config import read_config as read_detector

_BASE: dict[str, Any] = {
    "output": "run", "name": "mine", "steps": 9, "batch_size": 2, "learning_rate": 1e-3,
    "warmup": 1, "weight_decay": 0.0, "clip": 1.0, "average": 0.9, "checkpoint_every": 5,
    "validate_every": 5, "size": 64, "workers": 1, "seed": 3,
}  # fmt: skip
_FIELDS: dict[str, Any] = {
    "width": 8, "n_refinement_stages": 0, "ranks": [],
    "picture_scales": [1.0], "optimizer": "adamw", "momentum": 0.9, "precision": "float32",
    "heatmap_offset": 3.5, "tensorboard": False, "skeleton": "coco17",
}  # fmt: skip
_SETS: dict[str, Any] = {
    "sets": [{"annotations": "a.json", "images": "photos", "weight": 1.0, "holdout": [0, 5]}],
    "validation": {"annotations": "b.json", "images": "photos"},
    "augment": {"crop_px": 64},
}


def make(rng: np.random.Generator, folder: Path) -> Case:
    path = folder / "train.toml"
    data = {**_BASE, **_FIELDS, **_SETS}
    read: Any = read_config
    if rng.random() < 0.3:
        data = {**_BASE, **_SETS, "method": "mask-rcnn", "network": "keypointrcnn_mobilenet_v2_fpn"}
        read = read_detector
    choice = rng.random()
    if choice < 0.1:
        path.write_text(text_of(data))
        return Case("valid", lambda: _compared(read(path), data), name=path.name, is_good=True)
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
        config = read(path)
        bad = [
            key for key in (*_BASE, *_FIELDS)
            if isinstance(value := getattr(config, key, None), float) and not math.isfinite(value)
        ]  # fmt: skip
        return f"{bad[0]} is {getattr(config, bad[0])}" if bad else None

    return Case(how.split(".")[-1], check, name=path.name)


def text_of(data: dict[str, Any]) -> str:
    """Values, then tables, then lists of tables."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Any) -> Iterator[str]:
    if not isinstance(data, dict):
        yield _value(data)
        return
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    lists = {
        key: value for key, value in data.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }  # fmt: skip
    for key, value in data.items():
        if key not in tables and key not in lists:
            yield f"{_text(key)} = {_value(value)}"
    for key, value in tables.items():
        yield f"[{_text(key)}]"
        yield from (f"{_text(k)} = {_value(v)}" for k, v in value.items())
    for key, rows in lists.items():
        for row in rows:
            yield f"[[{_text(key)}]]"
            yield from (f"{_text(k)} = {_value(v)}" for k, v in row.items())


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
        "an index that is missing": b'index = "no.toml"\n' + text.encode(),
        "an index of itself": b'index = "train.toml"\n' + text.encode(),
        "old line ends": text.replace("\n", "\r\n").encode(),
    }
    name = list(choices)[int(rng.integers(len(choices)))]
    return name, choices[name]


def _compared(config: Any, data: dict[str, Any]) -> str | None:
    for key, value in data.items():
        found = getattr(config, key)
        if isinstance(value, (int, float, str)) and key != "output" and found != value:
            return f"{key} is {found!r}, not {value!r}"
    return None if config.augment.crop_px == 64 and len(config.sets) == 1 else "other tables"

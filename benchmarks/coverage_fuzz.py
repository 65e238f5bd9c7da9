"""Coverage-guided inputs for the parsers that are pure Python, by atheris (pip install atheris).

    python benchmarks/coverage_fuzz.py caffe -max_total_time=60
    python benchmarks/coverage_fuzz.py header CORPUS -max_total_time=600
    python benchmarks/coverage_fuzz.py json -runs=100000 -seed=1

What follows the parser's name is libFuzzer's: folders of inputs to begin with, and options. An
input must give a result or one clear error; whatever else comes out ends the run, and the input is
written to ``crash-...`` in the current folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("coverage_fuzz.py: needs atheris; pip install atheris")

with atheris.instrument_imports(include=["openpaf"]):
    import openpaf.evaluation.annotations
    import openpaf.io.pose_files
    import openpaf.io.toml_files
    import openpaf.weights
    import openpaf.weights.caffe
    import openpaf.weights.checkpoints

from fuzzing.case import Case, outcome_of

_PATH = Path(tempfile.mkdtemp(prefix="openpaf-coverage-")) / "input.bin"


def _caffe() -> None:
    openpaf.weights.caffe.read_caffemodel(_PATH)


def _header() -> None:
    """The header of a safetensors file, and what it says of the model."""
    openpaf.weights.read_header(_PATH)


def _state() -> None:
    """Any checkpoint by its first bytes."""
    openpaf.weights.checkpoints.read_state(_PATH)


def _json() -> None:
    """Pose files and label files; what one of them refuses goes to the other all the same."""
    with contextlib.suppress(ValueError):
        openpaf.io.pose_files.read_poses(_PATH)
    openpaf.evaluation.annotations.read_annotations(_PATH)


def _toml() -> None:
    openpaf.io.toml_files.read_toml(_PATH)


PARSERS: dict[str, Callable[[], None]] = {
    "caffe": _caffe, "header": _header, "state": _state, "json": _json, "toml": _toml
}  # fmt: skip


def _wrapped(name: str, data: bytes) -> bytes:
    """The bytes as a file of the format: a header gets its length, and a model its place in it."""
    if name != "header":
        return data
    if data[:1] == b"{":
        text = json.dumps({"__metadata__": {"openpaf": data.decode("utf-8", "replace")}}).encode()
    else:
        text = data
    return len(text).to_bytes(8, "little") + text


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"coverage_fuzz.py: expected one of {', '.join(PARSERS)}, and libFuzzer's options")
    name = sys.argv.pop(1)

    def one_input(data: bytes) -> None:
        _PATH.write_bytes(_wrapped(name, data))
        outcome, said = outcome_of(Case(name, PARSERS[name]))
        if outcome not in ("right", "refused"):
            raise RuntimeError(f"{outcome}: {said}")

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

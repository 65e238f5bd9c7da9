"""Strange fields through the parser: valid people or one clear error, soon, and the same again.

Every case is decoded three times, once in another thread: the same valid ``Poses`` or the same
``ValueError`` that begins with the name of the argument, without a warning, within a second of CPU
time (three for optimal matching). Memory may grow by 8 times the fields, 64 bytes a pair of peaks
that may be tied by a limb, and 64 MB. The oracle for people is the plain NumPy parser.
"""

from __future__ import annotations

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import strange
from strange import fault_of, strange_case, strange_fields

from fuzzing.case import Case
from openpaf import DecodeConfig, Fields, Poses, decode

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import reference_decoder

LIMIT_S = {"greedy": 1.0, "optimal": 3.0}  # CPU time of one thread, for 46 x 82 cells
SLACK_BYTES = 64 << 20
_MESSAGE = re.compile(r"\w+( of '\w+')?: [^\n]{1,500}")
_pool = ThreadPoolExecutor(1)


def prepare() -> None:
    """Compiles the kernels of both matchings, so that no case is timed with that."""
    for matching in ("greedy", "optimal"):
        for kind in ("noise", "peaks"):
            decode(strange_fields(kind, 1, 9, 7), DecodeConfig(matching=matching, max_peaks=2))


def make(rng: np.random.Generator, folder: Path) -> Case:
    if rng.random() < 0.1:
        return _as_the_plain_parser(rng, folder)
    case = strange_case(int(rng.integers(2**31)), int(rng.integers(2**31)))
    (folder / "input.txt").write_text(
        f"heatmaps {case.heatmaps!r}\npafs {case.pafs!r}\ngrids {case.grids}\n"
        f"skeleton {case.skeleton.name}\nconfig {case.config}\n",
        errors="backslashreplace",
    )
    most_mb = (_may_take_bytes(case) + SLACK_BYTES) >> 20
    return Case(case.kind, lambda: _checked(case), strict=True, most_mb=most_mb)


def _may_take_bytes(case: strange.Case) -> int:
    try:
        fields, config = case.fields(), DecodeConfig(**case.config)
    except Exception:  # no fields, so nothing to be parsed
        return 0
    h, w = fields.size_cells
    most_peaks = min(int(config.max_peaks), h * w if min(h, w) < 3 else (h // 2 + 1) * (w // 2 + 1))
    pairs = fields.skeleton.n_limbs * most_peaks**2
    return 8 * (fields.heatmaps.nbytes + fields.pafs.nbytes) + 64 * pairs


def _checked(case: strange.Case) -> str | None:
    first, again, elsewhere = _outcome(case), _outcome(case), _pool.submit(_outcome, case).result()
    result, fields, config, seconds = first
    limit_s = LIMIT_S.get(config.matching if config else "greedy", LIMIT_S["greedy"])
    if min(seconds, again[3]) > limit_s:
        return f"took {seconds:.1f} s, and {again[3]:.1f} s when repeated"
    for name, other in (("repeated", again[0]), ("in another thread", elsewhere[0])):
        if not _is_same(result, other):
            return f"different when {name}: {result} and {other}"
    if not isinstance(result, Poses):
        if isinstance(result, ValueError) and not _MESSAGE.fullmatch(str(result)):
            return f"unclear ValueError: {result}"
        raise result
    assert fields is not None
    return fault_of(result, fields, config)


def _outcome(case: strange.Case) -> tuple[Any, Fields | None, DecodeConfig | None, float]:
    fields = config = None
    start = time.thread_time()
    try:
        fields, config = case.fields(), DecodeConfig(**case.config)
        result: Any = decode(fields, config)
    except Exception as error:  # whatever it is: the caller judges it
        result = error
    return result, fields, config, time.thread_time() - start


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Poses):
        return isinstance(other, Poses) and one == other
    return type(one) is type(other) and str(one) == str(other)


def _as_the_plain_parser(rng: np.random.Generator, folder: Path) -> Case:
    """Fields of people, more or less well seen: the kernels do what plain NumPy does."""
    fields = strange.fields_of_people(rng, int(rng.integers(4, 17)), int(rng.integers(4, 17)))
    np.savez(folder / "fields.npz", heatmaps=fields.heatmaps, pafs=fields.pafs)

    def check() -> str | None:
        found, wanted = decode(fields), reference_decoder.decode(fields)
        if len(found) != len(wanted):
            return f"{len(found)} people, the plain parser {len(wanted)}"
        for name, most in (("scores", 1e-3), ("xy", 0.02), ("person_scores", 1e-3)):
            if not np.allclose(getattr(found, name), getattr(wanted, name), atol=most,
                               equal_nan=True):  # fmt: skip
                return f"{name} differ from the plain parser's"
        return None

    return Case("people, as the plain parser", check, is_good=True, strict=True)

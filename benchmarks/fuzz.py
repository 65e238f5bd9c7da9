"""Strange fields through the parser: valid people or one clear error, soon, and the same again.

    python benchmarks/fuzz.py [--runs 10000] [--seed 0] [--only I]

Every run makes fields, grids and thresholds that nobody would ask for (see strange.py) and decodes
them three times, once in another thread. Each time it must give the same valid ``Poses``, or the
same ``ValueError`` of one line that begins with the name of the argument, without a warning, within
a second of CPU time (three for optimal matching). The memory of the process may grow by 8 times the
largest fields, 64 bytes a pair of peaks that may be tied by a limb, and 64 MB. Exits with 1 if any
run does otherwise.

After a crash, NUMBA_BOUNDSCHECK=1 and a NUMBA_CACHE_DIR of its own make an index beyond an array
an error that is listed with the others.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import re
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from strange import KINDS, MORE_KINDS, Case, fault_of, strange_case, strange_fields
from tqdm import tqdm

from openpaf import DecodeConfig, Fields, Poses, decode

LIMIT_S = {"greedy": 1.0, "optimal": 3.0}  # CPU time of one thread, for 46 x 82 cells
SLACK_BYTES = 64 << 20
_MESSAGE = re.compile(r"\w+( of '\w+')?: [^\n]{1,500}")


class Run(NamedTuple):
    """What came of a case: people or an error, its cost, and what is wrong with it if anything."""

    kind: str
    n_people: int
    is_error: bool
    seconds: float
    may_take_bytes: int
    fault: str | None


def run(case: Case, pool: ThreadPoolExecutor) -> Run:
    """A case three times, the last in a thread of the pool."""
    first, again, elsewhere = _outcome(case), _outcome(case), pool.submit(_outcome, case).result()
    result, fields, config, seconds = first
    fault = None
    if isinstance(result, Poses):
        assert fields is not None
        fault = fault_of(result, fields, config)
    elif not isinstance(result, ValueError):
        fault = f"{type(result).__name__}: {result}"
    elif not _MESSAGE.fullmatch(str(result)):
        fault = f"unclear ValueError: {result}"
    limit_s = LIMIT_S.get(config.matching if config else "greedy", 0)
    if fault is None and seconds > limit_s:
        fault = f"took {seconds:.1f} s, and {again[3]:.1f} s when repeated"
    for name, other in (("repeated", again[0]), ("in another thread", elsewhere[0])):
        if fault is None and not _is_same(result, other):
            fault = f"different when {name}: {result} and {other}"
    return Run(
        kind=case.kind,
        n_people=len(result) if isinstance(result, Poses) else 0,
        is_error=not isinstance(result, Poses),
        seconds=seconds,
        may_take_bytes=_may_take_bytes(fields, config) if fields and config else 0,
        fault=fault,
    )


def _may_take_bytes(fields: Fields, config: DecodeConfig) -> int:
    h, w = fields.size_cells
    most_peaks = min(int(config.max_peaks), h * w if min(h, w) < 3 else (h // 2 + 1) * (w // 2 + 1))
    pairs = fields.skeleton.n_limbs * most_peaks**2
    return 8 * (fields.heatmaps.nbytes + fields.pafs.nbytes) + 64 * pairs


def _outcome(case: Case) -> tuple[Any, Fields | None, DecodeConfig | None, float]:
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


def warm_up() -> None:
    """Compiles the kernels of both matchings, so that no case is timed with that."""
    for matching in ("greedy", "optimal"):
        for kind in ("noise", "peaks"):
            fields = strange_fields(kind, 1, 9, 7)
            decode(fields, DecodeConfig(matching=matching, max_peaks=2))


def runs(cases: Iterable[Case]) -> Iterator[Run]:
    """Every case's run, in order. Warnings count as faults."""
    with ThreadPoolExecutor(1) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in cases:
            yield run(case, pool)


def print_summary(done: list[Run]) -> None:
    print(f"{'kind':12} {'runs':>6} {'errors':>6} {'people':>8} {'slowest ms':>10}")
    for kind in (*KINDS, *MORE_KINDS, ""):
        some = [one for one in done if kind in ("", one.kind)]
        if some:
            print(f"{kind or 'all':12} {len(some):6} {sum(one.is_error for one in some):6} "
                  f"{sum(one.n_people for one in some):8} "
                  f"{1000 * max(one.seconds for one in some):10.1f}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="I", help="this run alone, and its arguments")
    arguments = parser.parse_args()
    faulthandler.enable()
    logging.getLogger("openpaf").setLevel(logging.ERROR)  # "more than max_peaks", hundreds of times
    which = range(arguments.runs) if arguments.only is None else [arguments.only]
    if arguments.only is not None:
        case = strange_case(arguments.seed, arguments.only)
        print(f"heatmaps {case.heatmaps!r}\npafs {case.pafs!r}\ngrids {case.grids}\n"
              f"skeleton {case.skeleton.name}\nconfig {case.config}")  # fmt: skip
    warm_up()
    before = _peak_bytes()
    cases = (strange_case(arguments.seed, i) for i in which)
    done = list(tqdm(runs(cases), total=len(which), unit="run", disable=None))
    grown = _peak_bytes() - before
    print_summary(done)
    faults = [(i, one) for i, one in zip(which, done, strict=True) if one.fault]
    for i, one in faults[:20]:
        print(f"--seed {arguments.seed} --only {i}: {one.kind}: {one.fault}", file=sys.stderr)
    if faults:
        kinds = Counter(one.fault.split(":")[0] for _, one in faults if one.fault)
        print(f"{len(faults)} faults: {dict(kinds.most_common(9))}", file=sys.stderr)
    may_grow = max(one.may_take_bytes for one in done) + SLACK_BYTES
    print(f"memory grew by {grown >> 20} MB of the {may_grow >> 20} MB that the largest may take")
    return int(bool(faults) or grown > may_grow)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.exit(main())

"""How long very many photos take on several machines, on paper, and what bounds it.

    python benchmarks/bulk_estimate.py [--photos 10000000] [--nodes 64] [--cores 16] ...

Nothing is measured here: the numbers of the machines are arguments; those of a photo are printed by
benchmarks/bulk.py. A run takes as long as the slowest of its resources, beside the start and the
listing. A part, or tar file, is made by one core.
"""

from __future__ import annotations

import argparse
import math
import sys


def bounds(a: argparse.Namespace, kind: str) -> dict[str, float]:
    """Seconds that each resource needs, if it were the only one."""
    ops = {"files": 3, "tar": 3 / a.photos_of_tar, "objects": 1}[kind]  # lookup, open, read
    listed = {"files": 1, "tar": 1 / a.photos_of_tar, "objects": 0}[kind]
    part = a.photos_of_tar if kind == "tar" else a.part_size
    turns = math.ceil(math.ceil(a.photos / part) / (a.nodes * a.cores))
    return {
        "processors": turns * part * a.cpu_ms / 1000,
        "bytes": a.photos * a.photo_kb * 1e3 / (a.storage_gb * 1e9),
        "operations of storage": a.photos * ops / a.storage_ops,
        "table": a.photos * a.row_bytes / (a.storage_gb * 1e9),
        "listing, once": a.photos * listed / a.listed_a_second,
        "listing by every node": a.nodes * a.photos * listed / a.storage_listed_a_second,
        "start": a.start_s,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=int, default=10_000_000)
    add("--nodes", type=int, default=64)
    add("--cores", type=int, default=16, help="of a node (16)")
    add("--cpu-ms", type=float, default=45, help="CPU of a photo on a core, all steps (45)")
    add("--photo-kb", type=float, default=120, help="of a photo's file (120)")
    add("--storage-gb", type=float, default=2.5, help="a second, all nodes together (2.5)")
    add("--storage-ops", type=float, default=20_000, help="a second, all nodes together (20000)")
    add("--listed-a-second", type=float, default=20_000, help="names, by one node (20000)")
    add("--storage-listed-a-second", type=float, default=100_000, help="by all nodes (100000)")
    add("--photos-of-tar", type=int, default=5_000, help="in a tar file (5000)")
    add("--part-size", type=int, default=1_000, help="photos of a part (1000)")
    add("--row-bytes", type=float, default=700, help="of a row in Parquet (700)")
    add("--start-s", type=float, default=60, help="of a process, with a warm cache (60)")
    arguments = parser.parse_args()
    kinds = {"files": "single files", "tar": "tar files", "objects": "an object store, a list"}
    times = {kind: bounds(arguments, kind) for kind in kinds}
    print(f"| minutes of | {' | '.join(kinds.values())} |\n|---|" + "--:|" * len(kinds))
    for name in times["files"]:
        values = [f"{times[kind][name] / 60:.1f}" for kind in kinds]
        print(f"| {name} | {' | '.join(values)} |")
    totals, slowest = [], []
    for seconds in times.values():
        work = {
            name: seconds[name]
            for name in ("processors", "bytes", "operations of storage", "table")
        }
        totals.append(seconds["start"] + seconds["listing, once"] + max(work.values()))
        slowest.append(max(work, key=lambda name: work[name]))
    print(f"| **all, listed once** | {' | '.join(f'**{s / 60:.1f}**' for s in totals)} |")
    print(f"| bound by | {' | '.join(slowest)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One estimator called from many threads gives each its own people: every engine, few cores, many.

Each case is a process of its own, as the cores that a process may use are counted when its
engines start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openpaf import PoseEstimator, Poses
from openpaf.engines.onnx_engine import onnx_bytes
from openpaf.engines.openvino_engine import convert, write_openvino
from openpaf.engines.table import ENGINES
from openpaf.weights import resolve

_SIZE = 96
_N_THREADS, _N_CALLS = 8, 24
_MODELS = {
    # Not those that run files alone.
    **{name: ("fast", name) for name in ENGINES if name not in ("litert", "coreml")},
    "onnx file": ("fast.onnx", "auto"),
    "openvino file": ("fast.xml", "auto"),
    "detector": ("mask-rcnn-mobilenet", "auto"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported files."""
    for module in ("onnxruntime", "openvino"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("exported")
    source = resolve("fast")
    (folder / "fast.onnx").write_bytes(onnx_bytes(source))
    write_openvino(convert(source), folder / "fast.xml")
    return folder


@pytest.fixture(scope="module", params=["one core", "all cores"])
def differing(request: pytest.FixtureRequest, folder: Path) -> dict[str, int]:
    """How many calls from threads give other people than calls one after the other."""
    if request.param == "one core" and not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be kept to a core here")
    environment = {**os.environ, "OPENPAF_CACHE": str(folder / "cache")}
    # Threads that wait must not hold the core that others need.
    environment.update(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="PASSIVE")
    done = subprocess.run(
        [sys.executable, __file__, request.param, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", _MODELS)
def test_threads_get_their_own_people(name: str, differing: dict[str, int]) -> None:
    assert differing[name] == 0


def main(cores: str, folder: str) -> None:
    """Write for each engine how many calls differ."""
    if cores == "one core":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.setswitchinterval(1e-4)
    differing = {}
    for name, (model, engine) in _MODELS.items():
        path = Path(folder) / model
        differing[name] = n_differing(path if path.is_file() else model, engine)
    sys.stdout.write(json.dumps(differing))


def n_differing(model: str | Path, engine: str) -> int:
    """How many of the calls from threads give other people than calls one after the other."""
    photos = _photos()
    estimator = PoseEstimator(model, engine=engine, size=_SIZE)
    calls: list[Callable[[Any], list[Poses]]] = [
        lambda photo: [estimator(photo)],
        lambda photo: estimator.batch([photo, photo]),
    ]
    if "pafs" in estimator.spec.outputs:
        several = PoseEstimator(model, engine=engine, size=_SIZE, scales=(1.0, 1.5), flip=True)
        calls.append(lambda photo: [several(photo)])
    works = [(call, photo) for call in calls for photo in photos]
    serial = [call(photo) for call, photo in works]
    assert len({poses[0].xy.tobytes() for poses in serial}) > len(photos) // 2
    chosen = [i % len(works) for i in range(_N_CALLS)]
    with ThreadPoolExecutor(_N_THREADS) as pool:
        results = list(pool.map(lambda i: works[i][0](works[i][1]), chosen))
    return sum(not _same(serial[i], result) for i, result in zip(chosen, results, strict=True))


def _photos() -> list[np.ndarray]:
    """Parts of two photos, of two shapes."""
    from openpaf.io.images import list_images, read_image

    folder = Path(__file__).resolve().parents[1] / "data" / "photos"
    photos = []
    for path in list_images(folder)[:2]:
        image = read_image(path)
        h, w = image.shape[:2]
        photos += [image, np.ascontiguousarray(image[: h * 3 // 4, : w * 3 // 4])]
    return photos


def _same(expected: list[Poses], found: list[Poses]) -> bool:
    return len(expected) == len(found) and all(
        len(a) == len(b) and np.allclose(a.xy, b.xy, atol=0.05, equal_nan=True)
        for a, b in zip(expected, found, strict=True)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

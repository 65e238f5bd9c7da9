"""An engine and a method from outside of the package: a file and a row in a table for each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import openpaf
from openpaf.cli import main
from openpaf.engines import auto
from openpaf.engines.table import ENGINES, EngineEntry
from openpaf.estimator.methods import METHODS
from openpaf.weights import load_model, resolve, save

_ENGINE = """
import numpy as np
from openpaf.engines.table import load_named

def available(source, precision):
    return True

def load(source, device, *, threads, precision):
    engine = load_named(source, "torch", device, threads=threads)
    return lambda images: {name: array + 0 for name, array in engine(images).items()}
"""

_METHOD = """
import numpy as np
from openpaf import Poses
from openpaf.engines.load import load_source

class Brightest:
    \"\"\"One person, whose every joint is at the highest cell of its map.\"\"\"

    def __init__(self, engine, spec, options):
        self.run, self.engine, self.spec, self.options = engine, engine.name, spec, options

    @classmethod
    def load(cls, source, options):
        return cls(load_source(source, options.engine, options.device), source.spec, options)

    def infer(self, images):
        inputs = [np.float32(image.transpose(2, 0, 1)[None]) for image in images]
        return [self.run(one)["maps"][0] for one in inputs]

    def postprocess(self, inferred, image_hw, passed=None):
        maps = inferred[:-1]
        cells = np.stack(np.unravel_index(maps.reshape(len(maps), -1).argmax(1), maps.shape[1:]))
        xy = self.spec.heatmap_grid.to_px(cells[::-1].T)
        return Poses(xy=xy[None], scores=np.ones((1, len(maps))), person_scores=np.ones(1),
                     skeleton=self.spec.skeleton)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_an_engine_from_outside(
    folder: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (folder / "own_engine.py").write_text(_ENGINE)
    monkeypatch.setitem(ENGINES, "own", EngineEntry(module="own_engine"))
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    poses = openpaf.PoseEstimator("fast", engine="own", size=128)(photo)
    assert poses == openpaf.PoseEstimator("fast", engine="torch", size=128)(photo)
    # The command line and "auto" know it from the table.
    arguments = ["predict", str(photo), "--output", str(folder), "--model", "fast"]
    assert main([*arguments, "--engine", "own", "--size", "64"]) == 0
    assert main(["predict", "--help"]) == 0
    assert "own, or auto" in " ".join(capsys.readouterr().out.split())
    monkeypatch.delenv("OPENPAF_ENGINE", raising=False)
    monkeypatch.setattr(auto, "ENGINES", {name: ENGINES[name] for name in ("torch", "own")})
    monkeypatch.setattr(auto, "_SECONDS", 0.01)
    assert set(auto.fastest_engine(resolve("fast")).seconds) == {"torch", "own"}


def test_a_method_from_outside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_method.py").write_text(_METHOD)
    monkeypatch.setitem(METHODS, "brightest", "own_method:Brightest")
    network, spec = load_model("fast")
    spec = dataclasses.replace(spec, name="own", method="brightest", outputs=("maps", "others"))
    save(network.state_dict(), folder / "own.safetensors", spec)
    estimator = openpaf.PoseEstimator(folder / "own.safetensors", engine="torch")
    assert estimator.spec.outputs == ("maps", "others")  # as the file says
    image = np.zeros((64, 96, 3), np.uint8)
    (poses,) = estimator.batch([image])
    assert poses.xy.shape == (1, spec.skeleton.n_joints, 2)
    with pytest.raises(ValueError, match=r"fields: the model 'own' gives no part affinity"):
        estimator.fields(image)
    monkeypatch.delitem(METHODS, "brightest")
    with pytest.raises(openpaf.WeightsError, match="method: expected one of part_affinity"):
        openpaf.PoseEstimator(folder / "own.safetensors")

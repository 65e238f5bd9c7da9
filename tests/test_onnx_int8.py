"""ONNX files in 8 bits: close to torch, and with unsigned activations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openpaf.engines.eight_bits import is_in_float, patterns_in_float
from openpaf.engines.export import export_model
from openpaf.engines.load import load_engine
from openpaf.engines.onnx_int8 import _make_activations_unsigned
from openpaf.estimator.export_pair import export_pair
from openpaf.io.images import list_images
from openpaf.networks import build
from openpaf.weights import load_model, resolve, save


def test_layers_that_stay_in_floating_point() -> None:
    layers = ["network.trunk.0.weight", "network.trunk.10.weight", "network.heatmaps.out.weight"]
    refined = [*layers, "network.refinement_stages.0.pafs.out.weight"]
    for names, expected in (
        (layers, [True, False, True]),
        (refined, [True, False, False, True]),
    ):
        patterns = patterns_in_float("part_affinity", names)
        assert [is_in_float(name, patterns) for name in names] == expected
    patterns = patterns_in_float("person_detector", layers)
    assert is_in_float("network.heads.3.excite.weight", patterns)
    assert not is_in_float("network.neck.0.weight", patterns)


def test_unsigned_activations_are_the_same_numbers() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    make, types = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [
            make.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            make.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "g",
        [make.make_tensor_value_info("x", types.FLOAT, [5])],
        [make.make_tensor_value_info("y", types.FLOAT, [5])],
        [
            make.make_tensor("scale", types.FLOAT, [], [0.5]),
            make.make_tensor("zero", types.INT8, [], [-3]),
        ],
        value_info=[make.make_tensor_value_info("q", types.INT8, [5])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    x = np.array([-1000, -1.3, 0, 7.1, 1000], np.float32)

    def run() -> Any:
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]

    before = run()
    np.testing.assert_array_equal(before, np.array([-62.5, -1.5, 0, 7, 65], np.float32))
    _make_activations_unsigned(onnx, model)
    assert model.graph.initializer[1].data_type == types.UINT8
    np.testing.assert_array_equal(run(), before)


def test_a_pair_is_not_exported_in_8_bits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pairs are not exported to ONNX in 8 bits"):
        export_pair(
            resolve("topdown-fast"), tmp_path / "a.json", to="onnx", precision="int8", photos=()
        )


def test_an_export_in_8_bits_is_close_to_torch(tmp_path: Path, repo_root: Path) -> None:
    for module in ("nncf", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    network, spec = load_model()
    options = {**spec.options, "n_refinement_stages": 0}
    known = network.state_dict()
    small = build(spec.builder, spec.skeleton, **options)
    state = {key: known[key] for key in small.state_dict()}
    model = tmp_path / "small.safetensors"
    save(state, model, dataclasses.replace(spec, name="small", options=options))
    photos = list_images(repo_root / "data" / "photos")
    path = tmp_path / "small.onnx"
    measured = export_model(
        str(model), path, to="onnx", precision="int8",
        photos=photos[:1], calibration=photos[1:], size=128, tolerance=0.3,
    )  # fmt: skip
    assert 1e-4 < measured.fields < 0.3
    assert path.stat().st_size < 0.8 * model.stat().st_size  # the heads stay
    engine, found = load_engine(path, threads=1)
    assert (engine.name, found.name) == ("onnx", "small")

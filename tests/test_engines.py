"""Engines say the same as each other, and refuse what they cannot do in one sentence."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openpaf import PoseEstimator, WeightsError, weights
from openpaf.cli import main
from openpaf.engines import auto, openvino_engine
from openpaf.engines.base import Engine
from openpaf.engines.export import ExportError, export_model
from openpaf.engines.load import choose_engine, load_engine
from openpaf.engines.table import ENGINES
from openpaf.engines.torch_engine import overwrite_inputs
from openpaf.io.images import list_images
from openpaf.networks import build
from openpaf.weights import ModelSource, load_model, resolve, save


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (2, 3, 8, 12)).astype(np.float32)
    return coarse.repeat(16, axis=2).repeat(16, axis=3)  # (2, 3, 128, 192)


def test_shapes_and_a_batch_is_its_pictures(pictures: np.ndarray) -> None:
    run, row = load_engine()
    heatmaps, pafs = run(pictures).values()
    assert heatmaps.shape == (2, row.skeleton.n_joints + 1, 16, 24)
    assert pafs.shape == (2, 2 * row.skeleton.n_limbs, 16, 24)
    assert heatmaps.dtype == pafs.dtype == np.float32
    for i in range(2):
        one_heatmaps, one_pafs = run(pictures[i : i + 1]).values()
        np.testing.assert_allclose(one_heatmaps[0], heatmaps[i], atol=1e-4)
        np.testing.assert_allclose(one_pafs[0], pafs[i], atol=1e-4)


def test_openvino_says_what_torch_says(small: Path, cache: Path, pictures: np.ndarray) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    torch_fields = load_engine(str(small), "torch")[0](pictures)
    openvino_fields = load_engine(str(small), "openvino")[0](pictures)
    for ours, theirs in zip(torch_fields.values(), openvino_fields.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lightweight", {}),
        ("lightweight", {"atrous": False, "ranks": [64, 24, 0]}),
        ("lightweight", {"stride": 4}),
        ("lightweight_batch_norm", {}),
        *((name, {}) for name in ("lightweight_coco", "open_model_zoo", "cmu_mpi", "body25")),
    ],
)
def test_activations_that_overwrite_change_no_bit(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = build(name, **options).eval()
    images = torch.rand(1, 3, 72, 64)
    with torch.inference_mode():
        wanted = network(images)
        overwrite_inputs(network)
        n_overwriting = sum(getattr(layer, "inplace", False) for layer in network.modules())
        assert n_overwriting > 5 or name in ("cmu_mpi", "body25")
        for _ in range(2):
            for ours, theirs in zip(network(images), wanted, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_unknown_runtime_and_device() -> None:
    with pytest.raises(ValueError, match=r"engine: expected one of .*openvino.*, got 'tpu'"):
        load_engine(engine="tpu")
    with pytest.raises(ValueError, match=r"device: 'nonsense'"):
        load_engine(device="nonsense")


def test_openvino_leaves_the_fields_of_the_picture_before(
    small: Path, cache: Path, pictures: np.ndarray
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    run, _ = load_engine(small, "openvino")
    first = run(pictures)
    kept = [field.copy() for field in first.values()]
    run(np.ascontiguousarray(255 - pictures))
    for field, copy in zip(first.values(), kept, strict=True):
        np.testing.assert_array_equal(field, copy)


def test_a_missing_openvino_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"pip install \'\.\[openvino\]\' in a clone"):
        load_engine(engine="openvino")


# Without torch, which is taken away before openpaf is imported

_WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; from openpaf.cli import main; "
    "status = main(sys.argv[1:]); assert sys.modules['torch'] is None; sys.exit(status)"
)


def _predict_without_torch(folder: Path, *arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-c", _WITHOUT_TORCH, "predict", *map(str, arguments)]
    environment = {name: os.environ[name] for name in os.environ if name != "OPENPAF_ENGINE"}
    done = subprocess.run(
        [*command, "--output", str(folder / "out")],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["auto", "openvino-int8"])
def test_openvino_needs_no_torch(tmp_path: Path, repo_root: Path, engine: str) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    status, text = _predict_without_torch(tmp_path, photo, "--engine", engine)
    assert status == 0, text
    assert "1 photo, 1 person" in text


def test_onnx_runtime_needs_no_torch(tmp_path: Path, repo_root: Path, small: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    file = tmp_path / "small.onnx"
    export_model(str(small), file, to="onnx", photos=[photo])
    status, text = _predict_without_torch(tmp_path, photo, "--model", file)
    assert status == 0, text


def test_without_torch_it_is_said_what_to_do(tmp_path: Path, repo_root: Path) -> None:
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    status, text = _predict_without_torch(tmp_path, photo, "--engine", "torch")
    assert (status, text) == (2, "openpaf: engine: torch is not installed; pip install torch\n")
    status, text = _predict_without_torch(tmp_path, photo, "--model", "topdown")
    assert status == 2
    assert " needs torch, which is not installed; without it, take an exported file" in text


def test_the_list_of_what_to_install_without_torch_is_whole(repo_root: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repo_root / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    names = [re.split("[<>=]", line)[0] for line in lines if line and line[0] != "#"]
    names.remove("torch")
    page = (repo_root / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"pip install -c constraints.txt {' '.join(names)}\n" in page


# Exports: one small model for all, as converting the shipped one takes long


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network without its refinement stage."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    network, weights = load_model()
    options = {**weights.options, "n_refinement_stages": 0}
    small = build(weights.builder, weights.skeleton, **options)
    known = network.state_dict()
    state = {key: known[key] for key in small.state_dict()}
    save(state, path, dataclasses.replace(weights, name="small", options=options))
    return path


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("OPENPAF_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(repo_root: Path) -> list[Path]:
    return list_images(repo_root / "data" / "photos")[:2]


def test_onnx_says_what_torch_says_at_any_size(
    small: Path, cache: Path, pictures: np.ndarray
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    expected, _ = load_engine(str(small), "torch")
    run, weights = load_engine(str(small), "onnx")
    assert weights.name == "small"
    for batch in (pictures, pictures[:1, :, :64, :96]):
        for ours, theirs in zip(expected(batch).values(), run(batch).values(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
    (converted,) = (cache / "converted").glob("small-*.onnx")
    before = converted.stat().st_ino
    load_engine(str(small), "onnx")  # the second time from the cache
    assert [path.stat().st_ino for path in (cache / "converted").glob("small-*.onnx")] == [before]


def test_an_exported_file_runs_by_itself(
    small: Path, cache: Path, photos: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    path = tmp_path / "small.onnx"
    measured = export_model(
        str(small), path, to="onnx", size_hw=(128, 192), photos=photos, size=128
    )
    assert measured.fields < 1e-4
    assert measured.n_photos == 2
    assert measured.n_same == measured.n_people
    run, weights = load_engine(str(path))
    assert weights.name == "small"
    with pytest.raises(ValueError, match="exported for 128 x 192 px, got 64 x 96"):
        run(np.zeros((1, 3, 64, 96), np.float32))
    with pytest.raises(ValueError, match="runs with 'onnx', got 'torch'"):
        load_engine(str(path), "torch")


def test_an_export_beyond_the_tolerance_is_refused(
    small: Path, cache: Path, photos: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path / "small.xml"
    arguments: dict[str, Any] = {
        "to": "openvino", "precision": "bfloat16", "photos": photos, "size": 128,
    }  # fmt: skip
    with pytest.raises(ExportError, match=r"more than the tolerance of 1e-09"):
        export_model(str(small), path, tolerance=1e-9, **arguments)
    assert not list(tmp_path.iterdir())
    measured = export_model(str(small), path, **arguments)
    assert 1e-9 < measured.fields < 0.05
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small.bin", "small.xml"]
    assert load_engine(str(path))[1].name == "small"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": "tflite"}, "to: expected one of onnx, openvino, litert, coreml, got 'tflite'"),
        ({"precision": "int4"}, "precision: expected one of float32"),
        ({"precision": "bfloat16"}, "precision: expected one of float32, int8 for onnx, got"),
        ({"precision": "int8"}, "calibration: int8 needs"),
        ({"to": "litert", "path": "a.tflite", "precision": "int8"}, "expected one of float32 for"),
        ({"to": "openvino", "path": "a.xml", "precision": "int8"}, "calibration: int8 needs"),
        ({"path": "a.xml"}, r"path: expected a name that ends in .onnx, got 'a.xml'"),
        ({"size_hw": (100, 100)}, "size_hw: expected multiples of 8 px"),
        ({"photos": []}, "photos: expected at least one"),
    ],
)
def test_bad_exports(changes: dict[str, Any], said: str, photos: list[Path]) -> None:
    arguments = {"path": "a.onnx", "to": "onnx", "photos": photos, **changes}
    with pytest.raises(ValueError, match=said):
        export_model(None, Path(arguments.pop("path")), **arguments)


@pytest.mark.parametrize("name", ["a.onnx", "a.xml"])
def test_files_that_are_no_exports(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with pytest.raises(WeightsError, match="no such file"):
        load_engine(str(tmp_path / name))
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(WeightsError, match=name):
        load_engine(str(tmp_path / name))


def test_auto_takes_the_fastest_and_remembers(
    small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OPENPAF_ENGINE", raising=False)
    only(monkeypatch, "torch", "onnx")
    asked = []
    disturbed = True

    def measured(source: ModelSource, names: list[str], **_: Any) -> tuple[dict[str, float], bool]:
        asked.append(names)
        return {"torch": 0.04, "onnx": 0.03}, disturbed

    monkeypatch.setattr(auto, "measure", measured)
    caplog.set_level("INFO")
    source = resolve(small)
    assert auto.fastest_engine(source).engine == "onnx"
    assert "engine auto: onnx (torch 40.0 ms, onnx 30.0 ms; measured now, disturbed" in caplog.text
    disturbed = False
    assert auto.fastest_engine(source).engine == "onnx"
    assert len(asked) == 2  # as the first measurement was not kept
    choice = auto.fastest_engine(source)
    assert (choice.engine, choice.seconds) == ("onnx", {"torch": 0.04, "onnx": 0.03})
    assert choice.reason.endswith("measured before")
    assert len(asked) == 2
    auto.fastest_engine(source, measure_again=True)
    auto.fastest_engine(source, threads=1)  # which may have another winner
    assert len(asked) == 4
    monkeypatch.setattr(auto, "_machine", lambda: ["another processor"])
    auto.fastest_engine(source)
    assert len(asked) == 5
    assert auto.fastest_engine(source, "cuda").engine == "torch"
    monkeypatch.setenv("OPENPAF_ENGINE", "torch")
    assert auto.fastest_engine(source).engine == "torch"
    monkeypatch.setenv("OPENPAF_ENGINE", "fast")
    with pytest.raises(ValueError, match="OPENPAF_ENGINE: expected one of torch"):
        auto.fastest_engine(source)
    monkeypatch.delenv("OPENPAF_ENGINE")
    monkeypatch.setenv("OPENPAF_RUNTIME", "onnx")  # the old name
    assert auto.fastest_engine(source).engine == "onnx"


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let "auto" know only these engines."""
    monkeypatch.setattr(auto, "ENGINES", {name: ENGINES[name] for name in names})


def test_measuring_leaves_out_what_is_wrong(
    small: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(source: ModelSource, name: str, device: str, **_: Any) -> Engine:
        if name == "onnx":
            raise WeightsError("not today")
        value = {"torch": 1.0, "openvino": 1.001, "openvino-bf16": 2.0}[name]
        return Engine(name, lambda images: {"fields": np.full(3, value, np.float32)})

    monkeypatch.setattr(auto, "load_named", load)
    names = ["torch", "onnx", "openvino", "openvino-bf16"]
    assert list(auto.measure(resolve(small), names, seconds=0.01)[0]) == ["torch", "openvino"]
    assert "onnx cannot be used: not today" in caplog.text


@pytest.mark.parametrize("is_clear", [True, False])
def test_auto_converts_no_model_where_8_bits_are_clearly_faster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_clear: bool,
) -> None:
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    monkeypatch.delenv("OPENPAF_ENGINE", raising=False)
    only(monkeypatch, "torch", "openvino", "openvino-int8")
    monkeypatch.setattr(auto, "_candidates", lambda _: list(auto.ENGINES))
    asked = []

    def measured(_: object, names: list[str], *__: float, **___: object) -> Any:
        asked.append(names)
        times = {"torch": 0.1, "openvino": 0.03, "openvino-int8": 0.049 if is_clear else 0.051}
        return {name: times[name] for name in names}, not is_clear

    monkeypatch.setattr(auto, "measure", measured)
    caplog.set_level("INFO")
    choice = auto.fastest_engine(resolve())
    assert choice.engine == ("openvino-int8" if is_clear else "openvino")
    quick, everything = ["torch", "openvino-int8"], ["torch", "openvino", "openvino-int8"]
    assert asked == ([quick] if is_clear else [quick, everything])
    assert caplog.text.count("measuring which engine is the fastest here") == 1
    assert ("converting the model" in caplog.text) == (not is_clear)
    auto.fastest_engine(resolve(), measure_again=True)
    assert asked[-1] == everything


def test_a_measurement_is_disturbed_where_its_rounds_differ(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = {"torch": [0.02, 0.021, 0.02], "onnx": [0.01, 0.01, 0.011]}
    monkeypatch.setattr(auto, "_times_in_rounds", lambda *_: rounds)
    monkeypatch.setattr(
        auto, "load_named", lambda *_, **__: Engine("any", lambda images: {"a": images})
    )
    assert auto.measure(resolve(small), ["torch"]) == ({"torch": 0.02, "onnx": 0.01}, False)
    rounds["onnx"][1] = 0.02  # another program had the cores
    assert auto.measure(resolve(small), ["torch"])[1]


def test_8_bit_integers_of_the_shipped_model(pictures: np.ndarray) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    expected, row = load_engine(None, "torch")
    run, eight_bit_row = load_engine(None, "openvino-int8")
    assert eight_bit_row == row
    assert 1e-4 < auto.difference(expected(pictures), run(pictures)) < 0.3


def test_8_bit_integers_need_a_file_of_the_same_weights(
    small: Path, cache: Path, photos: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with pytest.raises(ValueError, match=r"needs small-int8\.xml and \.bin beside .*, found none"):
        load_engine(str(small), "openvino-int8")
    with pytest.raises(ValueError, match="weights: engine 'openvino-int8' has its own"):
        load_engine("default", "openvino-int8", weights=small)
    assert resolve(small).eight_bit_file is None
    weights = tmp_path / "small.safetensors"
    shutil.copy(small, weights)
    path = tmp_path / "small-int8.xml"
    # What precision the numbers are in does not matter here, and float32 is quickly made.
    export_model(str(weights), path, to="openvino", photos=photos[:1], size=64)
    assert resolve(weights).eight_bit_file == path
    assert resolve(small, weights).eight_bit_file is None  # those of other weights do not count
    assert load_engine(str(weights), "openvino-int8")[1].name == "small"
    state = load_model(str(weights))[0].state_dict()
    state["context.out.bias"] += 1
    save(state, weights, load_model(str(weights))[1])
    with pytest.raises(WeightsError, match=r"made from other weights than .* export it again"):
        load_engine(str(weights), "openvino-int8")


def test_auto_tries_8_bit_integers_where_there_are_some(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    monkeypatch.delenv("OPENPAF_ENGINE", raising=False)
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    tried: list[list[str]] = []

    def measure(
        source: ModelSource, names: list[str], *_: object, **__: object
    ) -> tuple[dict[str, float], bool]:
        tried.append(names)
        return {name: 1.0 / len(name) for name in names}, False

    monkeypatch.setattr(auto, "measure", measure)
    only(monkeypatch, "torch", "openvino", "openvino-int8")
    assert auto.fastest_engine(resolve()).engine == "openvino-int8"
    assert auto.fastest_engine(resolve()).engine == "openvino-int8"  # from the cache
    assert auto.fastest_engine(resolve(small)).engine == "openvino"
    assert auto.fastest_engine(resolve(weights=small)).engine == "openvino"
    assert tried == [["torch", "openvino-int8"], ["torch", "openvino"]]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_damaged_converted_model_is_converted_again(
    name: str, small: Path, tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(name, name))
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    expected = load_engine(str(small), name)[0](pictures)
    (converted,) = (tmp_path / "converted").glob("small-*")
    good = converted.read_bytes()
    for bad in (good[:100], good[:1000] + bytes(3000) + good[4000:]):
        converted.write_bytes(bad)
        for ours, theirs in zip(
            load_engine(str(small), name)[0](pictures).values(), expected.values(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert len(converted.read_bytes()) > 5000


def test_damaged_files_of_a_shipped_model_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    for path in resolve("fast").file.parent.glob("fast-coco17*.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(
        "openpaf.weights.catalog._shipped", lambda: [tmp_path / "fast-coco17.safetensors"]
    )
    assert weights.verify("fast-coco17") == "sha256, that of its card"
    for name in ("-int8.bin", "-int8.xml", ".safetensors"):
        path = tmp_path / f"fast-coco17{name}"
        good = path.read_bytes()
        path.write_bytes(good[:-9000] + good[-9000:].replace(b"1", b"2"))
        with pytest.raises(WeightsError, match=rf"fast-coco17{name}: its sha256 \w+ is not that"):
            load_engine("fast", "torch" if name == ".safetensors" else "openvino-int8")
        with pytest.raises(WeightsError, match="install openpaf again"):
            weights.verify("fast-coco17")
        assert main(["weights", "verify", "fast-coco17"]) == 1
        assert "is not that of its card" in capsys.readouterr().err
        path.write_bytes(good)
    assert main(["weights", "verify", "fast-coco17"]) == 0


def endless(path: Path) -> None:
    """Write an ONNX model of ours whose first operator is a loop without an end."""
    onnx = pytest.importorskip("onnx")
    helper, number, flag = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["x", "x"], ["y"])],
        "body",
        [info("i", onnx.TensorProto.INT64, []), info("go", flag, []), info("x", number, None)],
        [info("on", flag, []), info("y", number, None)],
    )
    true = helper.make_tensor("true", flag, [], [True])
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["", "true", "images"], ["heatmaps"], body=body),
            helper.make_node("Identity", ["heatmaps"], ["pafs"]),
        ],
        "endless",
        [info("images", number, [1, 3, 64, 64])],
        [info("heatmaps", number, None), info("pafs", number, None)],
        initializer=[true],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "openpaf", resolve().spec.to_metadata()["openpaf"]
    path.write_bytes(model.SerializeToString())


def test_models_with_loops_are_refused(
    tmp_path: Path, repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path / "endless.onnx"
    endless(path)
    photo = str(repo_root / "data" / "photos" / "astronaut.jpg")
    arguments = ["predict", photo, "--output", str(tmp_path / "out"), "--model"]
    assert main([*arguments, str(path)]) == 2
    assert "endless.onnx: a model with Loop, loops or branches, is not run" in (
        capsys.readouterr().err
    )
    openvino.save_model(openvino.convert_model(str(path)), str(path.with_suffix(".xml")))
    with pytest.raises(WeightsError, match=r"a model with (Loop|TensorIterator), loops"):
        load_engine(path.with_suffix(".xml"))


def test_engines_keep_little_for_each_size_of_picture(
    small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    sessions, options = [], []

    def session(*arguments: Any, **named: Any) -> Any:
        sessions.append(real_session(*arguments, **named))
        return sessions[-1]

    def compile_model(core: Any, model: Any, device: str, config: dict[str, Any]) -> Any:
        options.append(config)
        return real_compile(core, model, device, config)

    real_session, real_compile = onnxruntime.InferenceSession, openvino.Core.compile_model
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    load_engine(small, "onnx")
    load_engine(small, "openvino")
    assert not sessions[0].get_session_options().enable_mem_pattern
    assert options[0]["CPU_RUNTIME_CACHE_CAPACITY"] == openvino_engine.MAX_COMPILED_LAYERS <= 1024


def test_what_auto_means(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENPAF_ENGINE", "openvino")
    source = resolve(small)
    assert choose_engine(source, "onnx") == "onnx"
    assert choose_engine(source, "auto") == "openvino"
    for kind, other in (("onnx", "torch"), ("openvino", "onnx")):
        exported = dataclasses.replace(source, kind=kind)
        assert choose_engine(exported, "auto") == kind
        with pytest.raises(ValueError, match=f"runs with '{kind}', got '{other}'"):
            choose_engine(exported, other)
    detector = dataclasses.replace(
        source, spec=dataclasses.replace(source.spec, method="mask_rcnn")
    )
    assert choose_engine(detector, "auto") == "torch"


@pytest.mark.parametrize("name", ["torch", "onnx", "openvino"])
def test_a_number_of_threads(name: str, small: Path, cache: Path, pictures: np.ndarray) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(name, name))
    before = torch.get_num_threads()
    expected = load_engine(small, name)[0](pictures)
    arrays = load_engine(small, name, threads=2)[0](pictures)
    for output, array in arrays.items():
        np.testing.assert_allclose(array, expected[output], atol=1e-4)
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads: expected a whole number from 1 on, got 0"):
        load_engine(small, name, threads=0)


def test_threads_reach_the_engines(
    small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, pictures: np.ndarray
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    seen: list[int] = []
    real_session, real_compile = onnxruntime.InferenceSession, openvino.Core.compile_model

    def session(data: bytes, options: Any, **named: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return real_session(data, options, **named)

    def compile_model(core: Any, model: Any, device: str, config: dict[str, Any]) -> Any:
        seen.append(config["INFERENCE_NUM_THREADS"])
        return real_compile(core, model, device, config)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    load_engine(small, "onnx", threads=3)
    load_engine(small, "openvino", threads=2)
    before = torch.get_num_threads()
    load_engine(small, "torch", threads=5)[0](pictures)
    assert seen == [3, 2, 5, before]


def test_devices_of_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from openpaf.engines.onnx_engine import choose_providers

    assert choose_providers(None) == choose_providers("cpu") == ["CPUExecutionProvider"]
    has = ["CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: has)
    assert choose_providers("cuda:1") == [
        ("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider",
    ]  # fmt: skip
    assert choose_providers("coreml") == [("CoreMLExecutionProvider", {}), "CPUExecutionProvider"]
    for device in ("tensorrt", "directml", "cuda:x", "tpu"):
        with pytest.raises(ValueError, match=r"runs on 'cpu', 'cuda', 'coreml' here, got"):
            choose_providers(device)


def test_the_old_name_of_the_argument(small: Path) -> None:
    with pytest.warns(DeprecationWarning, match="runtime: renamed, use engine="):
        assert PoseEstimator(small, runtime="torch").engine == "torch"

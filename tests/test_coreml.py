"""Core ML: packages are written where coremltools is, read everywhere, and run on macOS only."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from caffe_bytes import field

from openpaf import PoseEstimator, WeightsError
from openpaf.cli import main
from openpaf.engines.coreml_engine import run_coreml
from openpaf.engines.export import put_into_place
from openpaf.engines.load import load_engine
from openpaf.io.files import sha256_of
from openpaf.weights import resolve
from openpaf.weights.coreml_files import PROGRAM

NOTE = resolve().spec.converted().to_metadata()["openpaf"]
needs_tools = pytest.mark.skipif(
    importlib.util.find_spec("coremltools") is None, reason="coremltools is not installed"
)


def entry(key: str, value: bytes | str) -> bytes:
    """A pair of a map."""
    return field(1, key) + field(2, value)


def operation(*, file: str = "@model_path/weights/weight.bin", nested: bool = False) -> bytes:
    """A constant whose numbers are in a file, or one that holds a block."""
    stored = field(5, entry("val", field(5, field(1, file) + field(2, 64))))
    return field(1, "while_loop" if nested else "const") + stored + (field(4, b"") * nested)


def program(*operations: bytes, notes: bytes = field(100, entry("openpaf", NOTE))) -> bytes:
    """A model of version 7 with a program of one function and one block."""
    block = b"".join(field(3, one) for one in operations)
    function = field(2, "CoreML6") + field(3, entry("CoreML6", block))
    described = field(100, field(1, "a model") + notes)
    return field(1, 7) + field(2, described) + field(502, field(2, entry("main", function)))


def package(folder: Path, content: bytes) -> Path:
    path = folder / "tiny.mlpackage"
    (path / PROGRAM).parent.mkdir(parents=True, exist_ok=True)
    (path / PROGRAM).write_bytes(content)
    return path


def test_a_package_is_read_without_core_ml(tmp_path: Path) -> None:
    path = package(tmp_path, program(operation(), operation()))
    source = resolve(path)
    assert (source.kind, source.spec) == ("coreml", resolve().spec.converted())
    digest = sha256_of(path)
    (path / "Manifest.json").write_text("{}")
    assert sha256_of(path) != digest


def test_packages_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    for content, message in (
        (b"", "no program in it"),
        (field(1, 7) + field(500, b"a network of old"), "no program in it"),
        (b"\x0a\xff", "cannot be read as Core ML"),
        (program(operation(), notes=b""), "no description of an openpaf model in it"),
        (program(operation(nested=True)), "a model with while_loop, loops or branches"),
        (program(operation(file="/etc/passwd")), "the name of another file in it"),
        (program(operation(), notes=field(100, entry("openpaf", "{}"))), "cannot be used"),
    ):
        with pytest.raises(WeightsError, match=message):
            resolve(package(tmp_path, content))
    with pytest.raises(WeightsError, match="no such file"):
        resolve(tmp_path / "none.mlpackage")


def test_a_package_does_not_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    path = package(tmp_path, program(operation()))
    with pytest.raises(ValueError, match="Core ML, which runs on macOS only; this is"):
        load_engine(path)
    photo = str(Path(__file__).parents[1] / "data" / "photos" / "astronaut.jpg")
    assert main(["predict", photo, "--model", str(path), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "runs on macOS only" in line
    with pytest.raises(ValueError, match="'coreml' runs files of `openpaf export --to coreml`"):
        PoseEstimator("fast", engine="coreml")


def test_a_package_runs_where_core_ml_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Core ML computes is taken for granted: this is how it is called."""
    made: list[tuple[str, str]] = []

    class Model:
        def __init__(self, path: str, compute_units: str) -> None:
            made.append((path, compute_units))

        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            (images,) = inputs.values()
            assert list(inputs) == ["images"]
            assert len(images) == 1
            if images.shape[3] == 48:
                raise RuntimeError("a size out of range")
            return {"pafs": -images[:, :2], "heatmaps": images[:, :1].astype(np.float16)}

    tools = ModuleType("coremltools")
    tools.models = SimpleNamespace(MLModel=Model)  # type: ignore[attr-defined]
    tools.ComputeUnit = SimpleNamespace(ALL="all", CPU_ONLY="cpu")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "coremltools", tools)
    monkeypatch.setattr(sys, "platform", "darwin")
    path = package(tmp_path, program(operation()))
    engine, _ = load_engine(path, device="cpu")
    load_engine(path)
    assert made == [(str(path), "cpu"), (str(path), "all")]
    images = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
    arrays = engine(images)
    assert list(arrays) == ["heatmaps", "pafs"]
    np.testing.assert_array_equal(arrays["heatmaps"], images[:, :1])
    np.testing.assert_array_equal(arrays["pafs"], -images[:, :2])
    assert arrays["heatmaps"].dtype == np.float32
    with pytest.raises(WeightsError, match="Core ML fails at 8 x 48 px"):
        engine(np.zeros((1, 3, 8, 48), np.float32))
    with pytest.raises(ValueError, match="takes 'cpu' or none, got 'cuda'"):
        load_engine(path, device="cuda")
    assert run_coreml(Model("", ""), ("pafs",), "x")(images)["pafs"].shape == (2, 2, 8, 8)


def test_an_older_package_is_replaced(tmp_path: Path) -> None:
    old, new = tmp_path / "a.mlpackage", tmp_path / "new" / "a.mlpackage"
    for folder, name in ((old, "old"), (new, "new")):
        (folder / "Data").mkdir(parents=True)
        (folder / "Data" / name).touch()
    put_into_place(new, old)
    assert [file.name for file in old.rglob("*")] == ["Data", "new"]


def test_bad_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "fast", "--to", "coreml", "--output", str(tmp_path / "a.mlpackage")]
    for more, message in (
        (["--precision", "int8"], "is not installed" if _no_nncf() else "for coreml, got 'int8'"),
        (["--precision", "half"], "invalid choice: 'half'"),
    ):
        assert main([*command, *more]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def _no_nncf() -> bool:
    return importlib.util.find_spec("nncf") is None


@needs_tools
@pytest.mark.filterwarnings("ignore")  # of coremltools' own
@pytest.mark.parametrize(("model", "precision"), [("default", "float32"), ("fast", "float16")])
def test_an_export_says_what_it_is(
    model: str, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import coremltools

    path = tmp_path / "a.mlpackage"
    command = ["export", model, "--to", "coreml", "--precision", precision, "--output", str(path)]
    assert main(command) == 0
    if sys.platform != "darwin":
        assert "not compared with torch, as files for coreml cannot be run" in (
            capsys.readouterr().out
        )
    assert resolve(path).spec == resolve(model).spec.converted()
    description = coremltools.utils.load_spec(str(path)).description
    assert [feature.name for feature in description.input] == ["images"]
    assert [feature.name for feature in description.output] == ["heatmaps", "pafs"]
    assert "openpaf" in description.metadata.userDefined
    assert description.metadata.license == resolve(model).spec.licence
    images = np.random.default_rng(0).uniform(0, 255, (1, 3, 72, 104)).astype(np.float32)
    computed, arrays = _computed(path, images), load_engine(model, "torch", "cpu")[0](images)
    for name, array in arrays.items():
        atol = {"float32": 1e-4, "float16": 1e-2}[precision] * np.abs(array).max()
        np.testing.assert_allclose(computed[name], array, atol=atol)


def _computed(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the program of a package computes, with the numbers of its file, one layer at a time.

    By torch in place of Core ML, which is on macOS only: it shows that the program is the network.
    """
    import coremltools
    import torch
    from coremltools.converters.mil.frontend.milproto.load import load
    from torch.nn import functional

    def conv(x: Any, weight: Any, pad_type: str, pad: list[int] | None = None, **more: Any) -> Any:
        if pad_type == "custom":  # before and after, of rows and columns
            x = functional.pad(x, (pad[2], pad[3], pad[0], pad[1]))  # type: ignore[index]
        assert pad_type in ("custom", "valid")
        more = {"stride": more["strides"], "dilation": more["dilations"], "groups": more["groups"],
                "bias": more.get("bias")}  # fmt: skip
        return functional.conv2d(x, weight, **more)

    def concat(values: list[Any], axis: int, interleave: bool) -> Any:
        if torch.is_tensor(values[0]):
            return torch.cat(values, axis)
        return [one for value in values for one in (value if isinstance(value, list) else [value])]

    def part(x: Any, begin: list[int], end: list[int], end_mask: list[bool]) -> Any:
        ends = [None if all_of_it else n for n, all_of_it in zip(end, end_mask, strict=True)]
        return x[tuple(slice(first, last) for first, last in zip(begin, ends, strict=True))]

    layers = {
        "conv": conv,
        "relu": lambda x: functional.relu(x),
        "elu": lambda x, alpha: functional.elu(x, alpha),
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "cast": lambda x, dtype: x,  # to half precision and back
        "concat": concat,
        "shape": lambda x: list(x.shape),
        "gather": lambda x, indices, **_: x[indices],
        "slice_by_index": part,
        "pixel_shuffle": lambda x, upscale_factor: functional.pixel_shuffle(x, upscale_factor),
    }
    spec = coremltools.utils.load_spec(str(path))
    weights = str((path / PROGRAM).parent / "weights")
    program = load(spec, spec.specificationVersion, weights)
    values: dict[str, Any] = {"images": torch.from_numpy(images)}

    def value(variable: Any) -> Any:
        if isinstance(variable, (list, tuple)):
            return [value(one) for one in variable]
        if variable.name in values:
            return values[variable.name]
        constant = variable.val
        if isinstance(constant, np.ndarray) and constant.dtype.kind == "f" and constant.ndim:
            return torch.from_numpy(constant.astype(np.float32))
        return constant.tolist() if hasattr(constant, "tolist") else constant

    (function,) = program.functions.values()
    for layer in function.operations:
        if layer.op_type != "const":
            given = {name: value(one) for name, one in layer.inputs.items() if one is not None}
            values[layer.outputs[0].name] = layers[layer.op_type](**given)
    return {one.name: values[one.name].numpy() for one in function.outputs}

"""The kernels in the package: the first run of a machine compiles nothing."""

from __future__ import annotations

import ast
import lzma
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import pytest
from numba.core.registry import cpu_target

from openpaf.cli import main
from openpaf.cli.warm_up import kernels
from openpaf.kernels import cache, shipped

ROOT = Path(__file__).resolve().parent.parent
TESTED = re.search(r"^numba==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
pytestmark = [
    pytest.mark.skipif(
        TESTED is None or numba.__version__ != TESTED[1], reason="not the tested version of numba"
    ),
    pytest.mark.skipif(
        not shipped.shipped_file("any").parent.is_dir(), reason="no kernels for this platform"
    ),
]

# README's snippet, in a process that counts what numba compiles.
FIRST_RUN = """
import sys
from numba.core import event

class Count(event.Listener):
    n = 0
    def on_start(self, event): pass
    def on_end(self, event): Count.n += 1

event.register("numba:compile", Count())
import openpaf
estimator = openpaf.PoseEstimator(engine="torch", size=128)
poses = estimator(sys.argv[1])
assert len(poses) == 1
openpaf.draw_poses(sys.argv[1], poses)
from openpaf.cli.warm_up import prepare_kernels
assert prepare_kernels() == (14, 0), prepare_kernels()
print("compiled:", Count.n)
"""


def test_a_first_run_compiles_nothing(tmp_path: Path) -> None:
    """Python's own cache folders are not used: NUMBA_CACHE_DIR is an empty one."""
    result = subprocess.run(
        [sys.executable, "-c", FIRST_RUN, ROOT / "data" / "photos" / "astronaut.jpg"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.stdout == "compiled: 0\n", result.stdout + result.stderr
    assert len(list(tmp_path.glob("openpaf/*.kernel"))) == 14


@pytest.mark.parametrize("kernel", kernels(), ids=lambda kernel: kernel._cache._name)
def test_a_shipped_kernel_is_made_of_the_code_that_is_there(kernel: Any) -> None:
    known, forms = content(shipped.shipped_file(kernel._cache._name))
    assert known == shipped.shipped_key(kernel._cache._source, cache._options()), (
        "a kernel has changed: run python .ci/ship_kernels.py"
    )
    for form in forms:
        _, _, bitcode, _ = pickle.loads(form)
        text = str(llvm.parse_bitcode(bitcode))
        assert "site-packages" not in text, "names a folder of the machine that made it"
        assert b"site-packages" not in form


def test_a_file_that_does_not_fit_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name, source = "resize.shrink", Path(shipped.__file__).with_name("resize.py")
    folder = shipped.shipped_file(name).parent
    shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    known, (form,) = content(shipped.shipped_file(name))
    sig, its_options = pickle.loads(form)[0], ast.literal_eval(known[1])
    assert known == shipped.shipped_key(source, its_options)

    def loaded(signature: Any = sig, options: Any = None) -> Any:
        codegen = cpu_target.target_context.codegen()
        options = options or its_options
        return shipped.load_shipped(name, source, options, signature, codegen)

    assert loaded() is not None
    assert loaded(options=("0",)) is None
    assert loaded(signature=sig[:1]) is None
    monkeypatch.setattr(shipped, "_COMPILE", source)  # as if the decorators were other ones
    assert loaded() is None
    assert not caplog.text
    file = shipped.shipped_file(name)
    file.write_bytes(file.read_bytes()[:-9])
    assert loaded() is None
    assert "cannot be used, so it is compiled" in caplog.text
    file.unlink()
    assert loaded() is None


def test_warm_up_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm-up", "--model", "fast", "--engine", "torch"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"kernels: 14 ready, \d+ of them compiled from source, .* s", first)
    assert re.fullmatch(r"model fast-coco17: engine torch, .* s", second)


def content(file: Path) -> Any:
    """The key and the forms of a shipped file."""
    return pickle.loads(lzma.decompress(file.read_bytes()))

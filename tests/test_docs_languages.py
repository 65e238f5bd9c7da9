"""The commands of docs/other_languages.md run: C++ and JavaScript find the people of Python."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from docs_blocks import ROOT, blocks

import openpaf
from openpaf.cli import main

PAGE = "docs/other_languages.md"
MODULES = Path(
    os.environ.get("OPENPAF_NODE_MODULES") or ROOT / "examples" / "javascript" / "node_modules"
)
pytestmark = pytest.mark.skipif(not (ROOT / "examples").exists(), reason="needs a clone")


def _lines(*programs: str) -> list[str]:
    """The page's lines that begin with one of the programs."""
    lines = [line for b in blocks("") if b.page == PAGE for line in b.text.splitlines()]
    return [line for line in lines if line.split()[0] in programs]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first part of the page makes."""
    folder = tmp_path_factory.mktemp("languages")
    (folder / "data").symlink_to(ROOT / "data")
    ignore = shutil.ignore_patterns("node_modules", "package-lock.json")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignore)
    (code,) = (block for block in blocks("python") if block.page == PAGE)
    (export,) = _lines("openpaf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code.text, str(code), "exec"), {})
        assert main(export.split()[1:]) == 0
    return folder


def _run(lines: list[str], folder: Path) -> str:
    """What the last of the lines prints."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    printed = ""
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed = done.stdout
    return printed


def _people(printed: str) -> list[dict[str, np.ndarray]]:
    people: list[dict[str, np.ndarray]] = []
    for line in printed.splitlines():
        name, *values = line.split()
        if name == "person":
            people.append({})
        else:
            people[-1][name] = np.array(values[:2], float)
    return people


def _check(printed: str, folder: Path) -> None:
    """Each probable person of Python's is there, its joints at most a few px away."""
    found = _people(printed)
    poses = openpaf.PoseEstimator("fast", engine="torch")(
        folder / "data" / "photos" / "pedestrians_576.jpg"
    )
    probable = poses[poses.person_scores >= 0.65]
    assert len(probable) == 6
    matched = set()
    for xy in probable.xy:
        joints = dict(zip(poses.skeleton.joints, xy, strict=True))
        distances = [
            np.median([np.hypot(*(person[j] - joints[j])) for j in joints if j in person])
            for person in found
        ]
        best = int(np.nanargmin(distances))
        assert distances[best] < 4
        matched.add(best)
    assert len(matched) == 6


@pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++") and importlib.util.find_spec("openvino")),
    reason="needs cmake, a compiler of C++, and OpenVINO",
)
def test_in_cpp(place: Path) -> None:
    printed = _run(_lines("cmake", "build/people"), place)
    _check(printed, place)
    (sample,) = (b for b in blocks("text") if b.page == PAGE)
    assert sample.text.splitlines()[:2] == printed.splitlines()[:2]
    in_8_bits = ROOT / "models" / "fast-coco17-int8.xml"
    _check(_run([f"build/people {in_8_bits} skeleton.txt photo.ppm"], place), place)


@pytest.mark.skipif(
    not (shutil.which("node") and MODULES.exists()),
    reason="needs node, and npm install --prefix examples/javascript",
)
def test_in_javascript(place: Path) -> None:
    (place / "examples" / "javascript" / "node_modules").symlink_to(MODULES)
    _check(_run(_lines("node"), place), place)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_parser_in_javascript_needs_no_package() -> None:
    """Three peaks in a row, and fields that point along it, are one person."""
    code = """
        const { parse, readSkeleton } = await import(process.argv[1]);
        const [h, w] = [8, 8], dims = [1, 4, h, w];
        const maps = new Float32Array(4 * h * w), pafs = new Float32Array(4 * h * w);
        [1, 4, 6].forEach((x, k) => { maps[(k * h + 2) * w + x] = 0.9; });
        for (const limb of [0, 1]) pafs.fill(1, 2 * limb * h * w, (2 * limb + 1) * h * w);
        const skeleton = readSkeleton("a b c\\n0 1\\n1 2\\n");
        const people = parse({ data: maps, dims }, { data: pafs, dims }, skeleton);
        console.log(JSON.stringify(people.map((person) => person.map(({ x, y }) => [x, y]))));
    """
    parser = (ROOT / "examples" / "javascript" / "parser.mjs").as_uri()
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code, parser],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[[11.5, 19.5], [35.5, 19.5], [51.5, 19.5]]]

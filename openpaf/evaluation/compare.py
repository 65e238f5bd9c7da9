"""Methods side by side: accuracy, time by step, memory, and time against people."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openpaf.estimator.merging import sizes_of
from openpaf.estimator.multiscale import check_scales
from openpaf.evaluation.label_files import Annotations
from openpaf.evaluation.report import measure
from openpaf.evaluation.result_files import read_results
from openpaf.evaluation.scenes import compose, cut_people
from openpaf.evaluation.settings import results_sha256, surroundings
from openpaf.io.files import sha256_of
from openpaf.io.json_files import read_json, write_json
from openpaf.io.partial_results import settings_key
from openpaf.weights.catalog import model_sha256, resolve

#: Numbers of people of the scenes.
PEOPLE = (1, 2, 5, 10, 20, 30, 40, 50)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A model at one size, or a file of another system's results.

    Args:
        name: In the table.
        model: Name of a shipped model, or path of a file; None for results.
        size: Short side of its input in px; 0 for results.
        scales: Sizes whose people are merged, as for :class:`openpaf.PoseEstimator`.
        flip: Whether the fields of the mirrored image are averaged in.
        thresholds: Those of the model's method, e.g. :class:`openpaf.DecodeConfig`; its own if
            None.
        results: The file of results; None for a model.
    """

    name: str
    model: str | None = None
    size: int = 0
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    thresholds: Any = None
    results: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Photos:
    """What methods are compared on.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        path: The file that they are from.
        images: Folder of the photos.
        ids: Which photos.
    """

    annotations: Annotations
    path: Path
    images: Path
    ids: list[int]


def make_scenes(photos: Photos, folder: Path, counts: Sequence[int]) -> list[tuple[int, str]]:
    """Scenes of people cut from the photos, as PNG files.

    Returns:
        For each its number of people and its path.

    Raises:
        ValueError: If the photos have no person to cut out.
        OSError: If a file cannot be written.
    """
    from PIL import Image

    if not counts:
        return []
    people = cut_people(photos.annotations, photos.images, photos.ids, max(counts))
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for n_people in counts:
        path = folder / f"people-{n_people:02d}.png"
        Image.fromarray(compose(people, n_people)).save(path)
        scenes.append((n_people, str(path)))
    return scenes


def measure_method(
    method: Method,
    photos: Photos,
    scenes: Sequence[tuple[int, str]],
    work: Path,
    *,
    engine: str = "auto",
    device: str | None = None,
    threads: int | None = None,
    repeats: int = 5,
    min_score: float = 0.65,
    shown_score: float = 0.0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Everything of one method; a model is run in a process of its own.

    What is done waits in the work folder, so that an interrupted comparison goes on from there.

    Args:
        method: The method.
        photos: What it is measured on.
        scenes: From :func:`make_scenes`.
        work: Folder of unfinished work.
        engine: As for :class:`openpaf.PoseEstimator`.
        device: As for :class:`openpaf.PoseEstimator`.
        threads: As for :class:`openpaf.PoseEstimator`.
        repeats: Runs of each scene, of which the median is taken.
        min_score: For precision and recall of people.
        shown_score: Scenes are timed with people from this score on.
        quiet: No progress bar.

    Returns:
        ``name``, ``settings``, the figures of :func:`openpaf.evaluation.report.measure`, and for a
        model ``ms``, ``peak_mb``, ``gpu_peak_mb`` and ``time_by_people``; ``results``, the people
        found.

    Raises:
        ValueError: If the model cannot be run, or the results cannot be read; the message
            names it.
    """
    if method.results is not None:
        run: dict[str, Any] = {
            "settings": {
                "method": "results",
                "results": str(method.results),
                "results_sha256": results_sha256(method.results),
            },
            "results": read_results(method.results, photos.annotations),
            "ms": {},
            "peak_mb": None,
            "gpu_peak_mb": None,
            "time_by_people": [],
        }
    else:
        assert method.model is not None
        timing = {"repeats": repeats, "shown_score": shown_score}
        run = _run_alone(method, photos, scenes, work, engine, device, threads, timing, quiet)
    figures = measure(photos.annotations, run["results"], photos.ids, min_score=min_score)
    return {"name": method.name, **figures, **run}


def _run_alone(
    method: Method,
    photos: Photos,
    scenes: Sequence[tuple[int, str]],
    work: Path,
    engine: str,
    device: str | None,
    threads: int | None,
    timing: dict[str, Any],
    quiet: bool,
) -> dict[str, Any]:
    assert method.model is not None
    source = resolve(method.model)
    how = {
        "model": str(method.model),
        "engine": engine,
        "device": device,
        "threads": threads,
        "size": method.size,
        "scales": list(method.scales),
        "flip": method.flip,
        **({} if method.thresholds is None else {"thresholds": asdict(method.thresholds)}),
    }
    asked = {
        "model_sha256": model_sha256(source),
        **how,
        "annotations": sha256_of(photos.path),
        "skeleton": photos.annotations.skeleton.to_dict(),
        "images": str(photos.images.resolve()),
        **surroundings(),
    }
    key = settings_key(asked)
    whole = {**asked, "ids": photos.ids, "scenes": [n for n, _ in scenes], **timing}
    output = work / f"{settings_key(whole)}.json"
    if not output.exists():
        job = {
            "name": method.name,
            **how,
            "annotations": str(photos.path),
            "category": str(photos.annotations.category),
            "skeleton": photos.annotations.skeleton.to_dict(),
            "images": str(photos.images),
            "image_ids": photos.ids,
            "scenes": list(scenes),
            **timing,
            "partial": str(work / f"{key}.jsonl"),
            "settings": asked,
            "output": str(output),
            "quiet": quiet,
        }
        job_path = work / f"{key}-job.json"
        write_json(job, job_path)
        _run_process(method.name, job_path, output)
    run: dict[str, Any] = read_json(output)
    if "error" in run:
        output.unlink()
        raise ValueError(run["error"])
    return run


def _run_process(name: str, job: Path, output: Path) -> None:
    """Run a method in a process of its own, which writes the output."""
    command = [sys.executable, "-m", "openpaf.evaluation.method", str(job)]
    status = subprocess.run(command, check=False).returncode
    if status == 130:
        raise KeyboardInterrupt
    if not output.exists():
        raise ValueError(f"{name}: its process ended with status {status}")


def methods_of(
    models: Sequence[str],
    sizes: Sequence[int],
    results: Sequence[tuple[str, Path]],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> list[Method]:
    """The methods to compare: every model at every size, then the files of results.

    Args:
        models: Names of shipped models, or paths.
        sizes: Short sides of the network's input in px.
        results: Names and files of other systems' results.
        scales: Where they are not 1 alone, each model is also taken with these merged.
        flip: Whether the fields of mirrored images are averaged in, for all models.

    Raises:
        ValueError: If there are none, two have one name, or a scale is out of range.
    """
    methods = []
    scales = check_scales(scales)
    for model in models:
        stem = Path(model).stem
        for size in sizes:
            name = stem + (f" {size}" if len(sizes) > 1 else "")
            methods.append(Method(name=name, model=model, size=size, flip=flip))
        merged = {} if scales == (1.0,) else {tuple(sizes_of(scales, n)): n for n in sizes}
        for sizes_px, size in merged.items():
            name = f"{stem} {'+'.join(map(str, sizes_px))}"
            methods.append(Method(name=name, model=model, size=size, scales=scales, flip=flip))
    methods += [Method(name=name, results=path) for name, path in results]
    names = [method.name for method in methods]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"methods: expected names that differ, {', '.join(repeated)} come twice")
    if not methods:
        raise ValueError("methods: expected at least one model or file of results")
    return methods


def with_ratios(methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured methods, each with ``ratio``: times and memory relative to the first of them.

    The first is the first that has times; a file of results has none.
    """
    first = next((method for method in methods if method["ms"]), None)
    for method in methods:
        method["ratio"] = {}
        if first is None or not method["ms"]:
            continue
        method["ratio"]["to"] = first["name"]
        method["ratio"]["ms"] = {
            step: method["ms"][step] / first["ms"][step]
            for step in method["ms"]
            if first["ms"].get(step)
        }
        if method["peak_mb"] and first["peak_mb"]:
            method["ratio"]["peak_mb"] = method["peak_mb"] / first["peak_mb"]
        before = {scene["people"]: scene["ms"]["total"] for scene in first["time_by_people"]}
        for scene in method["time_by_people"]:
            if before.get(scene["people"]):
                scene["ratio"] = scene["ms"]["total"] / before[scene["people"]]
    return methods

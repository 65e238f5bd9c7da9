"""One method of a comparison, in a process of its own: what it finds, its times, its memory.

    python -m openpaf.evaluation.method JOB.json

is how :mod:`openpaf.evaluation.compare` calls it. A process of its own, because the peak of a
process's memory never falls: in one process every method would seem to need what the largest did.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from typing import Any

from tqdm import tqdm

from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.labels import check_image_size
from openpaf.evaluation.settings import check_joints, describe
from openpaf.evaluation.steps import median_times, run_in_steps
from openpaf.io.images import read_image
from openpaf.io.json_files import read_json, write_json
from openpaf.io.partial_results import PartialResults
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton

logger = logging.getLogger(__name__)


def run_method(job: dict[str, Any]) -> dict[str, Any]:
    """Run a model over photos and scenes.

    Args:
        job: ``model``, ``engine``, ``device``, ``threads``, ``size``, ``scales``, ``flip``;
            ``thresholds``, if they are not the method's own; ``annotations`` and ``images``, paths;
            ``category`` and ``skeleton`` of what is measured; ``image_ids``; ``scenes``, pairs of a
            number of people and an image's path; ``shown_score``, the least score of people in
            these, and ``repeats`` of each; ``partial``, the file of an unfinished run, and
            ``settings``, what its results depend on; ``quiet``.

    Returns:
        ``settings``, ``results`` (in COCO's submission format), ``ms`` (medians over the
        photos by step), ``peak_mb`` of this process, ``gpu_peak_mb`` where a GPU was used, and
        ``time_by_people``, a dictionary a scene.
    """
    from openpaf.estimator import PoseEstimator

    skeleton = Skeleton.from_dict(job["skeleton"])
    annotations = read_annotations(job["annotations"], category=job["category"], skeleton=skeleton)
    estimator = PoseEstimator(
        job["model"],
        engine=job["engine"],
        device=job["device"],
        threads=job["threads"],
        size=job["size"],
        scales=job["scales"],
        flip=job["flip"],
        config=_thresholds(job),
    )
    check_joints(estimator.skeleton, annotations.measured, job["model"])
    with PartialResults(job["partial"], job["settings"]) as partial:
        todo = [i for i in job["image_ids"] if i not in partial.done]
        n_done = len(job["image_ids"]) - len(todo)
        if n_done and not job["quiet"]:
            logger.warning("%s: going on where an earlier run stopped: %d of %d photos are done",
                           job["name"], n_done, len(job["image_ids"]))  # fmt: skip
        bar = tqdm(todo, unit="photo", desc=job["name"], disable=True if job["quiet"] else None)
        for n, image_id in enumerate(bar):
            entry = annotations.imgs[image_id]
            path = inside_folder(job["images"], entry["file_name"])
            image = read_image(path)
            check_image_size(path, image.shape, entry)
            if n == 0:  # the first run compiles and fills caches
                run_in_steps(estimator, image)
            poses, times = run_in_steps(estimator, image)
            results = as_results(poses, image_id, annotations)
            partial.add(image_id, {"results": results, "ms": times})
        done = [partial.done[i] for i in job["image_ids"]]
    return {
        "settings": describe(estimator, job["device"]),
        "results": [person for image in done for person in image["results"]],
        "ms": median_times([image["ms"] for image in done]),
        "time_by_people": _time_scenes(estimator, job),
        **_memory(),
    }


def _thresholds(job: dict[str, Any]) -> Any:
    """The thresholds of the model's method that a job names; None where it names none."""
    if "thresholds" not in job:
        return None
    from openpaf.estimator.methods import method_of
    from openpaf.weights.catalog import resolve

    own: Any = method_of(resolve(job["model"]).spec)
    return dataclasses.replace(own.thresholds, **job["thresholds"])


def _time_scenes(estimator: Any, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Times of scenes, of the people who are shown: of all of them only accuracy is measured."""
    method, shown = estimator.method, job.get("shown_score", 0.0)
    method.options = method.options.replace(min_score=shown)
    return [
        _time_scene(estimator, int(n_people), path, job["repeats"], max(shown, 0.1))
        for n_people, path in job["scenes"]
    ]


def _time_scene(
    estimator: Any, n_people: int, path: str, repeats: int, min_score: float
) -> dict[str, Any]:
    image = read_image(path)
    poses, _ = run_in_steps(estimator, image)
    times = [run_in_steps(estimator, image)[1] for _ in range(repeats)]
    found = int((poses.person_scores >= min_score).sum())
    return {"people": n_people, "found": found, "ms": median_times(times)}


def _memory() -> dict[str, float | None]:
    """The most memory that this process had at any time, in MB."""
    peak: float | None = None
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    import torch

    gpu = None
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        gpu = torch.cuda.max_memory_allocated() / 1e6
    return {"peak_mb": peak, "gpu_peak_mb": gpu}


def main(path: str) -> int:
    """Do the job of a file, and write its result, or what went wrong, where the job says."""
    job = read_json(path)
    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    try:
        result = run_method(job)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        logger.debug("failed", exc_info=True)
        text = f"{job['name']}: {' '.join(str(error).split()) or type(error).__name__}"
        write_json({"error": text}, job["output"])
        return 2
    write_json(result, job["output"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

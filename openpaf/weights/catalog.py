"""From the name of a model to what it is and where its numbers are; the table of known models."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError, did_you_mean
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.weights import download
from openpaf.weights.exported import export_kind, read_export_spec
from openpaf.weights.hashing import how_verified, known_hash, sha256_of
from openpaf.weights.model_files import load_network, read_header
from openpaf.weights.pairs import pair_source, read_pair
from openpaf.weights.published import PUBLISHED, Published
from openpaf.weights.spec import ModelSource, ModelSpec, method_of

if TYPE_CHECKING:
    from torch import nn

#: The model that ``PoseEstimator()`` takes.
DEFAULT_MODEL = "lightweight-coco17"
#: Short names of shipped models, for those that are right for most people.
SHORT_NAMES = {"default": DEFAULT_MODEL, "fast": "fast-coco17"}


def resolve(model: str | Path | None = None, weights: str | Path | None = None) -> ModelSource:
    """What a model is and where its numbers are: once, at the door.

    Args:
        model: A name of :func:`table`, ``"default"``, ``"fast"``, path of a safetensors file of
            ours, of a pair's JSON file, or of an ONNX, OpenVINO, LiteRT or Core ML file that
            ``openpaf export`` wrote; the default model if None.
        weights: A checkpoint file to take in place of the model's own. Without ``model`` it must
            say itself how it is run.

    Returns:
        The model as a value, which everything after takes. The hash of a shipped or fetched file
        has been checked.

    Raises:
        ValueError: If ``weights`` is given for an exported file, or the extra is not installed
            that reads it.
        WeightsError: If there is no such model, or its file is damaged or says not how it is run.
    """
    kind = export_kind(model)
    if kind is not None:
        if weights is not None:
            raise ValueError(f"weights: {model} has its own, expected none")
        path = Path(str(model))
        return ModelSource(spec=read_export_spec(path, kind), file=path, kind=kind)
    published = PUBLISHED.get(str(model))
    if published is not None:
        spec = _published_spec(published)
        if weights is not None:
            return ModelSource(spec=spec, file=Path(weights), replaced=True)
        return ModelSource(spec=spec, file=download.cached(published.name))
    if weights is not None and model is None:
        return ModelSource(spec=read_header(weights), file=Path(weights))
    path = _file_of(model)
    if path.suffix.lower() == ".json":
        if weights is not None:
            raise ValueError(f"weights: {model} names its own, expected none")
        return _resolve_pair(path)
    if weights is not None:
        return ModelSource(spec=read_header(path), file=Path(weights), replaced=True)
    check_card(path)
    return ModelSource(spec=read_header(path), file=path)


def is_name(model: str) -> bool:
    """Whether this is the name of a model, shipped or published, and not a path."""
    return model in model_names()


def model_names() -> list[str]:
    """Names of models: short ones, shipped ones, published ones."""
    return [*SHORT_NAMES, *(path.stem for path in _shipped()), *PUBLISHED]


def _resolve_pair(path: Path) -> ModelSource:
    check_card(path)
    pair = read_pair(path)
    names = [*(name for name, _ in pair.detectors), pair.pose]
    shipped = {file.stem for file in _shipped()}
    parts = []
    for name in names:
        # A file beside the pair, unless it is a name; a pair of pairs would be a loop.
        part = name if name in shipped else path.parent / name
        if Path(part).suffix.lower() == ".json":
            raise WeightsError(f"{path}: expected a network, found {name!r}")
        parts.append(resolve(part))
    return pair_source(path, pair, tuple(parts))


def model_sha256(source: ModelSource) -> str:
    """The SHA-256 of a model: of its file, or of the hashes of its files where it has several.

    These are a pair's own and those of its networks, and both of an OpenVINO model.

    Raises:
        OSError: If one cannot be read.
    """
    files = dict.fromkeys([source.file, *(part.file for part in source.parts)])
    numbers = [file.with_suffix(".bin") for file in files if file.suffix == ".xml"]
    digests = [sha256_of(file) for file in (*files, *numbers)]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def load_model(
    model: str | Path | None = None, weights: str | Path | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Build the network of a model and fill it; in evaluation mode.

    Args:
        model: As :func:`resolve` takes it; no exported file.
        weights: As :func:`resolve` takes them.

    Raises:
        WeightsError: If the file is missing, damaged, or does not fit its network.
    """
    source = resolve(model, weights)
    return load_network(source), source.spec


def table() -> list[dict[str, Any]]:
    """The table of weights, those that ship with the library first.

    Returns:
        Rows of ``name``, ``shipped``, ``file`` (of a shipped one), ``method``, ``licence``,
        ``sha256`` (as far as it is known), ``md5``, ``hash`` (which of them is known:
        ``"sha256"``, ``"sha256:8"`` for the first eight digits, ``"md5"`` or ``"none"``),
        ``verified_by`` (the same in words), ``size`` in bytes, ``source`` (links), ``builder``,
        ``skeleton``, ``channel_order``, ``heatmap_grid``, ``paf_grid``, ``bgr``, ``mean``,
        ``scale``, ``AP`` (of COCO keypoints) and its ``protocol``; None for what is not known or
        does not apply.
    """
    return [_shipped_row(path) for path in _shipped()] + [
        _published_row(row) for row in PUBLISHED.values()
    ]


def _shipped_row(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        pair = _resolve_pair(path)
        spec, files = pair.spec, {path, *(part.file for part in pair.parts)}
    else:
        spec, files = read_header(path), {path}
    return {
        "name": spec.name,
        "shipped": True,
        "file": path,
        "method": spec.method,
        "licence": spec.licence,
        "sha256": sha256_of(path),
        "md5": None,
        "hash": "sha256",
        "verified_by": "sha256, that of its card",
        "size": sum(file.stat().st_size for file in files),
        "source": (),
        "skeleton": (spec.result or spec.skeleton).name,
        "AP": spec.metrics.get("AP"),
        "protocol": _protocol(spec.metrics),
        **_how_to_run(spec),
    }


def _protocol(metrics: Mapping[str, Any]) -> str | None:
    """How the AP of a shipped model was measured."""
    if "photos" in metrics and "size" in metrics:
        return f"{metrics['photos']}, short side {metrics['size']} px"
    return metrics.get("protocol")


def _published_row(row: Published) -> dict[str, Any]:
    return {
        "name": row.name,
        "shipped": False,
        "file": None,
        "method": method_of(row.builder, row.options),
        "licence": row.licence,
        "sha256": row.sha256,
        "md5": row.md5,
        "hash": known_hash(row),
        "verified_by": how_verified(row),
        "size": row.size,
        "source": row.urls,
        "skeleton": row.skeleton.name if row.skeleton else None,
        "AP": row.metrics["AP"],
        "protocol": row.metrics["protocol"],
        **_how_to_run(row),
    }


def _how_to_run(model: ModelSpec | Published) -> dict[str, Any]:
    names = ("builder", "channel_order", "heatmap_grid", "paf_grid", "bgr", "mean", "scale")
    return {name: getattr(model, name) for name in names}


def _shipped() -> list[Path]:
    """The files of the shipped models, the default one first."""
    try:
        folder = Path(str(resources.files("openpaf.models")))
    except ModuleNotFoundError:  # a checkout that is not installed: the models lie beside it
        folder = Path(__file__).resolve().parents[2] / "models"
    files = [*folder.glob("*.safetensors"), *folder.glob("*.json")]
    return sorted(files, key=lambda path: (path.stem != DEFAULT_MODEL, path.name))


def _file_of(model: str | Path | None) -> Path:
    """The file of a shipped model, or the file at a path; the default model if None."""
    model = SHORT_NAMES.get(str(model), model) if model else DEFAULT_MODEL
    shipped = {path.stem: path for path in _shipped()}
    if str(model) in shipped:
        return shipped[str(model)]
    if Path(model).is_file():
        return Path(model)
    hint = did_you_mean(str(model), model_names())
    raise WeightsError(
        f"model {str(model)!r}{hint}: neither a file, nor a shipped model "
        f"({', '.join(shipped) or 'none'}), nor a published one ({', '.join(PUBLISHED)})"
    )


def verify(name: str, *, cache: str | Path | None = None) -> str:
    """Compare the hash of a checkpoint with the one that is known.

    Loading by name from the cache does the same, so a damaged file is never run.

    Args:
        name: Of a row of the table.
        cache: As for :func:`cache_folder`.

    Returns:
        What it was compared with, e.g. ``"sha256"``.

    Raises:
        WeightsError: If the name is unknown, the file is not there, or its hash is another.
    """
    shipped = {path.stem: path for path in _shipped()}
    if name not in shipped:
        download.cached(name, cache)
        return how_verified(PUBLISHED[name])
    path = shipped[name]
    for file in (path, path.with_name(f"{name}-int8.xml"), path.with_name(f"{name}-int8.bin")):
        if file.exists():
            check_card(file)
    if path.suffix == ".json":
        _resolve_pair(path)  # which sees to the hashes of its parts
    return "sha256, that of its card"


def check_card(path: Path) -> None:
    """See that a file that ships with the library has the hash that its model's card gives.

    Args:
        path: Of any file; those that do not ship have no card.

    Raises:
        WeightsError: If it has another, or cannot be read.
    """
    shipped = _shipped()
    if not shipped or path.resolve().parent != shipped[0].resolve().parent:
        return
    card = path.with_name(path.stem.removesuffix("-int8") + ".md")
    try:
        digest = sha256_of(path)
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        where = getattr(error, "filename", None) or card
        raise WeightsError(f"{where}: cannot be read; install openpaf again") from error
    if not any(f"`{path.name}`" in line and f"`{digest}`" in line for line in lines):
        raise WeightsError(
            f"{path}: its sha256 {digest} is not that of its card; install openpaf again"
        )


def _published_spec(published: Published) -> ModelSpec:
    # Mask R-CNN gives px of its input, and normalizes by itself what is 0 to 1.
    px = Grid(1, 0.0)
    return ModelSpec(
        name=published.name,
        builder=published.builder,
        options=published.options,
        skeleton=published.skeleton or Skeleton.COCO17,  # of which a detector makes no use
        heatmap_grid=published.heatmap_grid or px,
        paf_grid=published.paf_grid or px,
        mean=published.mean if isinstance(published.mean, float) else 0.0,
        scale=published.scale if isinstance(published.scale, float) else 255.0,
        licence=published.licence,
        metrics=published.metrics,
        bgr=published.bgr,
        channel_order=published.channel_order,
        sigma_px=published.sigma_px,
    )

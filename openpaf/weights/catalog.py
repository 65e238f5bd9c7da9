"""The table of weights, shipped and published, and reading and writing them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError, printable
from openpaf.geometry import Grid
from openpaf.io.files import write_whole
from openpaf.weights import download
from openpaf.weights.checkpoints import compare, fill, open_checkpoint
from openpaf.weights.download import fetch as fetch
from openpaf.weights.hashing import how_verified, known_hash, sha256_of
from openpaf.weights.outline import check_grids, outline
from openpaf.weights.published import PUBLISHED, Published
from openpaf.weights.safetensors_files import open_safetensors
from openpaf.weights.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The model that ``PoseEstimator()`` takes.
DEFAULT_MODEL = "lightweight-coco17"
#: Short names of shipped models, for those that are right for most people.
SHORT_NAMES = {"default": DEFAULT_MODEL, "fast": "fast-coco17"}


def table() -> list[dict[str, Any]]:
    """The table of weights, those that ship with the library first.

    Returns:
        Rows of ``name``, ``shipped``, ``licence``, ``sha256`` (as far as it is known), ``md5``,
        ``hash`` (which of them is known: ``"sha256"``, ``"sha256:8"`` for the first eight digits,
        ``"md5"`` or ``"none"``), ``verified_by`` (the same in words), ``size`` in bytes,
        ``source`` (links), ``builder``, ``skeleton``, ``channel_order``, ``heatmap_grid``,
        ``paf_grid``, ``bgr``, ``mean``, ``scale``, ``AP`` (of COCO keypoints) and its
        ``protocol``; None for what is not known or does not apply.
    """
    return [_shipped_row(path) for path in _shipped()] + [
        _published_row(row) for row in PUBLISHED.values()
    ]


def _shipped_row(path: Path) -> dict[str, Any]:
    weights = read_header(path)
    return {
        "name": weights.name,
        "shipped": True,
        "licence": weights.licence,
        "sha256": sha256_of(path),
        "md5": None,
        "hash": "sha256",
        "verified_by": "sha256, that of its card",
        "size": path.stat().st_size,
        "source": (),
        "skeleton": (weights.result or weights.skeleton).name,
        "AP": weights.metrics.get("AP"),
        "protocol": weights.metrics.get("protocol"),
        **_how_to_run(weights),
    }


def _published_row(row: Published) -> dict[str, Any]:
    return {
        "name": row.name,
        "shipped": False,
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


def _how_to_run(row: ModelSpec | Published) -> dict[str, Any]:
    names = ("builder", "channel_order", "heatmap_grid", "paf_grid", "bgr", "mean", "scale")
    return {name: getattr(row, name) for name in names}


def _shipped() -> list[Path]:
    """The files of the shipped models, the default one first."""
    try:
        folder = Path(str(resources.files("openpaf.models")))
    except ModuleNotFoundError:  # a checkout that is not installed: the models lie beside it
        folder = Path(__file__).resolve().parents[2] / "models"
    files = folder.glob("*.safetensors")
    return sorted(files, key=lambda path: (path.stem != DEFAULT_MODEL, path.name))


def find(model: str | Path | None) -> Path:
    """The file of a model: shipped or fetched under this name, or a path.

    Args:
        model: A name of :func:`table`, ``"default"``, ``"fast"``, or a path; the default if None.

    Raises:
        WeightsError: If there is none; the message lists the names, or says how to fetch it.
    """
    model = SHORT_NAMES.get(str(model), model) if model else DEFAULT_MODEL
    shipped = {path.stem: path for path in _shipped()}
    if str(model) in shipped:
        return shipped[str(model)]
    if str(model) in PUBLISHED:
        return download.cached(str(model))
    if Path(model).is_file():
        return Path(model)
    raise WeightsError(
        f"model {str(model)!r}: neither a file, nor a shipped model "
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


def read_header(path: str | Path) -> ModelSpec:
    """How the model in a safetensors file is to be run.

    Raises:
        WeightsError: If the file is missing, damaged, or does not say.
    """
    path = Path(path)
    others = "; a file of another format needs its name: --model NAME --weights PATH"
    hint = "" if path.suffix == ".safetensors" else others
    try:
        with open_safetensors(path, "numpy", hint) as file:
            metadata = file.metadata()
    except OSError as error:
        reason = error.strerror or printable(error)
        raise WeightsError(f"{path}: cannot be read as safetensors ({reason}){hint}") from error
    return ModelSpec.from_metadata(metadata, path)


def load(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a checkpoint file, key for key; float16 becomes the network's dtype.

    Args:
        network: Changed in place. Its own ``RENAMES`` and ``IGNORED``, if it has them, say how
            published files call its parameters; see :func:`openpaf.weights.checkpoints.fill`.
        path: A PyTorch checkpoint, safetensors, ``.npz`` or ``.caffemodel``.

    Raises:
        WeightsError: If the file cannot be read, would run code, or keys are missing, left over,
            misshapen or not finite; the message lists them.
    """
    with open_checkpoint(path) as state:
        fill(network, state, path)


def save(state: dict[str, Tensor], path: str | Path, weights: ModelSpec) -> None:
    """Write weights as float16 safetensors, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    import torch
    from safetensors.torch import save as to_bytes

    halves = {key: value.to("cpu", torch.float16).contiguous() for key, value in state.items()}
    write_whole(path, to_bytes(halves, metadata=weights.to_metadata()))


def load_model(
    model: str | Path | None = None, weights: str | Path | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Build the network of a model and fill it; in evaluation mode.

    Args:
        model: A name of the table, or path of a file that says how it is to be run; the default
            model if None.
        weights: A file to take in place of the model's own. Without ``model`` it must say how it
            is to be run.

    Raises:
        WeightsError: If the file is missing, damaged, or does not fit its network.
    """
    from openpaf.networks import build

    row, path = locate(model, weights)
    network = outline(row, path)
    with open_checkpoint(path) as state:
        compare(network, state, path)
        network = build(row.builder, row.skeleton, **row.options)
        fill(network, state, path)
    check_grids(network.eval(), row, path)
    return network, row


def locate(
    model: str | Path | None = None, weights: str | Path | None = None
) -> tuple[ModelSpec, Path]:
    """How a model is to be run, and its file; the arguments are those of :func:`load_model`.

    Raises:
        WeightsError: If the file is missing, or does not say how it is to be run.
    """
    published = PUBLISHED.get(str(model))
    if published is not None:
        row = _as_weights(published)
        return row, Path(weights) if weights else download.cached(published.name)
    if weights is not None and model is None:
        return read_header(weights), Path(weights)
    path = find(model)
    if weights is None:
        check_card(path)
    return read_header(path), Path(weights) if weights else path


def _as_weights(row: Published) -> ModelSpec:
    if row.skeleton is None:
        raise WeightsError(f"{row.name}: a network that finds no joints")
    # A top-down network gives px of its input, and normalises by itself what is 0 to 1.
    px = Grid(1, 0.0)
    return ModelSpec(
        name=row.name,
        builder=row.builder,
        options=row.options,
        skeleton=row.skeleton,
        heatmap_grid=row.heatmap_grid or px,
        paf_grid=row.paf_grid or px,
        mean=row.mean if isinstance(row.mean, float) else 0.0,
        scale=row.scale if isinstance(row.scale, float) else 255.0,
        licence=row.licence,
        metrics=row.metrics,
        bgr=row.bgr,
        channel_order=row.channel_order,
    )

"""What a run starts from: new weights, the trunk of a classifier, or a model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from openpaf import weights
from openpaf.networks import BUILDERS, build
from openpaf.skeleton import Skeleton
from openpaf.training.config import NetworkConfig
from openpaf.weights import ModelSpec
from openpaf.weights.spec import method_of

_log = logging.getLogger(__name__)
_DEFAULT = "lightweight"


@dataclass(frozen=True, kw_only=True)
class Start:
    """The network of a run, and where its first weights come from.

    Args:
        builder: Its name for :func:`openpaf.networks.build`.
        options: Arguments of the builder.
        file: Weights to start from, or None.
        trunk: A classifier whose layers the trunk starts from, or None.
        spec: How the model of the weights is run; None where they are new, or do not say.
    """

    builder: str
    options: dict[str, Any]
    file: Path | None = None
    trunk: Path | None = None
    spec: ModelSpec | None = None

    @property
    def method(self) -> str:
        """What turns the outputs of the network into people or objects, by which it is trained."""
        return method_of(self.builder, self.options)

    def build(self, skeleton: Skeleton) -> nn.Module:
        """The network, with fresh weights.

        Raises:
            ValueError: If it is unknown, or has no such options.
        """
        try:
            return build(self.builder, skeleton, **self.options)
        except (OverflowError, RuntimeError, TypeError, ValueError) as error:  # torch's among them
            raise ValueError(f"[network] {error}") from error

    def fits(self, skeleton: Skeleton) -> bool:
        """Whether the weights are a model's of these joints and limbs."""
        return self.spec is not None and self.spec.skeleton == skeleton

    def load(self, network: nn.Module, skeleton: Skeleton) -> Collection[str] | None:
        """Fill the network.

        Returns:
            Names of the layers that are filled, the others being fresh; None for all.

        Raises:
            WeightsError: If a file is damaged or does not fit.
        """
        if self.trunk is not None:
            taken = weights.load_trunk(network, self.trunk)
            _log.info("%s: %d layers start from it, the others anew", self.trunk, len(taken))
            return taken
        if self.file is None:
            return ()
        if self.spec is None or self.fits(skeleton):
            weights.load(network, self.file)
            return None
        taken, new = weights.load_shared(network, self.spec, self.file)
        _log.info(
            "%s is a model of %s: %d layers start from it; new for %s: %d, from %s on",
            self.file, self.spec.skeleton.name, len(taken), skeleton.name, len(new), new[0],
        )  # fmt: skip
        return taken


def read_start(config: NetworkConfig) -> Start:
    """What a run starts from; of weights that describe themselves, the description counts.

    Raises:
        ValueError: If a key contradicts the description; the message names both.
        WeightsError: If the weights are missing, or are no weights.
    """
    name, options = config.name or _DEFAULT, dict(config.options)
    trunk = config.trunk and Path(config.trunk)
    if config.weights is None:
        return Start(builder=name, options=options, trunk=trunk or None)
    path = Path(config.weights)
    if path.suffix != ".safetensors" and not weights.is_name(config.weights):
        # It says nothing of itself.
        return Start(builder=name, options=options, file=path)
    source = weights.resolve(config.weights)
    spec = source.spec
    if source.kind != "weights":
        raise ValueError(f"network.weights: expected one network, got {config.weights}")
    if config.name not in (None, spec.builder):
        raise ValueError(
            f"network.name: expected {spec.builder!r}, that of {config.weights}, got {name!r}"
        )
    for key, value in options.items() if spec.method == "part_affinity" else ():
        theirs = spec.options.get(key, _default(spec.builder, key, value))
        if _listed(value) != _listed(theirs):
            raise ValueError(
                f"network.options.{key}: expected {theirs!r}, that of {config.weights}, "
                f"got {value!r}"
            )
    options = {**spec.options, **options}
    return Start(builder=spec.builder, options=options, file=source.file, spec=spec)


def _default(builder: str, option: str, other: Any) -> Any:
    """What a builder takes where an option is not given; another value if it does not say."""
    parameter = inspect.signature(BUILDERS[builder][0]).parameters.get(option)
    return other if parameter is None else parameter.default


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

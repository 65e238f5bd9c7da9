"""The options of an estimator, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openpaf.checks import check_number, is_whole
from openpaf.decoding import DecodeConfig
from openpaf.estimator.merging import sizes_of
from openpaf.estimator.methods import Options
from openpaf.estimator.multiscale import check_scales
from openpaf.weights.spec import ModelSpec


def checked_options(
    *,
    engine: str,
    device: str | None,
    threads: int | None,
    config: DecodeConfig | None,
    size: int,
    scales: Sequence[float],
    flip: bool,
    max_people: int | None,
    min_score: float,
) -> Options:
    """The options of an estimator, checked as far as they are the same for all methods."""
    if not isinstance(size, (int, np.integer)) or not 32 <= size <= 4096:
        raise ValueError(f"size: expected a whole number of px from 32 to 4096, got {size!r}")
    if threads is not None and not (is_whole(threads) and threads >= 1):
        raise ValueError(f"threads: expected a whole number from 1 on, got {threads!r}")
    if max_people is not None and not (is_whole(max_people) and max_people >= 1):
        raise ValueError(f"max_people: expected a whole number from 1 on, got {max_people!r}")
    check_number("min_score", min_score, least=0, most=1)
    scales = check_scales(scales)
    sizes_of(scales, int(size))  # an error now rather than when the model is loaded
    return Options(
        engine=engine,
        device=device,
        threads=threads,
        config=config or DecodeConfig(),
        size=int(size),
        scales=scales,
        flip=bool(flip),
        max_people=None if max_people is None else int(max_people),
        min_score=float(min_score),
    )


def with_own_sigma(options: Options, spec: ModelSpec) -> Options:
    """The options with the sigma of a model whose peaks are narrower than the parser expects."""
    if spec.sigma_px is None or spec.sigma_px >= options.config.sigma_px:
        return options
    return options.replace(config=DecodeConfig(sigma_px=spec.sigma_px))

"""``--set KEY=VALUE``: thresholds of the method that finds people, by the names of its class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from openpaf.weights.spec import ModelSpec

_WORDS = {"true": True, "false": False}


def thresholds_of(spec: ModelSpec, settings: Sequence[tuple[str, str]]) -> Any:
    """The thresholds of a model's method, some of them changed.

    Args:
        spec: Of the model.
        settings: Keys and values, as they were given; of one key the last counts.

    Returns:
        Such as :class:`openpaf.DecodeConfig`.

    Raises:
        ValueError: If the method has no thresholds or none of that name, or a value is of another
            type or out of range.
    """
    from openpaf.errors import did_you_mean
    from openpaf.estimator.methods import method_of

    defaults = getattr(method_of(spec), "thresholds", None)
    if defaults is None:
        raise ValueError(f"--set: {spec.name} has no thresholds that can be set")
    known = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)}
    values: dict[str, Any] = {}
    sigma_px = known.get("sigma_px")  # as without --set, a model's own where it is narrower
    if sigma_px is not None and spec.sigma_px is not None and spec.sigma_px < sigma_px:
        values["sigma_px"] = spec.sigma_px
    for key, text in settings:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(f"--set: expected one of {', '.join(known)}, got {key!r}{hint}")
        values[key] = _value(key, text, type(known[key]))
    try:
        return dataclasses.replace(defaults, **values)
    except ValueError as error:
        raise ValueError(f"--set: {error}") from error


def _value(key: str, text: str, kind: type) -> Any:
    try:
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise ValueError(f"--set: {key}: expected {expected}, got {text!r}") from None

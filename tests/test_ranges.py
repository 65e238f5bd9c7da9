"""Numbers out of their range are refused in one way, with their name and what was expected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from openpaf.checks import check_choice, check_number


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (1, {"least": 1, "most": 3}),
        (3.0, {"least": 1, "most": 3, "is_integer": True}),
        (np.float32(0.5), {"above": 0}),
        (math.inf, {"above": 0, "most": math.inf}),
        (-7, {}),
    ],
)
def test_numbers_in_their_range(value: Any, bounds: dict[str, Any]) -> None:
    check_number("size", value, **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (0, {"above": 0}, "a number > 0, got 0"),
        (0.5, {"least": 1}, "a number >= 1, got 0.5"),
        (4, {"least": 1, "most": 3}, "a number from 1 to 3, got 4"),
        (1.5, {"least": 1, "is_integer": True}, "a whole number >= 1, got 1.5"),
        (0, {"least": 1, "most": 1_000_000, "unit": "px"}, "a number of px from 1 to 1,000,000"),
        (math.inf, {"above": 0}, "a number > 0, got inf"),
        (math.nan, {"above": 0, "most": math.inf}, "a number > 0, got nan"),
        (10**400, {"above": 0, "most": math.inf}, "a number > 0, got 1000"),
        ("1", {"above": 0}, "a number > 0, got '1'"),
        (1j, {}, "a number, got 1j"),
    ],
)
def test_numbers_out_of_their_range(value: Any, bounds: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^size: expected {expected}"):
        check_number("size", value, **bounds)


def test_one_of_some_words() -> None:
    check_choice("kind", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"^kind: expected one of a, b, got 'c'$"):
        check_choice("kind", "c", ("a", "b"))

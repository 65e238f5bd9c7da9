"""The OpenAPI document holds: schemathesis makes requests of it, right and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_data import Fake, encoded

pytest.importorskip("fastapi", reason="fastapi is not installed (the extra 'serve')")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from openpaf.serving.app import make_app  # noqa: E402
from openpaf.serving.limits import Limits  # noqa: E402

_IMAGES = st.sampled_from([encoded((40, 30)), encoded((30, 40), "PNG"), encoded(format="WEBP")])
for _type in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
    schemathesis.openapi.media_type(_type, _IMAGES)
schemathesis.openapi.format("binary", _IMAGES)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        ("POST", "/predict", "POSITIVE"),
        ("POST", "/predict", "NEGATIVE"),
        ("GET", "/health", "POSITIVE"),
        ("GET", "/metrics", "POSITIVE"),
    ],
)
def test_every_answer_is_as_documented(method: str, path: str, mode: str) -> None:
    app = make_app(Fake(), limits=Limits(max_wait_s=0), threshold=0.5)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    statuses: set[int] = set()
    kind = schemathesis.GenerationMode[mode]

    @given(case=schema[path][method].as_strategy(generation_mode=kind))
    @settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: Any) -> None:
        statuses.add(case.call_and_validate().status_code)

    check()
    assert statuses == {200} if mode == "POSITIVE" else statuses & {400, 405, 422}

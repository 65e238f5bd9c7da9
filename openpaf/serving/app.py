"""The HTTP application: ``/predict``, ``/health``, ``/metrics`` and ``/openapi.json``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import openpaf
from openpaf.errors import printable
from openpaf.estimator import PoseEstimator
from openpaf.serving.answers import BODY, MEDIA_TYPES, Failure, Format, Health, People
from openpaf.serving.counting import Counting
from openpaf.serving.limits import Limits
from openpaf.serving.metrics import CONTENT_TYPE
from openpaf.serving.service import Service

_DESCRIPTION = "Finds every person in an image and their joints. Images are not stored."
_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "Not an image that can be read"},
    408: {"model": Failure, "description": "The body came too slowly"},
    413: {"model": Failure, "description": "Too many bytes or pixels"},
    422: {"model": Failure, "description": "A wrong parameter"},
    500: {"model": Failure, "description": "The server failed on this image"},
    503: {
        "model": Failure,
        "description": "The queue is full",
        "headers": {"Retry-After": {"description": "In s", "schema": {"type": "integer"}}},
    },
}


def make_app(
    estimator: PoseEstimator, *, limits: Limits | None = None, threshold: float = 0.0
) -> FastAPI:
    """The application that an ASGI server such as uvicorn runs.

    Args:
        estimator: Finds the people, of all requests.
        limits: Limits for requests.
        threshold: Leave out people whose score is below this; a request may ask for more.

    Returns:
        The application; when it stops, it finishes what is queued.
    """
    service = Service(estimator, limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="openpaf",
        version=openpaf.__version__,
        description=_DESCRIPTION,
        docs_url=None,  # its page loads scripts of other sites
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Counting, path="/predict", answered=service.metrics.answered)
    app.add_exception_handler(HTTPException, _failure)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    _add_predict(app, service, threshold)
    _add_state(app, service)
    return app


def _add_predict(app: FastAPI, service: Service, threshold: float) -> None:
    least = Query(
        threshold,
        ge=threshold,
        le=1.0,
        allow_inf_nan=False,
        description="Leave out people whose score is lower.",
    )
    how = Query(Format.JSON, description="JSON, or the image with its people drawn.")

    @app.post(
        "/predict",
        summary="The people of an image",
        description="The body is a JPEG, PNG or WebP image, or a form with one such file.",
        response_class=Response,
        responses={
            200: {
                "model": People,
                "content": {
                    MEDIA_TYPES[format]: {"schema": {"type": "string", "format": "binary"}}
                    for format in (Format.JPEG, Format.PNG)
                },
            },
            **_FAILURES,
        },
        openapi_extra={"requestBody": BODY},
    )
    async def predict(request: Request, format: Format = how, threshold: float = least) -> Response:
        for name in request.query_params:
            if name not in ("format", "threshold"):
                raise HTTPException(422, f"{printable(name)}: no such parameter")
        content = await service.answer(request, format, threshold)
        return Response(content, media_type=MEDIA_TYPES[format])


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health",
        summary="Whether images are answered, and by which model",
        responses={503: {"model": Failure, "description": "Images are no longer answered"}},
    )
    async def health() -> Health:
        if not service.batcher.is_alive:
            raise HTTPException(503, "images are no longer answered")
        estimator = service.batcher.estimator
        return Health(
            status="ok",
            model=estimator.spec.name,
            engine=estimator.engine,
            size=estimator.size,
            version=openpaf.__version__,
        )

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


async def _failure(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "no such page; /openapi.json has them" if error.status_code == 404 else error.detail
    return JSONResponse({"error": message}, error.status_code, headers=error.headers)


async def _wrong_parameter(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    message = f"{first['loc'][-1]}: {first['msg']}, got {printable(repr(first['input']))}"
    return JSONResponse({"error": message}, 422)

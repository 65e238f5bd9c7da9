"""People as answers: JSON, and drawn images; and what OpenAPI says of requests and answers."""

from __future__ import annotations

import enum
import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from openpaf.io.coco import poses_to_coco
from openpaf.poses import Poses
from openpaf.visualization.draw import draw_poses


class Format(str, enum.Enum):
    """What ``/predict`` answers with."""

    JSON = "json"
    JPEG = "jpeg"
    PNG = "png"


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.JPEG: "image/jpeg",
    Format.PNG: "image/png",
}


class Person(BaseModel):
    """An entry of COCO's list of results."""

    image_id: int = Field(description="Always 0.")
    category_id: int = Field(description="Always 1, a person.")
    keypoints: list[float] = Field(
        description="x, y in px and score of each joint, in the order of joints; 0, 0, 0 where "
        "missing. The center of the top-left pixel is (0, 0)."
    )
    score: float = Field(description="About the probability that the person is there.")
    bbox: list[float] = Field(description="x, y, width and height in px, around the joints.")


class People(BaseModel):
    """The people of an image, best first."""

    size: list[int] = Field(description="Width and height of the upright image in px.")
    joints: list[str] = Field(description="Names of the joints.")
    people: list[Person]


class Failure(BaseModel):
    """Why there is no result."""

    error: str


class Health(BaseModel):
    """What is served."""

    status: str
    model: str
    engine: str
    size: int
    version: str


#: What OpenAPI says of the body of ``/predict``.
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        **{
            media_type: {"schema": {"type": "string", "format": "binary", "minLength": 1}}
            for media_type in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "string", "format": "binary", "minLength": 1}},
                "required": ["image"],
                "additionalProperties": False,
            }
        },
    },
}


def encode(image: NDArray[np.uint8], poses: Poses, format: Format) -> bytes:
    """The people of an image, as the body of an answer.

    Args:
        image: RGB uint8 (H, W, 3).
        poses: Its people, in px of the image.
        format: JSON, or how the image with its people drawn is encoded.
    """
    if format is Format.JSON:
        height, width = image.shape[:2]
        entries = poses_to_coco(poses, 0, skeleton=poses.skeleton)
        people = [{name: entry[name] for name in Person.model_fields} for entry in entries]
        answer = {"size": [width, height], "joints": poses.skeleton.joints, "people": people}
        return json.dumps(answer, allow_nan=False).encode()
    from PIL import Image

    encoded = io.BytesIO()
    drawn = Image.fromarray(draw_poses(image, poses))
    if format is Format.JPEG:
        drawn.save(encoded, "JPEG", quality=92, subsampling=0)
    else:
        drawn.save(encoded, "PNG")
    return encoded.getvalue()

"""``openpaf skeleton``: list a skeleton, and choose limbs for the joints of labeled photos."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import add_verb
from openpaf.cli.common import counted, path_argument, positive_integer, say, shown, waiting
from openpaf.cli.photos import check_writable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.evaluation.limbs import Suggestion
    from openpaf.skeleton import Skeleton

_DESCRIPTION = """\
`show` lists joints, sides, limbs and OKS sigmas of a skeleton: a TOML or JSON file, the category of
annotations, or a model's. `suggest` chooses limbs for labeled joints: the shortest that connect
all, where the category does not, and then, one after the other, those that add most: with which the
parser joins most joints to the right one of three true people who overlap, with a quarter of their
joints hidden.
"""
_EPILOG = """\
examples:
  openpaf skeleton show lightweight-coco17
  openpaf skeleton suggest labels.json
  openpaf skeleton suggest labels.json --image-dir photos/ --output kite.toml

--output writes the skeleton, which `[data] skeleton = "kite.toml"` trains, and beside it kite.png,
a person with its limbs: redundant ones thin. With --image-dir it is drawn over the photo.
"""
_SIDE_PX = 640


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = add_verb(
        verbs,
        "skeleton",
        None,
        help="list a skeleton, or choose limbs for labeled joints",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = add_verb(actions, "show", _show, help="list joints, limbs and OKS sigmas")
    show.add_argument("source", metavar="FILE_OR_MODEL", help="TOML, JSON, annotations or a model")
    suggest = add_verb(actions, "suggest", _suggest, help="choose limbs from labels")
    suggest.add_argument(
        "annotations", metavar="ANNOTATIONS.json", type=path_argument, help="in COCO format"
    )
    for action in (show, suggest):
        action.add_argument("--category", metavar="NAME", help="where several have joints")
    add = suggest.add_argument
    add("--image-dir", metavar="DIR", type=path_argument, help="of the photos, to draw over one")
    add("--output", metavar="FILE", type=path_argument, help="skeleton to write, .toml or .json")
    add("--tree", action="store_true", help="begin without the limbs that close a circle")
    add(
        "--limbs",
        type=positive_integer,
        metavar="N",
        help="at most so many redundant limbs (default: as many as joints)",
    )


def _show(arguments: argparse.Namespace) -> int:
    skeleton = _skeleton(arguments.source, arguments.category)
    swap = skeleton.flip_permutation
    say(f"{shown(skeleton.name)}: {skeleton.n_joints} joints, {skeleton.n_limbs} limbs")
    for k, name in enumerate(skeleton.joints):
        side = f", mirrored: {shown(skeleton.joints[swap[k]])}" if swap[k] != k else ""
        say(f"  {k:2} {shown(name)}: OKS sigma {skeleton.oks_sigmas[k]:g}{side}")
    for a, b in skeleton.limbs:
        say(f"  {shown(skeleton.joints[a])} - {shown(skeleton.joints[b])}")
    return 0


def _skeleton(source: str, category: str | None) -> Skeleton:
    """The skeleton of a file, of annotations or of a model."""
    from openpaf.evaluation.settings import skeleton_of_model
    from openpaf.io.skeleton_files import read_skeleton

    if Path(source).suffix.lower() in (".toml", ".json"):
        return read_skeleton(source, category=category)
    return skeleton_of_model(source)


def _suggest(arguments: argparse.Namespace) -> int:
    from openpaf.evaluation.limbs import tree_of
    from openpaf.evaluation.skeletons import labeled_people, skeleton_of
    from openpaf.io.skeleton_files import write_skeleton

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    check_writable(arguments.output, "--output")
    path = arguments.annotations
    data = _labels(path)
    skeleton = skeleton_of(data, path, category=arguments.category)
    people = labeled_people(data, skeleton, path, category=arguments.category)
    if not people:
        raise ValueError(f"{path}: no labeled joints of {skeleton.name!r} in it")
    skeleton = tree_of(skeleton) if arguments.tree else skeleton
    joints = [person for _, person in people]
    made = _suggestion(path, skeleton, joints, arguments.limbs)
    _say_suggestion(made, len(people))
    if arguments.output:
        write_skeleton(made.skeleton, arguments.output)
        drawing = arguments.output.with_suffix(".png")
        _draw(made, people, data, arguments.image_dir, drawing)
        say(f"written: {shown(arguments.output)}, {shown(drawing)}")
    return 0


def _labels(path: Path) -> Mapping[str, Any]:
    from openpaf.io.json_files import read_json

    data = read_json(path)
    lists = ("images", "annotations", "categories")
    if not isinstance(data, Mapping) or not all(isinstance(data.get(k), list) for k in lists):
        raise ValueError(f"{path}: expected COCO format, with lists {', '.join(lists)}")
    return data


def _suggestion(
    path: Path, skeleton: Skeleton, joints: list[NDArray[np.float64]], max_limbs: int | None
) -> Suggestion:
    import numpy as np

    from openpaf.evaluation.limbs import suggest_limbs

    try:
        with waiting("trying limbs"):
            return suggest_limbs(skeleton, np.array(joints), max_limbs=max_limbs)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _say_suggestion(made: Suggestion, n_people: int) -> None:
    names = made.skeleton.joints
    say(f"{shown(made.skeleton.name)}: {counted(len(names), 'joint', 'joints')}, "
        f"{counted(n_people, 'label', 'labels')}")  # fmt: skip
    tree = ", ".join(f"{shown(names[a])}-{shown(names[b])}" for a, b in
                     made.skeleton.limbs[: made.n_tree])  # fmt: skip
    say(f"{made.scores[0]:.3f} of the joints joined to the right one with {tree}")
    for group, score in zip(made.groups, made.scores[1:], strict=True):
        limbs = " and ".join(f"{shown(names[a])}-{shown(names[b])}" for a, b in group)
        say(f"{score:.3f} with {limbs}")
    if not made.groups:
        say("no other limb adds anything")


def _draw(
    made: Suggestion,
    people: list[tuple[Any, NDArray[np.float64]]],
    data: Mapping[str, Any],
    folder: Path | None,
    path: Path,
) -> None:
    """Draw the limbs over the person of whom most joints are labeled."""
    import numpy as np
    from PIL import Image

    from openpaf.geometry import Letterbox
    from openpaf.io.images import read_image
    from openpaf.io.paths import inside_folder
    from openpaf.visualization.limbs import draw_limbs

    image_id, joints = max(people, key=lambda one: int((one[1][:, 2] > 0).sum()))
    xy = np.where(joints[:, 2:] > 0, joints[:, :2], np.nan)
    low, high = np.nanmin(xy, axis=0), np.nanmax(xy, axis=0)
    margin = 0.15 * max((high - low).max(), 8.0)
    low, high = np.floor(low - margin).astype(int), np.ceil(high + margin).astype(int)
    crop = np.full((high[1] - low[1], high[0] - low[0], 3), 70, np.uint8)
    if folder is not None:
        entry = next(image for image in data["images"] if image["id"] == image_id)
        image = read_image(inside_folder(folder, entry["file_name"]))
        (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, image.shape[1::-1])
        crop[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]] = image[y0:y1, x0:x1]
    ratio = _SIDE_PX / max(crop.shape)
    hw = round(crop.shape[0] * ratio), round(crop.shape[1] * ratio)
    letterbox = Letterbox(image_hw=crop.shape[:2], resized_hw=hw, size_hw=hw)
    canvas = letterbox.apply(crop).transpose(1, 2, 0).astype(np.uint8)
    points = letterbox.points_to_network((xy - low).astype(np.float32))
    Image.fromarray(draw_limbs(canvas, points, made.skeleton, n_first=made.n_tree)).save(path)

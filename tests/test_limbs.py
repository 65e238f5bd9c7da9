"""Limbs are chosen where they help: to connect, and around joints that are hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openpaf import Skeleton, read_skeleton
from openpaf.cli import main
from openpaf.evaluation.limbs import suggest_limbs, tree_of

SNAKE = Skeleton(
    name="snake", joints=("head", "neck", "belly", "tail"), limbs=((0, 1),), oks_sigmas=(0.05,) * 4
)  # fmt: skip


def snakes(n: int = 30) -> np.ndarray:
    """Four joints one after the other, each at a right angle to the last, or straight on."""
    rng = np.random.default_rng(0)
    turns = np.cumsum(rng.integers(-1, 2, (n, 3)) * np.pi / 4, axis=1)
    steps = 40 * np.stack([np.cos(turns), np.sin(turns)], axis=2)
    xy = np.concatenate([np.zeros((n, 1, 2)), np.cumsum(steps, axis=1)], axis=1)
    return np.concatenate([xy, np.full((n, 4, 1), 2.0)], axis=2)


def test_joints_are_connected_by_the_shortest_limbs() -> None:
    made = suggest_limbs(SNAKE, snakes(), max_limbs=1, n_scenes=4)
    assert made.skeleton.limbs[: made.n_tree] == ((0, 1), (1, 2), (2, 3))


def test_redundant_limbs_pass_over_hidden_joints() -> None:
    made = suggest_limbs(SNAKE, snakes(), n_scenes=30)
    assert made.groups
    assert made.scores[1] > made.scores[0] + 0.01
    assert list(made.scores) == sorted(made.scores)
    assert len(made.skeleton.limbs) == made.n_tree + len(made.groups)
    assert suggest_limbs(SNAKE, snakes(), n_scenes=30) == made  # no chance


def test_mirror_images_come_together() -> None:
    kite = Skeleton(
        name="kite", joints=("top", "left", "right", "tail"), limbs=((0, 1), (0, 2), (0, 3)),
        flip_pairs=((1, 2),), oks_sigmas=(0.05,) * 4,
    )  # fmt: skip
    shape = np.array([[[50, 0, 2], [20, 40, 2], [80, 40, 2], [50, 150, 2]]], float)
    made = suggest_limbs(kite, shape, n_scenes=20)
    assert made.groups
    for group in made.groups:
        assert group in (((1, 2),), ((1, 3), (2, 3)))
    assert all(0 <= i < made.skeleton.n_limbs for i, _ in made.skeleton.flip_limbs)


def test_limbs_that_close_a_circle_are_left_out() -> None:
    for skeleton in (Skeleton.COCO17, Skeleton.COCO18_REDUNDANT, Skeleton.BODY25):
        tree = tree_of(skeleton)
        assert tree.n_limbs == skeleton.n_joints - 1
        assert tree.unconnected == ()
    assert tree_of(Skeleton.COCO18_REDUNDANT).limbs == Skeleton.COCO18.limbs[:17]


def test_the_tree_of_coco_connects_the_shoulders_without_the_ears() -> None:
    limbs = set(tree_of(Skeleton.COCO17).limbs)
    assert (5, 6) in limbs
    assert not {(1, 3), (2, 4)} & limbs  # eyes to ears: one ear is hidden in most profiles
    # Of a skeleton of the same joints that lacks some of these limbs, still a tree.
    fewer = replace(Skeleton.COCO17, limbs=Skeleton.COCO17.limbs[:19])
    assert tree_of(fewer).n_limbs == 16


def labels() -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [
            {"id": 1, "name": "snake", "keypoints": list(SNAKE.joints), "skeleton": [[1, 2]],
             "oks_sigmas": [0.05] * 4}
        ],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "keypoints": xyv.ravel().tolist()}
            for i, xyv in enumerate(snakes())
        ],
    }  # fmt: skip


def test_the_command_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(labels()))
    command = ["skeleton", "suggest", str(tmp_path / "a.json"), "--limbs", "1"]
    assert main([*command, "--output", str(tmp_path / "s.toml")]) == 0
    out = capsys.readouterr().out
    assert "snake: 4 joints, 30 labels" in out
    assert "joined to the right one with head-neck, neck-belly, belly-tail" in out
    made = read_skeleton(tmp_path / "s.toml")
    assert made.limbs[:3] == ((0, 1), (1, 2), (2, 3))
    assert made.n_limbs == 4
    from PIL import Image

    with Image.open(tmp_path / "s.png") as drawing:
        assert max(drawing.size) == 640
    assert main(["skeleton", "show", str(tmp_path / "s.toml")]) == 0
    out = capsys.readouterr().out
    assert "snake: 4 joints, 4 limbs" in out
    assert "  belly - tail\n" in out
    assert main(["skeleton", "show", "default"]) == 0
    assert "0 nose: OKS sigma 0.026" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["annotations"][3]["keypoints"].pop(),
         "a.json: annotation 3 has 11 numbers in 'keypoints', expected 12 for 'snake'"),
        (lambda data: data["annotations"].clear(), "a.json: no labeled joints of 'snake' in it"),
        (lambda data: data.pop("images"), "a.json: expected COCO format, with lists images, "),
        (lambda data: [row["keypoints"].__setitem__(11, 0) for row in data["annotations"]],
         "a.json: labels: no person has a labeled tail"),
        (lambda data: data["categories"][0].pop("keypoints"), "a.json: categories: expected one"),
    ],
)  # fmt: skip
def test_wrong_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    data = labels()
    change(data)
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert main(["skeleton", "suggest", str(tmp_path / "a.json")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err

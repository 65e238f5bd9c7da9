"""Skeletons are drawn where the joints are, readable at every size, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from time import thread_time

import numpy as np
import pytest
from numpy.typing import NDArray

from openpaf import Poses, Skeleton
from openpaf.kernels.strokes import paint
from openpaf.visualization.draw import CENTER, LEFT, RIGHT, _drawn_limbs, draw_poses

# A person facing us, in units of the height; COCO's joints.
# fmt: off
STANDING = np.array([
    (50, 8), (52, 6), (48, 6), (55, 8), (45, 8), (60, 20), (40, 20), (66, 36), (34, 36), (68, 50),
    (32, 50), (56, 52), (44, 52), (57, 74), (43, 74), (58, 96), (42, 96),
], float)
# fmt: on
COCO_LIMBS = (
    "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_elbow "
    "right_elbow-right_wrist left_hip-left_knee left_knee-left_ankle right_hip-right_knee "
    "right_knee-right_ankle nose-left_eye nose-right_eye left_eye-left_ear "
    "right_eye-right_ear left_shoulder-right_shoulder left_hip-right_hip "
    "left_shoulder-left_hip right_shoulder-right_hip"
)


def person(height: float = 200, x: float = 0, y: float = 0, score: float = 1.0) -> Poses:
    xy = STANDING * height / 100 + (x, y)
    return Poses.from_keypoints(np.column_stack([xy, np.full(17, score)])[None], Skeleton.COCO17)


def gray(height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def drawn_names(skeleton: Skeleton) -> set[str]:
    return {"-".join(skeleton.joints[k] for k in limb) for limb in _drawn_limbs(skeleton)}


def test_nobody_gives_the_same_image() -> None:
    image = gray()
    out = draw_poses(image, Poses.empty(Skeleton.COCO17), boxes=True, scores=True)
    np.testing.assert_array_equal(out, image)
    assert out is not image


def test_the_image_given_is_left_alone() -> None:
    image = gray()
    out = draw_poses(image, person(), boxes=True, scores=True)
    assert (image == 128).all()
    assert out.dtype == np.uint8
    assert out.shape == image.shape
    assert (out != image).any()


def test_limbs_have_the_color_of_their_side() -> None:
    out = draw_poses(gray(), person()).astype(int)
    poses = person()
    for a, b, color in [
        ("left_hip", "left_knee", LEFT),
        ("right_knee", "right_ankle", RIGHT),
        ("left_elbow", "left_wrist", LEFT),
        ("left_shoulder", "right_shoulder", CENTER),
        ("left_hip", "right_hip", CENTER),
    ]:
        middle = (poses.joint(a)[0, :2] + poses.joint(b)[0, :2]) / 2
        x, y = np.rint(middle).astype(int)
        assert np.abs(out[y, x] - color).max() <= 12, (a, b)


def test_only_limbs_an_eye_would_draw() -> None:
    assert drawn_names(Skeleton.COCO17) == set(COCO_LIMBS.split())
    out = draw_poses(gray(), person())
    wrist_to_hip = (person().joint("left_wrist") + person().joint("left_hip"))[0, :2] / 2
    knees = (person().joint("left_knee") + person().joint("right_knee"))[0, :2] / 2
    for x, y in np.rint([wrist_to_hip, knees]).astype(int):
        assert (out[y, x] == 128).all()


def test_published_skeletons() -> None:
    assert len(drawn_names(Skeleton.COCO18)) == 17  # all but ear to shoulder
    assert len(drawn_names(Skeleton.BODY25)) == 24
    assert len(drawn_names(Skeleton.MPI15)) == 14
    assert not any("ear-" in n and "shoulder" in n for n in drawn_names(Skeleton.BODY25))


def test_a_skeleton_of_other_things_is_drawn_whole() -> None:
    ring = Skeleton(
        name="ring", joints=("a", "b", "c"), limbs=((0, 1), (1, 2), (2, 0)), oks_sigmas=(0.1,) * 3
    )
    assert len(_drawn_limbs(ring)) == 3


def test_a_redundant_limb_is_drawn_where_nothing_else_joins_its_ends() -> None:
    arm = Skeleton(
        name="arm",
        joints=("left_shoulder", "left_wrist"),
        limbs=((0, 1),),
        oks_sigmas=(0.1, 0.1),
    )
    assert _drawn_limbs(arm) == [(0, 1)]


def test_lines_grow_with_the_person_and_stay_visible() -> None:
    def thigh_px(image_hw: tuple[int, int], height: float) -> int:
        poses = person(height, x=10, y=5)
        row = round(float((poses.joint("left_hip") + poses.joint("left_knee"))[0, 1] / 2))
        out = draw_poses(gray(*image_hw), poses)
        return int((out[row, :, 0].astype(int) > 200).sum())  # orange pixels of one row

    assert thigh_px((240, 320), 60) >= 1
    assert thigh_px((240, 320), 60) <= thigh_px((1080, 1920), 400) < thigh_px((2160, 3840), 2000)
    assert thigh_px((200, 200), 150) <= 8
    assert thigh_px((2160, 3840), 300) >= 6


def test_strokes_are_antialiased() -> None:
    out = draw_poses(np.zeros((240, 320, 3), np.uint8), person())
    assert len(np.unique(out.reshape(-1, 3), axis=0)) > 60


def test_strokes_are_what_is_near_their_lines() -> None:
    """Against the distances of all pixels, in NumPy; one line lies across the border."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    ends = np.array(
        [[[5, 6], [30, 20]], [[20, 5], [20, 33]], [[33.3, 14.7]] * 2, [[40, 35], [70, 30]]]
    )
    radii, rims = np.array([2.5, 1.2, 4.0, 0.4]), np.array([0, 0, 1.0, 0])
    alphas, outline = np.array([1, 0.5, 0.8, 1]), 0.9
    colors = rng.integers(0, 256, (4, 3), np.uint8)
    edges = np.array([(24, 26, 30), (255, 255, 255)], np.uint8)
    painted = image.copy()
    paint(painted, ends, radii, rims, outline, colors, edges, alphas)

    points = np.stack(np.meshgrid(np.arange(50), np.arange(40)), axis=2).astype(float)
    expected = image.astype(float)

    def lay(n: int, radius: float, color: NDArray[np.uint8]) -> None:
        along = ends[n, 1] - ends[n, 0]
        share = np.clip(((points - ends[n, 0]) @ along) / max(along @ along, 1e-9), 0, 1)
        distance = np.linalg.norm(points - ends[n, 0] - share[..., None] * along, axis=2)
        covered = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
        new = alphas[n] * color + (1 - alphas[n]) * image
        expected[:] = (1 - covered) * expected + covered * new

    for n in range(4):
        lay(n, radii[n] + outline, edges[0])
    for n in range(4):
        if rims[n]:
            lay(n, radii[n], edges[1])
        lay(n, radii[n] - rims[n], colors[n])
    assert np.abs(painted - expected).max() <= 2  # every coat is rounded
    assert (painted != image).any(axis=2).mean() > 0.15


def test_nothing_is_painted_away_from_the_person() -> None:
    out = draw_poses(gray(), person(100, x=100, y=60))
    rows, columns = np.nonzero((out != 128).any(axis=2))
    xy = person(100, x=100, y=60).xy[0]
    for places, joints in ((columns, xy[:, 0]), (rows, xy[:, 1])):
        assert joints.min() - 5 < places.min() <= joints.min()
        assert joints.max() <= places.max() < joints.max() + 5


def test_labels_are_kept_apart() -> None:
    """Plates are kept for the next frame, and nothing that is drawn over them stays on them."""
    poses = person(y=20).replace(ids=np.array([12]))
    first = draw_poses(gray(), poses)
    draw_poses(gray(), person(y=8).replace(ids=np.array([12])), boxes=True)
    draw_poses(gray(), poses.replace(ids=np.array([21])))
    np.testing.assert_array_equal(draw_poses(gray(), poses), first)


def test_a_dark_edge_stands_out_on_white() -> None:
    out = draw_poses(np.full((240, 320, 3), 255, np.uint8), person())
    assert (out.max(axis=2) < 150).sum() > 300


def test_weak_people_are_fainter() -> None:
    change = [
        np.abs(draw_poses(gray(), person(score=s), min_joint_score=0).astype(int) - 128).sum()
        for s in (1, 0.3, 0.05)
    ]
    assert change[0] > 1.3 * change[1] > 1.3 * change[2] > 0


def test_missing_joints_and_their_limbs_are_left_out() -> None:
    keypoints = np.column_stack([STANDING * 2, np.ones(17)])
    keypoints[[13, 15]] = 0  # left knee and ankle
    poses = Poses.from_keypoints(keypoints[None], Skeleton.COCO17)
    out = draw_poses(gray(), poses)
    assert (out[150:, 108:] == 128).all()
    assert (out[150:, :100] != 128).any()
    weak = person().scores.copy()
    weak[:, [13, 15]] = 0.2
    cut = draw_poses(gray(), person().replace(scores=weak), min_joint_score=0.3)
    np.testing.assert_array_equal(cut, out)


def test_a_person_without_joints() -> None:
    nobody = Poses.from_keypoints(np.zeros((1, 17, 3)), Skeleton.COCO17)
    out = draw_poses(gray(), nobody, boxes=True, scores=True)
    np.testing.assert_array_equal(out, gray())


def test_one_joint() -> None:
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 0] = 100, 50, 1
    out = draw_poses(gray(), Poses.from_keypoints(keypoints, Skeleton.COCO17))
    rows, columns = np.nonzero((out != 128).any(axis=2))
    assert rows.mean() == pytest.approx(50, abs=0.2)
    assert columns.mean() == pytest.approx(100, abs=0.2)


@pytest.mark.parametrize("shift", [-150, 170, 1000, 1e6, -1e9, 1e30])
def test_people_across_the_border_and_far_outside(shift: float) -> None:
    out = draw_poses(gray(), person(x=shift, y=shift / 2), boxes=True, scores=True)
    assert out.shape == gray().shape
    if abs(shift) < 200:
        assert (out != 128).any()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 5000), (5000, 1), (4, 20_000), (200, 150)])
def test_odd_sizes(size_hw: tuple[int, int]) -> None:
    poses = person(150).replace(ids=np.array([7]))
    assert draw_poses(gray(*size_hw), poses, boxes=True, scores=True).shape == (*size_hw, 3)


def test_the_right_end_of_a_wide_image() -> None:
    out = draw_poses(gray(100, 20_000), person(90, x=19_850))
    rows, columns = np.nonzero((out != 128).any(axis=2))
    assert columns.min() > 19_850
    poses = person(90, x=19_850)
    assert columns.mean() == pytest.approx(float(poses.xy[..., 0].mean()), abs=6)
    assert rows.max() < 95


def test_boxes_scores_and_ids_add_to_the_image() -> None:
    poses = person(y=20)
    plain = draw_poses(gray(), poses)
    with_ids = poses.replace(ids=np.array([12]))
    images = [
        plain,
        draw_poses(gray(), poses, boxes=True),
        draw_poses(gray(), poses, scores=True),
        draw_poses(gray(), with_ids),
        draw_poses(gray(), with_ids, scores=True),
    ]
    assert len({image.tobytes() for image in images}) == len(images)
    np.testing.assert_array_equal(draw_poses(gray(), with_ids, ids=False), plain)


def test_a_width_of_choice() -> None:
    thin, thick = (draw_poses(gray(), person(), width=w) != 128 for w in (1, 10))
    assert thick.sum() > 2 * thin.sum()


def test_a_file_is_read(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(gray()).save(tmp_path / "a.png")
    out = draw_poses(tmp_path / "a.png", person())
    np.testing.assert_array_equal(out, draw_poses(gray(), person()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": np.zeros((4, 4, 3), np.float32)}, "image: expected"),
        ({"poses": np.zeros((1, 17, 3))}, "poses: expected Poses, got ndarray"),
        ({"ids": True}, "ids: these poses have none"),
        ({"min_joint_score": -1}, "min_joint_score: expected"),
        ({"min_joint_score": float("nan")}, "min_joint_score: expected"),
        ({"width": 0}, "width: expected"),
        ({"width": float("inf")}, "width: expected"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_poses(**{"image": gray(), "poses": person(), **options})  # type: ignore[arg-type]


def test_ten_people_are_drawn_in_the_time_of_a_frame() -> None:
    poses = person(160)
    ten = poses[[0] * 10].replace(xy=poses.xy + np.linspace(0, 300, 10)[:, None, None])
    image = gray(480, 640)
    draw_poses(image, ten)
    best = min(_timed(image, ten) for _ in range(10))
    assert best < 0.05  # 2 ms of wall time where it was measured


def _timed(image: NDArray[np.uint8], poses: Poses) -> float:
    start = thread_time()  # not the wall clock: others may load the machine
    draw_poses(image, poses)
    return thread_time() - start

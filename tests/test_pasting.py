"""Pieces of other images that a recipe pastes into crops, and what becomes of labels."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_training_data import photo_with

from openpaf import Grid, Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.augmentation import Labels, plan_crop
from openpaf.training.data.batches import BatchMaker
from openpaf.training.data.dataset import Photo, PhotoSet

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from pasting import PastedPlan, Pasting, Patch

S = Skeleton.COCO17


def pasted(
    photo: Photo, other: Photo, config: AugmentConfig, rng: np.random.Generator, **shares: float
) -> PastedPlan:
    """A crop of an image with pieces of another one."""
    pasting = Pasting(**{"occluders": 0.0, "paste_people": 0.0, **shares}, augment=config)
    plan = pasting(plan_crop(photo, config, S, rng), rng, lambda: other)
    assert isinstance(plan, PastedPlan)
    return plan


@given(st.integers(0, 10**6))
def test_occluders_hide_joints_without_people_and_labels_say_so(seed: int) -> None:
    config = AugmentConfig(crop_px=128, person_px=(60, 100))
    rng = np.random.default_rng(seed)
    photo = photo_with(rng.uniform(20, 120, (10, 2)))
    other = photo_with([[30, 30]])
    plan = pasted(photo, other, config, rng, occluders=1.0)
    before = Labels.of(photo, plan.affine, None)
    hidden = np.zeros((1, 17), bool)
    for patch in plan.patches:
        hidden |= plan.hidden_by(patch)
        back = np.linalg.inv(np.vstack([patch.affine, [0, 0, 1]]))[:2]
        angles = np.linspace(0, 2 * np.pi, 60)
        around = np.column_stack([np.cos(angles), np.sin(angles)]) * patch.axes
        turn = np.array([[np.cos(patch.angle), -np.sin(patch.angle)],
                         [np.sin(patch.angle), np.cos(patch.angle)]])  # fmt: skip
        source = (around @ turn.T + patch.center) @ back[:, :2].T + back[:, 2]
        assert (source >= -1e-6).all()
        assert (source <= 199 + 1e-6).all()
        in_box = (source > other.boxes[0, :2] + 1e-6) & (source < other.boxes[0, 2:] - 1e-6)
        assert not in_box.all(axis=1).any()
    assert hidden.sum() <= 0.5 * 10
    assert (plan.labels.keypoints[hidden, 2] == 1).all()
    shown = ~hidden & (plan.labels.keypoints[..., 2] > 0)
    assert (plan.labels.keypoints[shown, 2] == 2).all()
    assert (plan.labels.keypoints[..., 2] > 0).sum() == (before.keypoints[..., 2] > 0).sum()


def test_a_pasted_person_brings_its_pixels_and_labels() -> None:
    """Where a pasted joint's label is, the crop has the colour that the joint has in its photo."""
    config = AugmentConfig(crop_px=128, person_px=(40, 60), color=0, gray=0, blur=0)
    photo = photo_with([[100, 100], [120, 130]])
    other = photo_with([[30, 30], [50, 70]], path=Path("other"))
    dark, light = np.zeros((200, 200, 3), np.uint8), np.full((200, 200, 3), 90, np.uint8)
    for channel, (x, y) in enumerate(((30, 30), (50, 70))):
        light[y - 3 : y + 4, x - 3 : x + 4, channel] = 250
    n_seen = 0
    for seed in range(20):
        plan = pasted(photo, other, config, np.random.default_rng(seed), paste_people=1.0)
        pixels = plan.render(lambda p: light if p.path.name == "other" else dark)
        brought = plan.labels.keypoints[-1]
        joints = [k for k in range(17) if brought[k, 2] == 2]
        for joint in joints:
            x, y = np.rint(brought[joint, :2]).astype(int)
            if len(plan.labels.keypoints) == 2 and 0 <= x < 128 and 0 <= y < 128:
                channel = 0 if joint == 0 else 1
                assert pixels[y, x, channel] > 200, (seed, joint)
                n_seen += 1
    assert n_seen > 20


def test_somebody_who_is_pasted_over_is_no_longer_labelled() -> None:
    config = AugmentConfig(crop_px=128, person_px=(300, 300), max_enlarge=9)
    photo = photo_with([[100, 100], [104, 104], [102, 98]])
    other = photo_with([[40, 50]], path=Path("other"))
    plan = pasted(photo, other, config, np.random.default_rng(0), paste_people=1.0)
    gone = plan.patches[0].distance(plan.labels.keypoints[0, :3, :2]) < 1
    assert gone.sum() >= 2
    assert (plan.labels.keypoints[0, :3, 2] == np.where(gone, 0, 2)).all()
    assert plan.labels.keypoints[1, 0, 2] == 2


def test_a_patch_is_opaque_inside_and_clear_outside() -> None:
    patch = Patch(
        photo=photo_with([[0, 0]]), affine=np.eye(2, 3), center=np.array([10.0, 20.0]),
        axes=np.array([8.0, 4.0]), angle=np.pi / 2, power=2.0,
    )  # fmt: skip
    np.testing.assert_allclose(patch.distance(np.array([[10, 28], [14, 20]])), 1)
    assert patch.opacity(np.array([[10, 20], [10, 29.0], [19, 20]])).tolist() == [1, 0.25, 0]


def test_what_a_patch_brings_ends_at_its_edge() -> None:
    """An ignored box of the pasted photo is ignored inside of the patch only, and the other way."""
    config = AugmentConfig(crop_px=128, person_px=(50, 60), rotation_deg=0)
    everywhere = (999 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32),)
    photo = photo_with([[100, 100], [120, 130]])
    for ours, brought in ((False, True), (True, False), (True, True), (False, False)):
        base = replace(photo, ignore_outlines=everywhere) if ours else photo
        other = photo_with([[30, 30], [50, 70]], path=Path("other"))
        other = replace(other, ignore_outlines=everywhere) if brought else other
        plan = pasted(base, other, config, np.random.default_rng(3), paste_people=1.0)
        ignored = plan.ignored_px()
        columns, rows = np.meshgrid(np.arange(128), np.arange(128))
        inside = plan.patches[0].distance(np.stack([columns, rows], axis=-1)) < 1
        assert 0 < inside.mean() < 1
        assert (ignored == np.where(inside, brought, ours)).all()


def test_a_crop_is_as_annotated_as_all_of_its_images() -> None:
    config, rng = AugmentConfig(crop_px=128, person_px=(60, 100)), np.random.default_rng(0)
    photo, other = photo_with([[100, 100]]), photo_with([[40, 50]], unlabeled=(3,))
    plan = pasted(photo, other, config, rng, paste_people=1.0)
    assert plan.fully_annotated
    assert plan.unlabeled == {3}
    other = replace(other, fully_annotated=False)
    assert not pasted(photo, other, config, rng, paste_people=1.0).fully_annotated


def test_nothing_pasted_leaves_batches_as_they_are() -> None:
    """Chance is asked for no more than what may be pasted."""
    photos = PhotoSet(name="one", photos=[photo_with([[100, 100], [120, 130]])])
    config = AugmentConfig(crop_px=64, person_px=(60, 100))
    plain, changed = (
        BatchMaker(
            [photos], batch_size=2, augment=config, skeleton=S, heatmap_grid=Grid(8),
            paf_grid=Grid(8), change_plan=change,
        )
        for change in (None, Pasting(occluders=0.0, paste_people=0.0, augment=config))
    )  # fmt: skip
    for i in range(3):
        ours, theirs = next(plain.plans(1, i)), next(changed.plans(1, i))
        assert (ours.affine == theirs.affine).all()
        assert (ours.labels.keypoints == theirs.labels.keypoints).all()

"""The parser on hand-made scenes with known answers, and against its plain NumPy twin."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference_decoder

from openpaf import DecodeConfig, Fields, Grid, Poses, Skeleton, decode, encode_fields
from openpaf.decoding import (
    Limbs,
    Peaks,
    assemble_people,
    decode_batch,
    find_peaks,
    match_limbs,
    score_limbs,
)
from openpaf.skeleton.trees import tree_limbs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scenes

# Two limbs in a row: enough for every rule, and few enough to reckon by hand.
CHAIN = Skeleton(
    name="chain",
    joints=("a", "b", "c"),
    limbs=((0, 1), (1, 2)),
    oks_sigmas=(0.05, 0.05, 0.05),
)
BAR = Skeleton(name="bar", joints=("a", "b"), limbs=((0, 1),), oks_sigmas=(0.05, 0.05))


def people(skeleton: Skeleton, *rows: list[tuple[float, float]]) -> Poses:
    keypoints = np.array([[(x, y, 1) for x, y in row] for row in rows], np.float32)
    return Poses.from_keypoints(keypoints, skeleton)


def farthest_px(found: Poses, truth: Poses) -> float:
    """Of every true person's nearest found one, the largest distance of a joint; inf if none."""
    assert len(found) == len(truth)
    d = np.linalg.norm(found.xy[:, None] - truth.xy[None], axis=3)  # (found, true, K)
    missing = (found.scores[:, None] > 0) != (truth.scores[None] > 0)
    worst = np.where(missing.any(axis=2), np.inf, np.nanmax(np.nan_to_num(d), axis=2))
    assert len(set(worst.argmin(axis=0).tolist())) == len(truth)
    return float(worst.min(axis=0).max())


def standing(n: int, seed: int = 0, **kwargs) -> Poses:
    return scenes.random_people(n, (368, 656), np.random.default_rng(seed), **kwargs)


def test_one_person_comes_back_within_a_tenth_of_a_px():
    truth = standing(1)
    assert farthest_px(decode(encode_fields(truth, (368, 656))), truth) < 0.1


def test_the_four_steps_are_what_decode_does():
    fields = encode_fields(standing(5), (368, 656))
    config = DecodeConfig(limb_threshold=0.2)
    peaks = find_peaks(fields, config)
    candidates = score_limbs(fields, peaks, config)
    limbs = match_limbs(candidates, config)
    assert assemble_people(peaks, limbs, fields.skeleton, config) == decode(fields, config)
    assert (np.diff(limbs.weights) <= 0).all()
    assert (np.diff(candidates.types) >= 0).all()
    assert peaks.starts[-1] == len(peaks.scores)


def test_the_grids_of_heatmaps_and_pafs_are_each_their_own():
    truth = standing(6)
    fields = encode_fields(truth, (368, 656), heatmap_grid=Grid(8, 3.5), paf_grid=Grid(8, 0.0))
    assert farthest_px(decode(fields), truth) < 0.5
    shifted = dataclasses.replace(fields, paf_grid=Grid(8, 3.5))
    scores = [score_limbs(f, find_peaks(f)).scores.max() for f in (fields, shifted)]
    assert scores[0] >= scores[1] - 1e-6


def test_crossing_limbs_do_not_swap_their_ends():
    truth = people(BAR, [(50, 50), (150, 150)], [(150, 50), (50, 150)])
    assert farthest_px(decode(encode_fields(truth, (200, 200))), truth) < 0.1


def test_hugging_people_stay_two():
    truth = people(CHAIN, [(60, 60), (100, 62), (140, 60)], [(60, 84), (100, 82), (140, 84)])
    assert farthest_px(decode(encode_fields(truth, (200, 200))), truth) < 1.5


def test_a_person_inside_the_box_of_another_is_found():
    outer = [(20.0, 20.0), (180.0, 20.0), (180.0, 180.0)]
    inner = [(120.0, 60.0), (140.0, 60.0), (140.0, 85.0)]
    truth = people(CHAIN, outer, inner)
    assert farthest_px(decode(encode_fields(truth, (200, 200))), truth) < 0.1


def test_a_limb_of_length_zero_breaks_nothing():
    truth = people(CHAIN, [(60, 60), (60, 60), (120, 60)])
    found = decode(encode_fields(truth, (200, 200)))
    # It has no direction, yet the joints are so near that they are joined all the same.
    assert farthest_px(found, truth) < 0.1


def test_joints_in_the_corners_and_on_the_border():
    truth = people(CHAIN, [(0, 0), (199, 0), (199, 199)])
    assert farthest_px(decode(encode_fields(truth, (200, 200))), truth) < 0.6


@pytest.mark.parametrize("height", [20, 60, 300, 1000])
def test_people_of_20_to_1000_px(height):
    size = (max(64, height + 64),) * 2
    truth = scenes.random_people(1, size, np.random.default_rng(3), height_px=(height, height))
    found = decode(encode_fields(truth, size))
    assert len(found) == 1
    both = (found.scores[0] > 0) & (truth.scores[0] > 0)
    assert both.sum() >= 0.9 * (truth.scores[0] > 0).sum()
    assert np.linalg.norm(found.xy[0] - truth.xy[0], axis=1)[both].max() < max(0.5, 0.03 * height)


def test_two_cells_alike_are_one_peak():
    # Half-way between two cells, then between four.
    for point in ((63.5 + 4, 67.5), (63.5 + 4, 71.5)):
        truth = people(BAR, [point, (120.0, 67.5)])
        peaks = find_peaks(encode_fields(truth, (136, 160)))
        assert np.diff(peaks.starts).tolist() == [1, 1]
        np.testing.assert_allclose(peaks.xy[0], point, atol=0.05)


def test_a_plateau_is_one_peak_and_a_constant_field_holds_nobody_of_size():
    heatmaps = np.full((3, 12, 14), 0.5, np.float32)
    pafs = np.full((1, 2, 12, 14), 0.7, np.float32)
    fields = Fields(
        heatmaps=heatmaps, pafs=pafs, heatmap_grid=Grid(8), paf_grid=Grid(8), skeleton=BAR
    )
    assert np.diff(find_peaks(fields).starts).tolist() == [1, 1]
    assert len(decode(fields)) <= 2


def test_a_single_joint_is_a_person_only_if_it_is_sure():
    truth = Poses.from_keypoints([[(50, 50, 1), (0, 0, 0)]], BAR)
    fields = encode_fields(truth, (104, 104))
    assert len(decode(fields)) == 1
    weak = dataclasses.replace(fields, heatmaps=fields.heatmaps * 0.25)
    assert len(decode(weak)) == 0
    assert len(decode(weak, DecodeConfig(single_threshold=0))) == 1
    assert len(decode(fields, DecodeConfig(min_joints=2))) == 0


def test_a_weak_joint_completes_a_person_and_never_begins_one():
    truth = people(CHAIN, [(40, 50), (100, 50), (160, 50)])
    fields = encode_fields(truth, (104, 200))
    heatmaps = fields.heatmaps.copy()
    heatmaps[2] *= 0.08
    faint = dataclasses.replace(fields, heatmaps=heatmaps)
    assert (decode(faint).scores[0] > 0).all()
    assert (decode(faint, DecodeConfig(weak_peak_threshold=0.2)).scores[0, 2]) == 0
    assert len(decode(dataclasses.replace(fields, heatmaps=fields.heatmaps * 0.08))) == 0


def test_a_weak_joint_far_away_completes_nobody():
    # The person is 60 px wide, 80 are added, times 2: 120 px are near enough, 300 are not.
    for x, completes in ((220, True), (400, False)):
        fields = encode_fields(people(CHAIN, [(40, 50), (100, 50), (x, 50)]), (104, 440))
        heatmaps = fields.heatmaps.copy()
        heatmaps[2] *= 0.08
        faint = dataclasses.replace(fields, heatmaps=heatmaps)
        (scores,) = decode(faint).scores
        assert (scores > 0).tolist() == [True, True, completes]
        (scores,) = decode(faint, DecodeConfig(complete_reach=3)).scores
        assert (scores > 0).all()


def test_a_spike_of_noise_is_no_peak():
    heatmaps = np.zeros((3, 12, 14), np.float32)
    heatmaps[0, 5, 5] = 1
    pafs = np.zeros((1, 2, 12, 14), np.float32)
    fields = Fields(
        heatmaps=heatmaps, pafs=pafs, heatmap_grid=Grid(8), paf_grid=Grid(8), skeleton=BAR
    )
    assert len(find_peaks(fields).scores) == 0
    assert len(find_peaks(fields, DecodeConfig(peak_support=0)).scores) == 1


def test_noise_beside_cells_below_zero_is_no_high_peak():
    """The parabola through its logarithms would have a peak of three times the cell's height."""
    heatmaps = np.full((3, 12, 14), -0.01, np.float32)
    heatmaps[0, 4:7, 5:7] = 0.055
    heatmaps[0, 5, 5] = 0.06
    pafs = np.zeros((1, 2, 12, 14), np.float32)
    fields = Fields(
        heatmaps=heatmaps, pafs=pafs, heatmap_grid=Grid(8), paf_grid=Grid(8), skeleton=BAR
    )
    (height,) = find_peaks(fields).scores
    assert height == pytest.approx(0.06 * np.exp((0.5 * 8 / 7) ** 2 + 0.3), rel=1e-5)
    assert len(decode(fields)) == 0


@pytest.mark.parametrize("shift", [(10, 0), (0, 10), (7, 7), (-9, 4)])
def test_two_joints_in_one_peak_are_both_found(shift):
    """Without the fit, most of the joints of two people 10 px apart have one peak, between them."""
    one = standing(1)
    both = Poses(
        xy=np.concatenate([one.xy, one.xy + np.float32(shift)]),
        scores=one.scores.repeat(2, axis=0),
        person_scores=np.ones(2), skeleton=one.skeleton,
    )  # fmt: skip
    fields = encode_fields(both, (368, 656))
    counts = []
    for flatness in (0.3, 1):
        config = DecodeConfig(split_flatness=flatness)
        peaks = find_peaks(fields, config)
        twin = reference_decoder.find_peaks(fields, config)
        assert peaks.starts.tolist() == twin.starts.tolist()
        np.testing.assert_allclose(peaks.xy, twin.xy, atol=0.05)
        np.testing.assert_allclose(peaks.scores, twin.scores, atol=0.01)
        gaps = [
            np.linalg.norm(peaks.xy[peaks.starts[k] : peaks.starts[k + 1]] - xy, axis=1).min()
            for person in both for k, xy in enumerate(person.xy[0])
        ]  # fmt: skip
        counts.append((np.array(gaps) < 1).sum())
    n_joints = (both.scores > 0).sum()
    assert counts[0] > 0.7 * n_joints
    assert counts[1] < 0.35 * n_joints


@pytest.mark.parametrize("apart", [(16, 0), (0, 17), (13, 12), (19, 5), (-14, 15), (21, 0)])
def test_a_peak_beside_another_is_not_drawn_towards_it(apart):
    """Where the other's Gaussian was taken for its own, both were up to 3 px nearer."""
    skeleton = Skeleton(name="one", joints=("joint",), limbs=(), oks_sigmas=(0.1,))
    for shift in np.random.default_rng(0).uniform(0, 8, (20, 2)):
        xy = np.array([[[100, 60]], [[100 + apart[0], 60 + apart[1]]]]) + shift
        two = Poses(xy=xy, scores=np.ones((2, 1)), person_scores=np.ones(2), skeleton=skeleton)
        fields = encode_fields(two, size_hw=(144, 224))
        peaks = find_peaks(fields)
        gaps = np.linalg.norm(peaks.xy[None] - xy, axis=2).min(axis=1)
        assert gaps.max() < 0.2
        np.testing.assert_allclose(
            peaks.xy, reference_decoder.find_peaks(fields, DecodeConfig()).xy, atol=0.05
        )


@pytest.mark.parametrize("stride", [8, 12, 16])
def test_noise_makes_no_people(stride):
    """Thirty such scenes of six had 269, 534 and 653 people, ghosts of the height of true ones."""
    for seed in range(3):
        scene = scenes.Scene(standing(6, seed, height_px=(120, 340)), (368, 656), None, seed)
        found = decode(scenes.fields_of(scene, noise=1, stride=stride))
        assert (found.scores.max(axis=1) > 0.35).sum() == len(scene.poses)
        assert stride == 16 or len(found) == len(scene.poses)


def test_people_of_whom_one_strong_limb_made_a_wrong_half_exchange_joints():
    """Limbs a-b and c-d are sure, b1-c2 next: the rest of the limbs outvotes it."""
    full = Skeleton(
        name="four", joints=("a", "b", "c", "d"), oks_sigmas=(0.05,) * 4,
        limbs=tuple(itertools.combinations(range(4), 2)),
    )  # fmt: skip
    # Peaks 0, 2, 4 and 6 are those of the first person.
    limbs = [((0, 2), 1.0), ((1, 3), 1.0), ((4, 6), 1.0), ((5, 7), 1.0), ((2, 5), 0.9)]
    limbs += [((2 * a + i, 2 * c + i), 0.8) for a in (0, 1) for c in (2, 3) for i in (0, 1)]
    xy = np.array([(x, y) for x in (0, 50, 100, 150) for y in (50, 70)], np.float32)
    peaks = Peaks(xy, np.ones(8, np.float32), np.arange(0, 10, 2, dtype=np.int32))
    kinds = {pair: i for i, pair in enumerate(full.limbs)}
    scores = np.array([score for _, score in limbs], np.float32)
    pairs = np.array([pair for pair, _ in limbs], np.int32)
    types = np.array([kinds[a // 2, b // 2] for a, b in pairs], np.int32)
    chosen = Limbs(types, pairs, scores, scores)
    found = assemble_people(peaks, chosen, full)
    assert sorted(found.xy[:, :, 1].tolist()) == [[50] * 4, [70] * 4]
    before = assemble_people(peaks, chosen, full, DecodeConfig(exchange_gain=1000))
    assert [50, 50, 70, 70] in before.xy[:, :, 1].tolist()


def test_fragments_that_nearly_touch_are_joined_and_far_ones_are_not():
    apart = Skeleton(
        name="apart", joints=("a", "b", "c", "d"), limbs=((0, 1), (2, 3)), oks_sigmas=(0.05,) * 4
    )
    for gap, n_people in ((30, 1), (150, 2)):
        truth = people(apart, [(40, 50), (80, 50), (80 + gap, 50), (120 + gap, 50)])
        fields = encode_fields(truth, (104, 320))
        assert len(decode(fields)) == n_people
        assert len(decode(fields, DecodeConfig(merge_distance=0))) == 2


def test_a_joint_of_two_people_in_one_peak_is_given_to_both():
    ring = dataclasses.replace(CHAIN, limbs=((0, 1), (1, 2), (0, 2)))
    truth = people(ring, [(40, 60), (100, 60), (50, 120)], [(160, 62), (100, 62), (150, 120)])
    fields = encode_fields(truth, (160, 200))
    assert farthest_px(decode(fields), truth) < 3
    assert (decode(fields, DecodeConfig(share_threshold=2)).scores > 0).sum() == 5


def test_people_come_by_falling_score_and_the_scores_are_within_one():
    poses = decode(encode_fields(standing(20), (368, 656)))
    assert (np.diff(poses.person_scores) <= 0).all()
    assert poses.person_scores.max() <= 1
    least = float(poses.person_scores[5])
    assert len(decode(encode_fields(standing(20), (368, 656)),
                      DecodeConfig(min_person_score=least))) == 6  # fmt: skip


def test_the_result_passes_the_checks_of_poses_that_decode_leaves_out():
    for n in (0, 1, 30):
        poses = decode(encode_fields(standing(n), (368, 656))) if n else decode(
            encode_fields(Poses.empty(Skeleton.COCO17), (64, 64))
        )  # fmt: skip
        assert poses == Poses(
            xy=poses.xy, scores=poses.scores, person_scores=poses.person_scores,
            skeleton=poses.skeleton,
        )  # fmt: skip
        assert poses.xy.dtype == poses.scores.dtype == poses.person_scores.dtype == np.float32


def test_too_many_peaks_are_cut_to_the_strongest_and_logged(caplog):
    fields = encode_fields(standing(30), (368, 656))
    with caplog.at_level(logging.WARNING, "openpaf.decoding.peaks"):
        peaks = find_peaks(fields, DecodeConfig(max_peaks=5))
    assert "max_peaks" in caplog.text
    everything = find_peaks(fields)
    for k in range(17):
        here, all_of = slice(*peaks.starts[k : k + 2]), slice(*everything.starts[k : k + 2])
        strongest = np.sort(everything.scores[all_of])[::-1][:5]
        np.testing.assert_array_equal(np.sort(peaks.scores[here])[::-1], strongest)


def test_graphs_from_tree_to_full():
    truth = standing(4)
    fields = encode_fields(truth, (368, 656))
    tree = score_limbs(fields, find_peaks(fields), DecodeConfig(graph="tree"))
    assert set(tree.types.tolist()) == set(tree_limbs(Skeleton.COCO17))
    with pytest.raises(ValueError, match=r"graph: 'full' .* 'coco17' has 28 limbs"):
        decode(fields, DecodeConfig(graph="full"))
    pairs = tuple((a, b) for a in range(3) for b in range(a + 1, 3))
    full = dataclasses.replace(CHAIN, limbs=pairs)
    chain = people(full, [(40, 50), (100, 50), (160, 90)])
    found = decode(encode_fields(chain, (136, 200)), DecodeConfig(graph="full"))
    assert farthest_px(found, chain) < 0.2


@pytest.mark.parametrize("matching", ["greedy", "optimal", "exact"])
def test_every_matching_finds_people_who_stand_apart(matching):
    truth = people(CHAIN, [(40, 40), (90, 50), (140, 40)], [(40, 220), (90, 230), (140, 220)])
    config = DecodeConfig(matching=matching, merge_distance=0)
    assert farthest_px(decode(encode_fields(truth, (280, 200)), config), truth) < 0.2


def test_optimal_matching_beats_greedy_where_the_best_pair_blocks_two_good_ones():
    candidates = Limbs(
        types=np.zeros(3, np.int32),
        peaks=np.array([[0, 2], [0, 3], [1, 2]], np.int32),
        scores=np.array([0.9, 0.8, 0.8], np.float32),
        weights=np.array([0.9, 0.8, 0.8], np.float32),
    )
    greedy = match_limbs(candidates, DecodeConfig(matching="greedy", n_fallbacks=0))
    optimal = match_limbs(candidates, DecodeConfig(n_fallbacks=0))
    assert greedy.peaks.tolist() == [[0, 2]]
    assert optimal.peaks.tolist() == [[0, 3], [1, 2]]
    assert len(match_limbs(candidates).peaks) == 3  # runners-up


def test_optimal_matching_is_scipys_assignment():
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(1)
    for _ in range(300):
        n_a, n_b = rng.integers(1, 9, 2)
        table = rng.uniform(0.1, 1, (2, n_a, n_b)) * (rng.random((2, n_a, n_b)) < rng.random())
        if rng.random() < 0.3:
            table = np.ceil(table * 3) / 3  # ties
        types, a, b = np.nonzero(table)
        weights = table[types, a, b].astype(np.float32)
        pairs = np.stack([a, b + n_a], axis=1).astype(np.int32)
        limbs = Limbs(types.astype(np.int32), pairs, weights, weights)
        chosen = match_limbs(limbs, DecodeConfig(n_fallbacks=0))
        best = sum(t[linear_sum_assignment(t, maximize=True)].sum() for t in table)
        assert chosen.weights.sum() == pytest.approx(best, abs=1e-4)
        assert (np.diff(chosen.weights) <= 0).all()
        for limb in (0, 1):
            ends = chosen.peaks[chosen.types == limb]
            assert len(set(ends[:, 0])) == len(set(ends[:, 1])) == len(ends)


def test_exact_matching_is_the_best_of_all_choices_that_make_whole_people():
    """Against trying every subset of the candidates."""
    rng = np.random.default_rng(0)
    joint = np.array([0, 0, 1, 1, 2, 2])
    peaks = Peaks(
        np.zeros((6, 2), np.float32), np.ones(6, np.float32), np.array([0, 2, 4, 6], np.int32)
    )
    pairs = [(a, b) for a in range(6) for b in range(a + 1, 6) if joint[a] != joint[b]]
    kind = {(0, 1): 0, (1, 2): 1, (0, 2): 2}
    for _ in range(10):
        weights = rng.uniform(0, 1, len(pairs)).astype(np.float32)
        candidates = Limbs(
            np.array([kind[joint[a], joint[b]] for a, b in pairs], np.int32),
            np.array(pairs, np.int32), weights, weights,
        )  # fmt: skip
        best = max(
            sum(float(weights[i]) for i in some)
            for n in range(len(pairs) + 1)
            for some in itertools.combinations(range(len(pairs)), n)
            if _makes_whole_people([pairs[i] for i in some], joint)
        )
        chosen = match_limbs(candidates, DecodeConfig(matching="exact"), peaks)
        assert _makes_whole_people(chosen.peaks.tolist(), joint)
        assert chosen.weights.sum() == pytest.approx(best, abs=1e-5)
    with pytest.raises(ValueError, match="peaks: matching 'exact' needs them"):
        match_limbs(candidates, DecodeConfig(matching="exact"))


def _makes_whole_people(pairs, joint):
    person = list(range(len(joint)))
    for a, b in pairs:
        person = [person[a] if p == person[b] else p for p in person]
    people = [(p, k) for p, k in zip(person, joint.tolist(), strict=True)]
    return len(set(people)) == len(people)


def test_exact_matching_refuses_a_crowd(monkeypatch):
    from openpaf.decoding import exact

    monkeypatch.setattr(exact, "MAX_EXACT", 50)
    fields = encode_fields(standing(6), (368, 656))
    with pytest.raises(ValueError, match=r"matching: 'exact' is for small scenes of at most 50"):
        decode(fields, DecodeConfig(matching="exact"))
    assert len(decode(encode_fields(standing(1), (368, 656)), DecodeConfig(matching="exact"))) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peak_threshold", 0), ("weak_peak_threshold", float("nan")), ("peak_support", 1.5),
        ("sigma_px", -1), ("max_peaks", 0), ("limb_samples", 1),
        ("limb_point_threshold", -0.1), ("limb_fraction", 2), ("limb_threshold", "much"),
        ("matching", "best"), ("n_fallbacks", 0.5), ("graph", "star"), ("merge_distance", -1),
        ("duplicate_oks", float("inf")), ("min_joints", 0), ("min_person_score", 1.1),
        ("score_size_px", 0), ("max_peaks", 2.5), ("exchange_gain", -1), ("split_flatness", 2),
    ],
)  # fmt: skip
def test_a_bad_threshold_is_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: expected .* got"):
        DecodeConfig(**{name: value})


def test_threads_and_batches_give_what_one_call_gives():
    many = [encode_fields(standing(n, n), (368, 656)) for n in (3, 1, 12, 25)] * 3
    one_by_one = [decode(fields) for fields in many]
    assert decode_batch(many, n_threads=4) == one_by_one
    assert decode_batch(iter(many), n_threads=1) == one_by_one
    assert decode_batch([]) == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decode, many)) == one_by_one


@pytest.mark.parametrize("n_people", [1, 4, 12, 25])
@pytest.mark.parametrize("noise", [0, 1])
def test_the_kernels_do_what_the_plain_numpy_twin_does(n_people, noise):
    scene = scenes.Scene(standing(n_people, n_people), (368, 656), None, n_people)
    fields = scenes.fields_of(scene, noise=noise)
    fast, slow = decode(fields), reference_decoder.decode(fields)
    np.testing.assert_allclose(fast.scores, slow.scores, atol=1e-3)
    np.testing.assert_allclose(fast.xy, slow.xy, atol=0.02)
    np.testing.assert_allclose(fast.person_scores, slow.person_scores, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_twin_exchanges_the_same_joints(seed):
    """Of four people on one another, half of all wrong limbs nearly as strong as the true ones."""
    rng, n = np.random.default_rng(seed), 4
    rows = []
    for limb, (j, k) in enumerate(Skeleton.COCO17.limbs):
        for a, b in itertools.product(range(n), range(n)):
            if a == b or rng.random() < 0.5:
                rows.append((limb, n * j + a, n * k + b, rng.uniform(0.4, 1 if a == b else 0.9)))
    types, first, second, scores = zip(*rows, strict=True)
    weights = np.array(scores, np.float32)
    limbs = Limbs(np.array(types, np.int32), np.stack([first, second], axis=1).astype(np.int32),
                  weights, weights)  # fmt: skip
    xy, starts = rng.uniform(50, 250, (17 * n, 2)), np.arange(0, 17 * n + 1, n, dtype=np.int32)
    peaks = Peaks(xy.astype(np.float32), np.ones(17 * n, np.float32), starts)
    chosen = match_limbs(limbs)
    config = DecodeConfig(share_threshold=2)
    never = DecodeConfig(share_threshold=2, exchange_gain=1000)
    fast = assemble_people(peaks, chosen, Skeleton.COCO17, config)
    slow = reference_decoder.assemble_people(peaks, chosen, Skeleton.COCO17, config)
    np.testing.assert_array_equal(fast.xy, slow.xy)
    assert fast != assemble_people(peaks, chosen, Skeleton.COCO17, never)


@pytest.mark.parametrize("stride", [4, 12])
def test_the_twin_agrees_at_other_strides(stride):
    fields = encode_fields(standing(4, 4), (368, 656), stride=stride)
    fast, slow = decode(fields), reference_decoder.decode(fields)
    np.testing.assert_allclose(fast.scores, slow.scores, atol=1e-3)
    np.testing.assert_allclose(fast.xy, slow.xy, atol=0.02)


def test_true_people_of_coco_photos_come_back(shared_dir):
    pytest.importorskip("pycocotools")
    path = shared_dir / "data" / "official_538_val2017_annotations.json"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    data = json.loads(path.read_text())
    some = {image["id"] for image in sorted(data["images"], key=lambda i: i["id"])[:120]}
    n_joints = n_found = 0
    for scene in scenes.coco_scenes(path, Skeleton.COCO17):
        if scene.image_id in some:
            found = decode(scenes.fields_of(scene))
            for person in scene.poses:
                has = person.scores[0] > 0
                d = np.linalg.norm(found.xy - person.xy, axis=2)[:, has]
                n_joints += has.sum()
                n_found += max((d < 2).sum(axis=1), default=0)
    assert n_found / n_joints > 0.95

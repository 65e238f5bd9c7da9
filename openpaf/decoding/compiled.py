"""The four steps of the parser in one compiled call, which :func:`openpaf.decode` uses.

No Python objects are made between the steps: for one person that would take as long as the steps.
"""

from __future__ import annotations

from openpaf.decoding.config import DecodeConfig
from openpaf.decoding.limbs import _limb_numbers, _limb_table, _match, _match_numbers, _score_limbs
from openpaf.decoding.peaks import _find_peaks, _peak_numbers, _warn_of_dropped
from openpaf.decoding.people import _assemble, _people_numbers, _poses, _tables
from openpaf.decoding.strides import thinned
from openpaf.fields import Fields
from openpaf.kernels.compile import kernel
from openpaf.poses import Poses


def decode_compiled(fields: Fields, config: DecodeConfig) -> Poses:
    """The people of the steps called one after the other; not for ``matching="exact"``."""
    fields = thinned(fields, config)
    xy, scores, person_scores, n_dropped = _decode(
        fields.heatmaps,
        fields.pafs,
        _limb_table(fields.skeleton, config.graph),
        _tables(fields.skeleton),
        _peak_numbers(fields, config),
        _limb_numbers(fields, config),
        _match_numbers(config),
        _people_numbers(config),
    )
    _warn_of_dropped(n_dropped, config)
    return _poses(xy, scores, person_scores, fields.skeleton)


@kernel
def _decode(  # type: ignore[no-untyped-def]
    heatmaps, pafs, limbs, tables, peak_numbers, limb_numbers, match_numbers, people_numbers
):
    """Arrays of :class:`Poses`, and the number of peaks beyond ``max_peaks``."""
    xy, scores, starts, n_dropped = _find_peaks(heatmaps, *peak_numbers)
    peaks = (xy, scores, starts)
    types, pairs, limb_scores, weights = _score_limbs(pafs, limbs, peaks, limb_numbers)
    chosen = _match(types, pairs, weights, *match_numbers)
    people_xy, people_scores, person_scores = _assemble(
        peaks, (pairs[chosen], limb_scores[chosen]), tables, people_numbers
    )
    return people_xy, people_scores, person_scores, n_dropped

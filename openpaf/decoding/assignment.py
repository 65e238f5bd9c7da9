"""The assignment of largest total weight between the two joints of each limb."""

from __future__ import annotations

import numpy as np

from openpaf.decoding.sorting import falling
from openpaf.kernels.compile import part

_MOST = 64  # contested peaks


@part
def match_optimal(types, pairs, weights):  # type: ignore[no-untyped-def]
    """The assignment of largest total weight of each limb.

    Most candidates share no peak with another one of their limb and are accepted at once. The
    Hungarian algorithm solves the rest of a limb, nearly always two or three people side by side.
    Of a limb with more than ``_MOST`` contested peaks of both joints, as in crowds of a hundred and
    more, candidates are accepted by falling weight, as the algorithm's time is cubic.

    Args:
        types: (M,) int32, ascending.
        pairs: (M, 2) int32 peaks.
        weights: (M,) float32, above 0.

    Returns:
        Indices of the accepted candidates, and of the contested ones: those that share a peak.

    Reference:
        Cao et al., CVPR 2017, equations 12 to 14; Kuhn, The Hungarian method, 1955.
    """
    n = len(types)
    n_peaks = 0
    for i in range(n):
        n_peaks = max(n_peaks, pairs[i, 0] + 1, pairs[i, 1] + 1)
    # The number of the limb's candidates at a peak, and its row or column in the assignment.
    count, place = np.zeros((2, n_peaks), np.int32), np.empty((2, n_peaks), np.int32)
    chosen, n_chosen = np.empty(n, np.int32), 0
    contested, n_all = np.empty(n, np.int32), 0
    start = 0
    while start < n:
        end = start
        while end < n and types[end] == types[start]:
            count[0, pairs[end, 0]] += 1
            count[1, pairs[end, 1]] += 1
            end += 1
        n_contested = 0
        for i in range(start, end):
            if count[0, pairs[i, 0]] == 1 and count[1, pairs[i, 1]] == 1:
                chosen[n_chosen] = i
                n_chosen += 1
            else:
                contested[n_all + n_contested] = i
                n_contested += 1
        if n_contested:
            disputed = contested[n_all : n_all + n_contested]
            n_all += n_contested
            for i in _assign(disputed, pairs, weights, count, place):
                chosen[n_chosen] = i
                n_chosen += 1
        for i in range(start, end):
            count[0, pairs[i, 0]] = count[1, pairs[i, 1]] = 0
        start = end
    return chosen[:n_chosen], contested[:n_all]


@part
def _assign(candidates, pairs, weights, count, place):  # type: ignore[no-untyped-def]
    """The candidates of one limb with the largest total weight that use no peak twice."""
    sizes = np.zeros(2, np.int64)
    for i in candidates:
        for side in range(2):
            peak = pairs[i, side]
            if count[side, peak] > 0:  # seen for the first time
                count[side, peak] = 0
                place[side, peak] = sizes[side]
                sizes[side] += 1
    if min(sizes[0], sizes[1]) > _MOST:
        return _take_by_weight(candidates, pairs, weights, place, sizes)
    # The algorithm needs no more rows than columns.
    rows, columns = (0, 1) if sizes[0] <= sizes[1] else (1, 0)
    cost = np.zeros((sizes[rows], sizes[columns]))  # 0 for pairs that are not candidates
    index = np.full(cost.shape, -1, np.int32)
    for i in candidates:
        row, column = place[rows, pairs[i, rows]], place[columns, pairs[i, columns]]
        cost[row, column], index[row, column] = -np.float64(weights[i]), i
    taken = np.empty(len(cost), np.int32)
    n = 0
    for row, column in enumerate(_hungarian(cost)):
        if index[row, column] >= 0:
            taken[n] = index[row, column]
            n += 1
    return taken[:n]


@part
def _take_by_weight(candidates, pairs, weights, place, sizes):  # type: ignore[no-untyped-def]
    is_taken = np.zeros((2, max(sizes[0], sizes[1])), np.bool_)
    taken = np.empty(min(sizes[0], sizes[1]), np.int32)
    n = 0
    for i in candidates[falling(weights[candidates])]:
        row, column = place[0, pairs[i, 0]], place[1, pairs[i, 1]]
        if not is_taken[0, row] and not is_taken[1, column]:
            is_taken[0, row] = is_taken[1, column] = True
            taken[n] = i
            n += 1
    return taken[:n]


@part
def _hungarian(cost):  # type: ignore[no-untyped-def]
    """The column of each row in the assignment of least total cost.

    There may be no more rows than columns.

    Rows are added one by one, each along the cheapest path of reassignments (Dijkstra's
    algorithm on reduced costs, which the potentials keep from being negative).
    """
    n_rows, n_columns = cost.shape
    row_potential, column_potential = np.zeros(n_rows), np.zeros(n_columns + 1)
    row_of = np.full(n_columns + 1, -1)  # the last column holds a new row
    came_from = np.empty(n_columns + 1, np.int64)
    distance, done = np.empty(n_columns + 1), np.empty(n_columns + 1, np.bool_)
    for new in range(n_rows):
        row_of[n_columns] = new
        column = n_columns
        for other in range(n_columns + 1):
            distance[other], done[other] = np.inf, False
        while row_of[column] >= 0:
            done[column] = True
            row, nearest, step = row_of[column], -1, np.inf
            for other in range(n_columns):
                if done[other]:
                    continue
                reduced = cost[row, other] - row_potential[row] - column_potential[other]
                if reduced < distance[other]:
                    distance[other], came_from[other] = reduced, column
                if distance[other] < step:
                    nearest, step = other, distance[other]
            for other in range(n_columns + 1):
                if done[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    distance[other] -= step
            column = nearest
        while column != n_columns:  # each row on the path moves one column
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    columns = np.empty(n_rows, np.int64)
    for column in range(n_columns):
        if row_of[column] >= 0:
            columns[row_of[column]] = column
    return columns

"""The way of the aorta, by brute force."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from analysis.segmenters.rules_trunk import best_way


def test_the_best_way_is_the_best_of_all_ways() -> None:
    merit = np.random.default_rng(3).random((5, 3, 4))
    way = best_way(merit)
    found = sum(merit[row, j, i] for row, (j, i) in enumerate(way))
    assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 1 for a, b in pairwise(way))
    places = list(product(range(3), range(4)))
    best = {place: merit[0][place] for place in places}
    for plane in merit[1:]:
        best = {p: plane[p] + max(best[q] for q in places if max(abs(p[0] - q[0]), abs(p[1] - q[1])) <= 1) for p in places}
    assert np.isclose(found, max(best.values()))

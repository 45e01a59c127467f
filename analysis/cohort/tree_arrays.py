"""The arrays that the compiled loops of the cohort's trees take and give: named tuples, since numba knows no dataclasses.

n rows, p features, t times, f folds, r repeats. Trees are arrays in heap order: the children of node i are 2i+1 and 2i+2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

MISSING = 255  # the bin of a missing value
TIED = 1e-8  # predictions nearer than this are tied, as in scikit-survival
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Folds8 = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Made = TypeVar("Made", bound=Callable[..., Any])
Tuple = TypeVar("Tuple", bound=tuple[Any, ...])


class Features(NamedTuple):
    """codes: (p, n) the bin of each value, MISSING where it is NaN; lowest, highest: (p, bins) its values; values: (p, n)."""

    codes: Bytes
    lowest: Floats
    highest: Floats
    values: Floats


class Outcome(NamedTuple):
    """seen: (n,) at how many of the t times the row is still at risk; an event falls on the last of them.

    label: a yes/no target, pruned by Gini and Brier instead of the deviance.
    """

    seen: Ints
    event: Bools
    times: int
    label: bool


class Tree(NamedTuple):
    """Arrays by node. feature: -1 for a leaf. cut: the last bin that goes left. rows: of training, 0 where there is no node.

    value: the prediction; rate: events per expected event, drawn towards 1; cost: its share of the training loss; link: the
    penalty at which it becomes a leaf. hazard: (t+1,) cumulative, of all training rows, before each time.
    """

    feature: Ints
    cut: Ints
    missing_left: Bools
    rows: Ints
    value: Floats
    rate: Floats
    cost: Floats
    link: Floats
    hazard: Floats


class Shown(NamedTuple):
    """What trees say of rows that they did not see, added up over repeats. leaf: (n,) the node that a row reached last.

    shap: (n, p) sums; size: (p,) sums of absolute SHAP values; up, down: (p,) folds in which the SHAP value rises or falls
    with the feature.
    """

    leaf: Ints
    shap: Floats
    size: Floats
    up: Ints
    down: Ints


class Followed(NamedTuple):
    """What predictions are compared with. time: (n,); event: (n,); order: (n,) rows from the latest time to the earliest."""

    time: Floats
    event: Bools
    order: Ints


class Predicted(NamedTuple):
    """fold: (r, n) which fold held a row out; leaf: (r, n) the node it reached; value: (r, f, nodes) what nodes predict."""

    fold: Folds8
    leaf: Ints
    value: Floats


def compiled(function: Made) -> Made:
    """Compiled into whoever calls it."""
    return cast(Made, numba.njit(nogil=True, error_model="numpy")(function))


def entrance(function: Made) -> Made:
    """Compiled, run without Python's lock, and kept on disk where a folder can be written.

    It takes plain tuples: a named one would stand in numba's index on disk, which a later release could then not read.
    """
    try:
        return cast(Made, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # numba: no folder for its cache can be written
        return compiled(function)


def plain(values: Tuple) -> Tuple:
    """The values as `entrance` wants them."""
    return cast(Tuple, tuple(values))

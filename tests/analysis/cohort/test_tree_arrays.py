"""What is compiled: kept on disk where it can be, and readable there by another release."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from analysis.cohort.tree_arrays import Followed, Predicted, entrance, plain
from analysis.cohort.tree_kernels import hold_out_fold
from analysis.cohort.tree_scores import concordance


def double(x: float) -> float:
    return 2 * x


def test_without_a_folder_for_the_cache_functions_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_it = numba.njit

    def refusing(*given: object, **options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return compile_it(*given, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    made = entrance(double)
    assert made(2.5) == 5.0
    assert hasattr(made, "signatures")


def test_no_name_of_a_class_stands_in_the_index_on_disk() -> None:
    """numba unpickles that index before it asks whether it is still valid: a class renamed since would raise."""
    followed = Followed(np.ones(2), np.ones(2, bool), np.arange(2))
    predicted = Predicted(np.zeros((1, 2), np.int8), np.zeros((1, 2), np.int64), np.zeros((1, 1, 3)))
    assert np.isnan(concordance(plain(followed), plain(predicted), np.ones(2)))
    for function in (concordance, hold_out_fold):
        assert not any(
            kept in str(kind) for sign in function.signatures for kind in sign for kept in ("Followed", "Features", "analysis")
        )

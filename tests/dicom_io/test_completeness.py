"""When headers show that a study is whole, and when they leave it open (PS3.3 C.8.9.1: NumberOfSlices and its repeats)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from usual import CT, PATIENT, geometry, image, pet

from analysis.values import Tracer
from dicom_io.completeness import signs_of_completeness
from dicom_io.headers import group, read_instance
from dicom_io.tracers import recognise


def one(modality: str, k: int, series: str = "1", **words: Any) -> Dataset:
    """A slice of a study of ten slices, 4 mm apart."""
    kinds = pet(10, Tracer.FDG, {}) if modality == "PT" else CT
    uid = f"1.2.{1 if modality == 'PT' else 2}.{series}"
    own = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": uid,
        "SOPInstanceUID": f"{uid}.{k + 1}",
        "FrameOfReferenceUID": "1.9",
    }
    times = {f"{kind}{what}": value for kind in ("Study", "Series", "Acquisition") for what, value in WHEN.items()}
    return image({**PATIENT, **own, **times, **kinds, **geometry(k, 4.0 * k), **words}, np.full((8, 10), k + 1, np.int16))


WHEN = {"Date": "20260310", "Time": "100000"}


@pytest.fixture
def signs(tmp_path: Path) -> Callable[..., str]:
    def of(datasets: list[Dataset]) -> str:
        paths = [tmp_path / f"{number}.dcm" for number, _ in enumerate(datasets)]
        for path, ds in zip(paths, datasets, strict=True):
            ds.save_as(path, enforce_file_format=True)
        (study,) = group([read_instance(path) for path in paths])
        return signs_of_completeness(recognise(study))

    return of


def test_a_whole_pet_under_a_ct_that_reaches_over_it_shows_to_be_whole(signs: Callable[..., str]) -> None:
    assert signs([*(one("PT", k) for k in range(10)), *(one("CT", k) for k in range(10))])


@pytest.mark.parametrize("missing", [{"NumberOfSlices": None}, {"NumberOfSlices": 0}])
def test_a_pet_that_announces_nothing_leaves_it_open(signs: Callable[..., str], missing: dict[str, Any]) -> None:
    assert signs([*(one("PT", k, **missing) for k in range(10)), *(one("CT", k) for k in range(10))]) == ""


def test_a_ct_that_ends_before_the_pet_may_have_more_to_come(signs: Callable[..., str]) -> None:
    """Of a PET of 40 slices a CT may be used that covers 90 %; to be whole it may lack one slice of the PET, not three."""
    pet_slices = [one("PT", k, NumberOfSlices=40) for k in range(40)]
    assert signs([*pet_slices, *(one("CT", k) for k in range(37))]) == ""
    assert signs([*pet_slices, *(one("CT", k) for k in range(39))])


def test_another_pet_of_the_study_that_is_still_arriving_leaves_it_open(signs: Callable[..., str]) -> None:
    uncorrected = {"CorrectedImage": ["DECY"], "AttenuationCorrectionMethod": None}
    both = [*(one("PT", k) for k in range(10)), *(one("CT", k) for k in range(10))]
    assert signs([*both, *(one("PT", k, "2", **uncorrected) for k in range(7))]) == ""
    assert signs([*both, *(one("PT", k, "2", **uncorrected) for k in range(10))])


def test_a_dynamic_series_announces_its_slices_for_each_time(signs: Callable[..., str]) -> None:
    """PS3.3 C.8.9.1.1.3: images of a DYNAMIC series are NumberOfSlices x NumberOfTimeSlices."""
    both = [*(one("PT", k) for k in range(10)), *(one("CT", k) for k in range(10))]
    words = {"SeriesType": ["DYNAMIC", "IMAGE"], "NumberOfTimeSlices": 2}
    first = [one("PT", k, "2", **words) for k in range(10)]
    second = [one("PT", k, "2", **words, SOPInstanceUID=f"1.2.1.2.{k + 101}") for k in range(10)]
    assert signs([*both, *first]) == ""
    assert signs([*both, *first, *second])

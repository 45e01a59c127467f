"""Broken objects of every maker: never an unhandled exception, never a number from a broken header, never a hang.

250 cases here, each following from its number: a fault that one case in a hundred shows is missed by 8 runs of 100. 500 others
with `make test-thorough`, 10,000 with `make bench-fuzz`. What is asked stands in tests/helpers/fuzzing.py, and what a header
allows in tests/helpers/suv_oracle.py.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fuzzing
import pytest
import suv_oracle
from corpus import NAME, real, synthetic, written
from fuzzing import Case, Sound
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import broken
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from analysis.errors import NotQuantifiable
from dicom_io.studies import Instance, Series
from dicom_io.suv import suv_conversion

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # pydicom tells of what is broken, too
CASES, MORE_CASES = 250, 500
LONGEST_S = 20.0  # of a core, not of the clock: a case takes a tenth of a second, and longer than this is no end in sight
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def sounds(place: Path) -> list[Sound]:
    """Every object to be broken; the real ones where they are, so that the cases are those of this machine."""
    bases = synthetic(place / "made") + written(place / "own") + (real(SHARED) if SHARED.is_dir() else [])
    return [fuzzing.sound(base, place / "sound" / str(n)) for n, base in enumerate(bases)]


@pytest.fixture(scope="module")
def told() -> Iterator[list[Case]]:
    """The cases that ran, summed up at the end."""
    cases: list[Case] = []
    yield cases
    ends = fuzzing.summary(cases)
    assert len(cases) >= CASES
    assert ends.get("ok", 0) < len(cases)
    assert len(ends) > 4, "most kinds of refusal should occur"


# A case is no simpler for a smaller number: nothing is shrunk.
once = {"derandomize": True, "deadline": None, "database": None, "phases": (Phase.generate,)}
always = partial(settings, **once, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)


@always(max_examples=CASES)
@given(seed=seeds)
def test_broken_objects(sounds: list[Sound], place: Path, told: list[Case], seed: int) -> None:
    told.append(judged(sounds, place, seed))


@pytest.mark.thorough
@always(max_examples=MORE_CASES)
@given(seed=seeds.map(lambda number: number + 2**32))
def test_more_broken_objects(sounds: list[Sound], place: Path, seed: int) -> None:
    judged(sounds, place, seed)


def judged(sounds: list[Sound], place: Path, seed: int) -> Case:
    folder = place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    case = fuzzing.run(sounds[seed % len(sounds)], seed, folder)
    assert not case.violation, str(case)
    assert case.seconds < LONGEST_S, f"{case.seconds:.1f} s: {case}"
    return case


def test_sound_objects_have_the_factors_that_the_oracle_allows(sounds: list[Sound]) -> None:
    """Else the oracle would judge something else than SUV."""
    judged = 0
    for sound in sounds:
        files = sorted(name for name in sound.factors if "#" not in name)  # the oracle reads classic headers, not frames
        headers = [dcmread(sound.folder / name) for name in files]
        for name, choices in zip(files, suv_oracle.permitted(headers) if headers else (), strict=True):
            assert any(math.isclose(sound.factors[name], choice, rel_tol=1e-6) for choice in choices), sound.base.name
            judged += 1
    assert judged >= 60


def test_the_same_seed_breaks_the_same_things(sounds: list[Sound]) -> None:
    content = next(iter(sounds[0].base.files.values()))
    assert [broken(content, f"x {n}") for n in range(30)] == [broken(content, f"x {n}") for n in range(30)]
    changed = {change for n in range(300) for change in broken(content, f"x {n}").keywords}
    assert changed >= {"PatientWeight", "RadiopharmaceuticalInformationSequence", "RadionuclideTotalDose", "bytes"}


# What SUV rests on, one by one: the factor follows it exactly, or there is none.


def pet_of(sounds: list[Sound], name: str) -> Callable[..., Series]:
    """Makes the PET of a sound study, with the change made in every slice."""
    sound = next(s for s in sounds if s.base.name == name)

    def make(*changes: Callable[[Dataset], None]) -> Series:
        slices = []
        for file in sorted(sound.factors):
            ds = dcmread(io.BytesIO(sound.base.files[file]))
            for change in changes:
                change(ds)
            slices.append(Instance(path=Path(file), header=ds))
        return Series(instances=tuple(slices))

    return make


def element(keyword: str, value: Any) -> Callable[[Dataset], None]:
    """Sets (None: deletes) an element of the slice, or of its radiopharmaceutical."""

    def change(ds: Dataset) -> None:
        holder = ds.RadiopharmaceuticalInformationSequence[0] if keyword.startswith("Radio") and "Seq" not in keyword else ds
        if value is None:
            del holder[keyword]
        elif isinstance(value, str):  # raw, as pydicom would not let every word in
            tag = Tag(tag_for_keyword(keyword) or 0)
            holder[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value.encode(), 0, False, True)
        else:
            setattr(holder, keyword, value)

    return change


@pytest.mark.parametrize(
    ("keyword", "value", "times"),
    [
        ("PatientWeight", "145", 2.0),
        ("PatientWeight", "145000", 2.0),
        ("RadionuclideTotalDose", "580000000", 0.5),
        ("RadionuclideTotalDose", "580", 0.5),
        ("RadiopharmaceuticalStartDateTime", "20260310085800", math.exp(math.log(2) * 60 / 6586.2)),
        ("SeriesTime", "095900", math.exp(-math.log(2) * 60 / 6586.2)),
        ("PatientSize", "1.60", 1.0),
        ("InstitutionName", "elsewhere", 1.0),
        ("StudyDescription", "x", 1.0),
    ],
)
def test_the_factor_follows_its_elements(sounds: list[Sound], keyword: str, value: str, times: float) -> None:
    make = pet_of(sounds, "siemens FDG")
    before = make().header
    assert (before.PatientWeight, before.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose) == (72.5, 290000000)
    assert str(before.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime) == "20260310085900"
    after = suv_conversion(make(element(keyword, value))).factor
    assert after == pytest.approx(suv_conversion(make()).factor * times, rel=1e-9)


BROKEN: dict[str, tuple[Any, ...]] = {
    "PatientWeight": (None, "", "0", "-70", "7e5", "70\\80", "1_000", "abc", "0.5"),
    "RadionuclideTotalDose": (None, "", "0", "-1", "1e300", "3e8\\2e8", "x", "1"),
    "RadionuclideHalfLife": (None, "", "0", "-6586", "109.77", "65862", "5000", "x"),
    "RadiopharmaceuticalInformationSequence": (None, []),
    "Units": (None, "", "PROPCNTS", "1CM", "x"),
    "DecayCorrection": (None, "", "x"),
    "CorrectedImage": (["DECY"], ["ATTN"]),
    "RescaleIntercept": ("1", "x", "0\\1"),
    "RescaleSlope": ("0", "-1", "x", "1\\2"),
    "SeriesTime": ("noon", "250000"),
    "AcquisitionTime": ("noon",),
    "RadiopharmaceuticalStartDateTime": ("yesterday", "20260310120000"),
}


@pytest.mark.parametrize(("keyword", "value"), [(k, v) for k, values in BROKEN.items() for v in values])
def test_no_number_from_a_broken_header(sounds: list[Sound], keyword: str, value: Any) -> None:
    with pytest.raises(NotQuantifiable) as refused:
        suv_conversion(pet_of(sounds, "siemens FDG")(element(keyword, value)))
    assert NAME.partition("^")[0] not in json.dumps(str(refused.value))

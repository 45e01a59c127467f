"""Enhanced and legacy converted enhanced PET and CT are read like classic series, or refused with one sentence.

Oracles: highdicom's conversion of classic series (the same values must come out, exactly), and true enhanced objects by
PS3.3 A.56 and A.38 with known SUV and HU, which dciodvfy finds no error in.
"""

from __future__ import annotations

import itertools
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from enhanced_cases import GRID, HOUNSFIELD, SUV, make_grid, pet_of, read, write, written
from enhanced_scans import EnhancedSpec, ct_objects, pet_objects
from highdicom.legacy import LegacyConvertedEnhancedCTImage, LegacyConvertedEnhancedPETImage
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    JPEGLSLossless,
    generate_uid,
)
from syntaxes import LOSSLESS, rewritten

from analysis.values import Body, PetCt, Tracer, Unit, Volume
from dicom_io.enhanced import frames
from dicom_io.headers import group, read_folder, read_instance
from dicom_io.studies import TracerStudy
from dicom_io.suv import suv_conversion
from dicom_io.synthetic import Maker, StudySpec, write_study
from dicom_io.tracers import recognise
from dicom_io.versions import PIXELS, differing
from dicom_io.volumes import load, read_pet


def same(one: PetCt, other: PetCt) -> None:
    """Every voxel, both grids and the way to SUV are equal; not close: equal."""
    for a, b in ((one.pet, other.pet), (one.ct, other.ct)):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.grid.affine, b.grid.affine)
    for fact in ("suv_factor", "suv_rule", "suv_reference_time", "suv_warnings", "suv_alternatives", "administered", "dose_bq"):
        assert one.facts[fact] == other.facts[fact], fact


# Legacy converted, made by highdicom


def converted(paths: Sequence[Path]) -> Dataset:
    slices = [dcmread(path) for path in paths]
    for ds in slices:
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            ds.decompress(generate_instance_uid=False)
    first = slices[0]
    make = LegacyConvertedEnhancedPETImage if first.Modality == "PT" else LegacyConvertedEnhancedCTImage
    uids = [generate_uid(entropy_srcs=[first.SeriesInstanceUID, str(word)]) for word in ("", first.SOPInstanceUID)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(slices, series_instance_uid=uids[0], series_number=9, sop_instance_uid=uids[1], instance_number=1)


def small_study(tracer: Tracer) -> PetCt:
    """Two beds."""
    grid = make_grid(40)
    suv = np.random.default_rng(6).uniform(0.0, 9.0, grid.shape).astype(np.float32)
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=grid, values=suv, unit=Unit.SUV),
        ct=Volume(grid=grid, values=np.rint(suv * 100), unit=Unit.HU),
        body=Body(weight_kg=70.0, height_m=1.7, sex="F"),
        uptake_min=60.0,
    )


@pytest.mark.parametrize(("maker", "tracer"), [*zip(Maker, itertools.cycle(Tracer), strict=False)])
def test_a_converted_study_has_the_values_of_the_classic_one(maker: Maker, tracer: Tracer, tmp_path: Path) -> None:
    write_study(small_study(tracer), tmp_path / "classic", StudySpec(maker=maker))
    for name in ("pet", "ct"):
        paths = sorted((tmp_path / "classic" / name).iterdir())
        write(tmp_path / "converted" / name, [converted(paths)])
    classic, study = read(tmp_path / "classic"), read(tmp_path / "converted")
    assert study.tracer is classic.tracer is tracer
    assert study.injected == classic.injected
    assert len({i.path for i in study.pet.instances}) == 1
    same(load(classic), load(study))


def test_the_real_scan_converted_has_the_values_of_the_classic_one(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "pair1" / "fdg"
    pets = sorted((source / "pet").iterdir())
    write(tmp_path, [converted(pets[:60]), converted(pets[60:])])
    cts = [read_instance(path) for path in (source / "ct").iterdir()]
    (study,) = group([*read_folder(tmp_path)[0], *cts])
    (classic,) = group([*(read_instance(path) for path in pets), *cts])
    one, other = recognise(classic), recognise(study)
    assert suv_conversion(other.pet).factor == pytest.approx(4.2111e-4, rel=1e-4)  # published beside the scan
    assert suv_conversion(other.pet).factors == suv_conversion(one.pet).factors
    before, after = read_pet(one.pet), read_pet(other.pet)
    np.testing.assert_array_equal(before.values, after.values)
    np.testing.assert_array_equal(before.grid.affine, after.grid.affine)


def test_classic_images_are_taken_where_an_archive_holds_both_forms(scans: Any, tmp_path: Path) -> None:
    paths = scans.write(tmp_path / "a", scans.pet(ContentDate="20260310", ContentTime="101500", SeriesNumber="4", StudyID="1"))
    paths_ct = scans.write(tmp_path / "b", scans.ct(SeriesNumber="3", StudyID="1"))
    write(tmp_path / "c", [converted(paths), converted(paths_ct)])
    study = read(tmp_path)
    assert {i.frame for i in (*study.pet.instances, *study.ct.instances)} == {None}


# True enhanced objects


def assert_truth(study: TracerStudy, spec: EnhancedSpec) -> None:
    scan = load(study)
    step = float(SUV.max()) / 32767
    np.testing.assert_allclose(scan.pet.values, SUV, atol=0.51 * step + 1e-6)
    np.testing.assert_array_equal(scan.ct.values, np.maximum(HOUNSFIELD, -1024))
    np.testing.assert_allclose(scan.pet.grid.affine, GRID.affine, atol=1e-6)
    assert scan.facts["dose_bq"] == spec.dose_mbq * 1e6
    assert scan.uptake_min == (spec.started - spec.injected).total_seconds() / 60


START = datetime(2026, 3, 10, 10, 0)
SPECS = {
    "siemens": EnhancedSpec(),
    "ge, a slope each": EnhancedSpec(manufacturer="GE MEDICAL SYSTEMS", model="Omni Legend", own_slopes=True),
    "philips, kBq/ml, in order": EnhancedSpec(manufacturer="Philips", model="Vereos", units="kBq/mL", shuffled=False),
    "one file each bed": EnhancedSpec(instances=3, own_slopes=True),
    "PentixaFor": EnhancedSpec(tracer=Tracer.PENTIXAFOR, dose_mbq=120.0),
    "corrected to injection": EnhancedSpec(corrected_to=datetime(2026, 3, 10, 9, 0)),
    "corrected to the middle": EnhancedSpec(corrected_to=START + timedelta(seconds=61)),
    "not decay corrected": EnhancedSpec(corrected_to=None, own_slopes=True),
    "SUVbw": EnhancedSpec(units="{SUVbw}g/ml"),
    "SUVbw, older code": EnhancedSpec(units="g/ml{SUVbw}", own_slopes=True),
    "across midnight": EnhancedSpec(
        injected=datetime(2026, 3, 9, 23, 30), started=datetime(2026, 3, 10, 0, 30), corrected_to=datetime(2026, 3, 10, 0, 30)
    ),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_a_true_enhanced_study_has_its_values(tmp_path: Path, spec: EnhancedSpec) -> None:
    study = read(written(tmp_path, spec))
    assert study.tracer is spec.tracer
    assert len(study.pet.instances) == len(SUV)
    assert [i.frame for i in study.pet.instances] == sorted(i.frame or 0 for i in study.pet.instances) or spec.shuffled
    assert_truth(study, spec)


@pytest.mark.peer("dciodvfy")
def test_the_objects_of_these_tests_are_such_as_the_standard_wants(tmp_path: Path, program: Callable[[str], str]) -> None:
    for spec in (SPECS["siemens"], SPECS["not decay corrected"], SPECS["PentixaFor"]):
        for path in write(tmp_path, [*pet_objects(SUV, GRID, spec), *ct_objects(HOUNSFIELD, GRID, spec)]):
            told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
            assert [line for line in told.splitlines() if line.startswith("Error")] == []


def test_a_slope_of_its_own_for_each_frame_beside_a_shared_transformation(tmp_path: Path) -> None:
    """The transformation to unspecified units stands once for all frames, as most makers write it."""

    def share(objects: list[Dataset]) -> None:
        for item in objects[0].PerFrameFunctionalGroupsSequence:
            objects[0].SharedFunctionalGroupsSequence[
                0
            ].PixelValueTransformationSequence = item.PixelValueTransformationSequence
            del item.PixelValueTransformationSequence

    spec = EnhancedSpec(own_slopes=True)
    written(tmp_path, spec, share)
    instance = read_instance(tmp_path / "00.dcm")
    before = instance.header.to_json()
    assert [i.header for i in frames(instance)] == [i.header for i in frames(instance)]
    assert instance.header.to_json() == before
    assert_truth(read(tmp_path), spec)


def test_other_forms_of_suv_are_turned_into_suv_by_weight(tmp_path: Path) -> None:
    """Janmahasatian's lean body mass of a woman of 70 kg and 1.7 m is 46.69 kg (9270 W / (8780 + 244 BMI))."""
    written(tmp_path, EnhancedSpec(units="{SUVlbm(Janma)}g/ml"))
    conversion = suv_conversion(pet_of(tmp_path))
    lean = 9270 * 70 / (8780 + 244 * 70 / 1.7**2)
    assert conversion.factor == pytest.approx(70 / lean, rel=1e-9)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_every_transfer_syntax_gives_the_same_frames(tmp_path: Path, syntax: UID) -> None:
    grid = make_grid(4, (32, 40))
    suv = np.random.default_rng(4).uniform(0.0, 9.0, grid.shape).astype(np.float32)
    plain = write(tmp_path / "plain", pet_objects(suv, grid, EnhancedSpec()))[0]
    (path,) = write(tmp_path / "other", pet_objects(suv, grid, EnhancedSpec()))
    rewritten(path, syntax)
    assert read_instance(path).header.file_meta.TransferSyntaxUID == syntax
    assert differing(read_instance(plain), read_instance(path)) == ()


def test_other_pixels_and_other_frames_under_one_uid_are_told(tmp_path: Path) -> None:
    paths = write(tmp_path, [pet_objects(values, GRID, EnhancedSpec())[0] for values in (SUV, SUV[::-1].copy())])
    assert differing(*(read_instance(path) for path in paths)) == (PIXELS,)
    fewer = make_grid(6)
    paths += write(tmp_path, pet_objects(SUV[:6], fewer, EnhancedSpec()))
    assert differing(*(read_instance(path) for path in paths[1:])) == ("NumberOfFrames",)


def test_reading_is_as_quick_as_of_classic_files(tmp_path: Path) -> None:
    """300 frames of 120 x 120: well below a second of one core; decoding the file for each frame took half a minute."""
    grid = make_grid(300, (120, 120))
    suv = np.random.default_rng(5).uniform(0, 9, grid.shape).astype(np.float32)
    (path,) = write(tmp_path, pet_objects(suv, grid, EnhancedSpec()))
    rewritten(path, JPEGLSLossless)
    begun = time.process_time()
    pet = pet_of(tmp_path)
    assert len(pet.instances) == 300
    np.testing.assert_allclose(read_pet(pet).values, suv, atol=2e-4)
    assert time.process_time() - begun < 8

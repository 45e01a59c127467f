"""The phantom's files: clean by dicom3tools' judgement, and worth the phantom's SUV by the formula and by the reader."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from analysis.phantom import DigitalPatient, PhantomSettings, Preset, make_patient
from analysis.values import Grid, PetCt, Tracer, Volume
from dicom_io.headers import group, read_folder
from dicom_io.studies import TracerStudy
from dicom_io.suv import suv_conversion
from dicom_io.synthetic import Maker, PairSpec, StudySpec, write_patient, write_study
from dicom_io.tracers import recognise
from dicom_io.volumes import load

SYNTAXES = (ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian)
TOP = {Maker.GE: 32767, Maker.SIEMENS: 65535, Maker.PHILIPS: 65535}


@pytest.fixture(scope="module")
def patient() -> DigitalPatient:
    return make_patient(PhantomSettings(seed=11, lesions=6, preset=Preset.COARSE))


def slab(volume: Volume, low_z: float, high_z: float) -> Volume:
    """The slices between two heights, mm."""
    z = volume.grid.affine[2, 3] + volume.grid.affine[2, 0] * np.arange(volume.grid.shape[0])
    keep = np.flatnonzero((z >= low_z) & (z <= high_z))
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_world((keep[0], 0, 0))
    grid = Grid(shape=(len(keep), *volume.grid.shape[1:]), affine=affine)
    return Volume(grid=grid, values=volume.values[keep].copy(), unit=volume.unit)


@pytest.fixture(scope="module")
def studies(patient: DigitalPatient) -> dict[Tracer, PetCt]:
    """320 mm of each scan: three beds of a PET, few files."""
    thin = {}
    for tracer in Tracer:
        study = patient.study(tracer)
        middle = study.pet.grid.to_world((study.pet.grid.shape[0] // 2, 0, 0))[2]
        ct, pet = slab(study.ct, middle - 166, middle + 166), slab(study.pet, middle - 160, middle + 160)
        thin[tracer] = PetCt(tracer=tracer, pet=pet, ct=ct, body=study.body, uptake_min=study.uptake_min)
    return thin


def read(folder: Path) -> TracerStudy:
    instances, unusable = read_folder(folder)
    assert unusable == []
    (study,) = group(instances)
    return recognise(study)


def without_pixels(paths: Iterable[Path]) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in paths]


@pytest.mark.parametrize(("maker", "tracer"), list(product(Maker, Tracer)))
def test_what_is_written_is_read_again(studies: dict[Tracer, PetCt], maker: Maker, tracer: Tracer, tmp_path: Path) -> None:
    original = studies[tracer]
    write_study(original, tmp_path, StudySpec(maker=maker))
    study = read(tmp_path)
    assert study.tracer is tracer
    back = load(study)
    assert back.pet.grid.same_as(original.pet.grid)
    assert back.ct.grid.same_as(original.ct.grid)
    assert np.array_equal(back.ct.values, original.ct.values)
    peaks = original.pet.values.max(axis=(1, 2), keepdims=True)
    step = (peaks if maker is Maker.GE else peaks.max()) / TOP[maker]
    assert (np.abs(back.pet.values - original.pet.values) <= 0.51 * step + 1e-6).all()
    conversion = suv_conversion(study.pet)
    assert conversion.warnings == ()
    assert conversion.uptake_min == pytest.approx(original.uptake_min, abs=0.02)
    assert (conversion.weight_kg, conversion.height_m) == (original.body.weight_kg, original.body.height_m)


@pytest.mark.parametrize("maker", [Maker.GE, Maker.SIEMENS])
def test_suv_by_the_formula(studies: dict[Tracer, PetCt], maker: Maker, tmp_path: Path) -> None:
    """SUVbw = Bq/ml x g / (dose x 2^(-t / half-life)), t from administration to SeriesTime, read by pydicom alone."""
    for tracer, original in studies.items():
        files = write_study(original, tmp_path / tracer.value, StudySpec(maker=maker))
        ds = dcmread([path for path in files if path.parent.name == "pet"][20])
        item = ds.RadiopharmaceuticalInformationSequence[0]
        given = datetime.strptime(item.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S")
        waited = (datetime.strptime(ds.SeriesDate + ds.SeriesTime, "%Y%m%d%H%M%S") - given).total_seconds()
        left = float(item.RadionuclideTotalDose) * 2 ** (-waited / float(item.RadionuclideHalfLife))
        suv = ds.pixel_array * float(ds.RescaleSlope) * float(ds.PatientWeight) * 1000 / left
        corner = float(ds.ImagePositionPatient[2])
        k = int(np.rint(original.pet.grid.to_index([0, 0, corner])[0]))
        assert np.allclose(suv, original.pet.values[k], atol=original.pet.values.max() / TOP[maker])


def test_ge_scales_each_slice_and_siemens_the_series(studies: dict[Tracer, PetCt], tmp_path: Path) -> None:
    for maker, several in ((Maker.GE, True), (Maker.SIEMENS, False)):
        files = write_study(studies[Tracer.FDG], tmp_path / maker.name, StudySpec(maker=maker))
        slopes = {str(ds.RescaleSlope) for ds in without_pixels(files) if ds.Modality == "PT"}
        assert (len(slopes) > 1) == several


def test_beds_follow_each_other(studies: dict[Tracer, PetCt], tmp_path: Path) -> None:
    files = write_study(studies[Tracer.FDG], tmp_path, StudySpec(maker=Maker.SIEMENS))
    pet = [ds for ds in without_pixels(files) if ds.Modality == "PT"]
    assert len({ds.AcquisitionTime for ds in pet}) == 3
    assert len({ds.SeriesTime for ds in pet}) == 1
    assert min(ds.AcquisitionTime for ds in pet) == pet[0].SeriesTime


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes(studies: dict[Tracer, PetCt], syntax: UID, tmp_path: Path) -> None:
    original = studies[Tracer.PENTIXAFOR]
    files = write_study(original, tmp_path, StudySpec(maker=Maker.GE, transfer_syntax=syntax))
    assert {ds.file_meta.TransferSyntaxUID for ds in without_pixels(files)} == {syntax}
    back = load(read(tmp_path))
    assert np.array_equal(back.ct.values, original.ct.values)
    assert np.allclose(back.pet.values, original.pet.values, atol=original.pet.values.max() / 32767)


@pytest.mark.parametrize("maker", Maker)
def test_distractors_are_not_taken_for_the_scan(studies: dict[Tracer, PetCt], maker: Maker, tmp_path: Path) -> None:
    files = write_study(studies[Tracer.FDG], tmp_path, StudySpec(maker=maker, distractors=True))
    assert {path.parent.name for path in files} == {"pet", "ct", "nac", "scout", "mip"}
    study = read(tmp_path)
    assert study.pet.description not in {"PET NAC", "MIP"}
    assert study.ct.description == "CT WB low dose"


def test_the_same_seed_writes_the_same_files(studies: dict[Tracer, PetCt], tmp_path: Path) -> None:
    spec = StudySpec(maker=Maker.PHILIPS, seed="7")
    first = write_study(studies[Tracer.FDG], tmp_path / "a", spec)
    second = write_study(studies[Tracer.FDG], tmp_path / "b", spec)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    other = write_study(studies[Tracer.FDG], tmp_path / "c", StudySpec(maker=Maker.PHILIPS, seed="8"))
    uids = [{ds.SOPInstanceUID for ds in without_pixels(files)} for files in (first, other)]
    assert not uids[0] & uids[1]
    assert len(uids[0]) == len(first)


def test_a_patient_on_disk(patient: DigitalPatient, tmp_path: Path) -> None:
    paths = write_patient(patient, tmp_path, PairSpec(days_apart=5))
    truth = json.loads(paths["truth"].read_text())
    assert truth["lesions"] == patient.truth["lesions"]
    pair = {name: read(paths[name]) for name in ("fdg", "pentixafor")}
    assert pair["fdg"].study.patient == pair["pentixafor"].study.patient
    assert pair["fdg"].study.patient.patient_id == truth["patient_id"] == "PHANTOM-011"
    assert (pair["pentixafor"].study.started.date() - pair["fdg"].study.started.date()).days == truth["days_apart"] == 5
    for name, study in pair.items():
        conversion = suv_conversion(study.pet)
        scale = 1.731 if conversion.units == "CNTS" else 1.0  # Bq/ml of one count
        assert conversion.factor == pytest.approx(truth[f"suv_factor_{name}"] * scale, rel=1e-6)
        assert load(study).pet.grid.same_as(patient.study(study.tracer).pet.grid)


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("maker", Maker)
def test_dciodvfy_finds_no_error(studies: dict[Tracer, PetCt], maker: Maker, tmp_path: Path) -> None:
    for tracer, study in studies.items():
        files = write_study(study, tmp_path / tracer.value, StudySpec(maker=maker, distractors=True))
        for name in ("pet", "ct", "nac", "scout", "mip"):
            series = [path for path in files if path.parent.name == name]
            for path in {series[0], series[len(series) // 2], series[-1]}:
                told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
                assert [line for line in told.splitlines() if line.startswith("Error")] == [], path.name


@pytest.mark.peer("dcentvfy")
def test_dcentvfy_finds_the_set_consistent(studies: dict[Tracer, PetCt], tmp_path: Path) -> None:
    files = write_study(studies[Tracer.FDG], tmp_path, StudySpec(maker=Maker.SIEMENS, distractors=True))
    told = subprocess.run(["dcentvfy", *map(str, files)], capture_output=True, text=True, check=False).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []

"""Enhanced objects received: one file is a whole series, and of a pair of such studies becomes a case of four files."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from enhanced_cases import GRID, HOUNSFIELD, SUV
from enhanced_scans import EnhancedSpec, ct_objects, pet_objects
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGLSLossless
from syntaxes import rewritten

from analysis.values import Tracer
from dicom_io.headers import group, read_instance
from dicom_io.pairing import one_pair
from dicom_io.studies import TracerStudy
from dicom_io.tracers import recognise
from service import casebook, intake
from service.intake import Rules
from service.readiness import IntakeSettings
from service.tables import StudyState

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))
FDG = EnhancedSpec()
PENTIXAFOR = EnhancedSpec(
    tracer=Tracer.PENTIXAFOR,
    dose_mbq=120.0,
    injected=datetime(2026, 3, 12, 9, 0),
    started=datetime(2026, 3, 12, 10, 0),
    corrected_to=datetime(2026, 3, 12, 10, 0),
)


def objects(spec: EnhancedSpec) -> list[Dataset]:
    found = [*pet_objects(SUV, GRID, spec), *ct_objects(HOUNSFIELD, GRID, spec)]
    for ds in found:
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return found


def step(folder: Any) -> dict[str, Any]:
    intake.step(folder.journal, folder.data, RULES, 1000.0)
    return {row.tracer or row.study_instance_uid: row for row in casebook.studies_of(folder.journal)}


@pytest.mark.parametrize("instances", [1, 3])
def test_a_pair_of_enhanced_studies_becomes_a_case_that_reads_each_file_once(folder: Any, instances: int) -> None:
    files = {spec.tracer: folder.receive(objects(dataclasses.replace(spec, instances=instances))) for spec in (FDG, PENTIXAFOR)}
    rows = step(folder)
    assert {row.state for row in rows.values()} == {StudyState.PAIRED}
    assert {row.instances for row in rows.values()} == {2 * instances}
    (job,) = casebook.jobs_of(folder.journal, "P1")
    assert sorted(job.paths("fdg")) == sorted(files[Tracer.FDG])
    assert sorted(job.paths("pentixafor")) == sorted(files[Tracer.PENTIXAFOR])
    fdg, pentixafor = (study_of(folder, job.paths(name)) for name in ("fdg", "pentixafor"))
    pair = one_pair([fdg], [pentixafor])
    assert pair.uid == job.pair_uid  # what the worker asks for
    assert len(pair.fdg.pet.instances) == len(SUV)


def study_of(folder: Any, paths: list[str]) -> TracerStudy:
    (study,) = group([read_instance(folder.data / path) for path in paths])
    return recognise(study)


def test_a_bed_that_has_not_come_yet_is_waited_for(folder: Any) -> None:
    found = objects(dataclasses.replace(FDG, instances=3))
    second_bed = found.pop(1)
    folder.receive(found)
    (row,) = step(folder).values()
    assert row.state is StudyState.WAITING
    assert "4 slices are missing" in row.sentence
    folder.receive([second_bed], now=500.0)
    assert "Waits for a PentixaFor study" in step(folder)["FDG"].sentence


def test_the_same_object_in_another_transfer_syntax_is_no_dispute(folder: Any, tmp_path: Path) -> None:
    found = objects(FDG)
    folder.receive(found)
    found[0].save_as(tmp_path / "again.dcm", enforce_file_format=True)
    rewritten(tmp_path / "again.dcm", JPEGLSLossless)
    folder.receive([dcmread(tmp_path / "again.dcm")])
    assert "Waits for a PentixaFor study" in step(folder)["FDG"].sentence


def test_what_cannot_be_measured_is_held_with_its_sentence(folder: Any) -> None:
    found = objects(FDG)
    found[0].AttenuationCorrected = "NO"
    folder.receive(found)
    (row,) = step(folder).values()
    assert row.state is StudyState.HELD
    assert "AttenuationCorrected is NO" in row.sentence
    assert "Muster" not in row.sentence

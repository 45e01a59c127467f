"""Objects that came twice with different bytes: the same image in another form, a true conflict, and the way out of it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import JPEGLSLossless, generate_uid

from analysis.values import Tracer
from service import arrivals, casebook, doubles, intake, recovery
from service.casebook import StudyRow
from service.intake import Rules
from service.overview import overview
from service.readiness import IntakeSettings
from service.tables import InstanceState, JobState, StudyState

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))
LATER = 1000.0


def step(folder: Any, now: float = LATER) -> None:
    intake.step(folder.journal, folder.data, RULES, now)


def both(scan: Any) -> list[Any]:
    return [*scan(tracer=Tracer.FDG).datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()]


def deliver(folder: Any) -> casebook.JobRow:
    """The case as it stands, run and returned."""
    job = casebook.claim(folder.journal, LATER)
    assert job is not None
    assert casebook.finish(folder.journal, job.id, [], LATER)
    return job


def states(folder: Any) -> list[StudyState]:
    return sorted(row.state for row in casebook.studies_of(folder.journal))


def held(folder: Any) -> StudyRow:
    return next(row for row in casebook.studies_of(folder.journal) if row.state is StudyState.HELD)


def unused(folder: Any) -> list[str]:
    return [line.sentence for line in overview(folder.journal).unused if line.state == InstanceState.IGNORED]


def restart(folder: Any, now: float) -> None:
    recovery.recover(folder.journal, folder.inbox, now)
    step(folder, now=now)


def in_jpeg_ls(dataset: Any) -> Any:
    """The same image as another archive sends it; the codec is CharLS by way of pydicom."""
    compressed = deepcopy(dataset)
    compressed.compress(JPEGLSLossless, generate_instance_uid=False)
    return compressed


def blank(dataset: Any) -> Any:
    changed = deepcopy(dataset)
    changed.PixelData = bytes(len(changed.PixelData))
    return changed


def scout(scan: Any) -> Any:
    """A localizer in a series of its own; the measured series keep theirs."""
    dataset = scan(modalities=("CT",)).datasets()[0]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["scout"])
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["scout", "0"])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


@pytest.mark.parametrize("index", [0, 7], ids=["PET", "CT"])
@pytest.mark.parametrize("first_compressed", [True, False])
def test_the_same_image_in_another_form_is_kept_and_not_used(
    folder: Any, scan: Any, index: int, first_compressed: bool
) -> None:
    datasets = both(scan)
    plain, compressed = datasets[index], in_jpeg_ls(datasets[index])
    datasets[index], again = (compressed, plain) if first_compressed else (plain, compressed)
    first = folder.receive(datasets)[index]
    step(folder)
    job = deliver(folder)
    (second,) = folder.receive([again], now=LATER)
    step(folder, now=LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2
    assert unused(folder) == [doubles.OTHER_FORM]
    (after,) = casebook.jobs_of(folder.journal)
    assert (after.id, after.state) == (job.id, JobState.DONE)
    assert first in after.paths("fdg")
    assert second not in after.paths("fdg")
    casebook.unsettle_all(folder.journal)
    restart(folder, LATER + 200)
    assert states(folder) == [StudyState.PAIRED] * 2
    assert all(row.settled for row in casebook.studies_of(folder.journal))


def test_words_that_the_analysis_does_not_use_make_no_other_image(folder: Any, scan: Any) -> None:
    datasets = both(scan)
    folder.receive(datasets)
    step(folder)
    again = deepcopy(datasets[0])
    again.InstitutionName = "Another hospital"
    again.RescaleSlope = "0.500"
    folder.receive([again], now=LATER)
    step(folder, now=LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2
    assert unused(folder) == [doubles.OTHER_FORM]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", "0.25"),
        ("ImagePositionPatient", [-20.0, -30.0, 1.0]),
        ("PixelSpacing", [5, 5]),
        ("Units", "GML"),
        ("PatientWeight", "71"),
        ("AcquisitionTime", "100100"),
        ("PatientSex", "M"),
        ("FrameOfReferenceUID", "1.2.3"),
        ("ImageType", ["DERIVED", "PRIMARY"]),
    ],
)
def test_words_that_the_analysis_uses_make_another_image(folder: Any, scan: Any, keyword: str, value: Any) -> None:
    datasets = both(scan)
    folder.receive(datasets)
    changed = deepcopy(datasets[0])
    setattr(changed, keyword, value)
    folder.receive([changed])
    step(folder)
    assert held(folder).reason == intake.TWO_CONTENTS
    assert keyword in held(folder).sentence


def test_another_dose_makes_another_image(folder: Any, scan: Any) -> None:
    folder.receive(both(scan))
    changed = deepcopy(scan().datasets()[0])
    changed.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "310000000"
    folder.receive([changed])
    step(folder)
    assert "RadiopharmaceuticalInformationSequence" in held(folder).sentence


def test_a_measured_object_with_two_contents_is_held_and_both_are_kept(folder: Any, scan: Any) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[0]
    (later,) = folder.receive([blank(datasets[0])])
    step(folder)
    assert held(folder).reason == intake.TWO_CONTENTS
    for word in (str(datasets[0].SOPInstanceUID), first, later, "pixel data", "restart the node"):
        assert word in held(folder).sentence
    assert "finished case" not in held(folder).sentence
    assert states(folder) == [StudyState.HELD, StudyState.WAITING]
    assert casebook.jobs_of(folder.journal) == []
    assert len(list(folder.inbox.files())) == len(datasets) + 1


def test_every_object_with_two_contents_is_named_at_once(folder: Any, scan: Any) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[:3]
    later = folder.receive([blank(ds) for ds in datasets[:3]])
    step(folder)
    assert held(folder).sentence.startswith("3 object(s) were received twice")
    for word in (*first, *later, *(str(ds.SOPInstanceUID) for ds in datasets[:3])):
        assert word in held(folder).sentence


def test_an_object_outside_the_measured_series_with_two_contents_holds_nothing(folder: Any, scan: Any) -> None:
    first = scout(scan)
    folder.receive([*both(scan), first])
    step(folder)
    job = deliver(folder)
    folder.receive([blank(first)], now=LATER)
    step(folder, now=LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2
    assert unused(folder) == [doubles.NOT_MEASURED]
    assert [(each.id, each.state) for each in casebook.jobs_of(folder.journal)] == [(job.id, JobState.DONE)]


@pytest.mark.parametrize("by_quality", [False, True])
def test_a_finished_case_stays_where_its_study_is_held_later(folder: Any, scan: Any, by_quality: bool) -> None:
    datasets = both(scan)
    folder.receive(datasets)
    step(folder)
    job = casebook.claim(folder.journal, LATER)
    assert job is not None
    if by_quality:
        casebook.set_aside(folder.journal, job.id, JobState.HELD, casebook.HELD_BY_QUALITY, "Moved.")
    else:
        casebook.finish(folder.journal, job.id, [], LATER)
    folder.receive([blank(datasets[0])], now=LATER)
    step(folder, now=LATER + 100)
    assert states(folder) == [StudyState.HELD, StudyState.PAIRED]
    assert "finished case was made with those received first" in held(folder).sentence
    (after,) = casebook.jobs_of(folder.journal)
    assert after.state is (JobState.HELD if by_quality else JobState.DONE)


@pytest.mark.parametrize("wrong", ["first", "later"])
def test_moving_the_wrong_version_away_frees_the_study(folder: Any, scan: Any, tmp_path: Path, wrong: str) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[0]
    (later,) = folder.receive([blank(datasets[0])])
    step(folder)
    right, gone = (later, first) if wrong == "first" else (first, later)
    (folder.data / gone).rename(tmp_path / "moved.dcm")
    restart(folder, LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2
    (job,) = casebook.jobs_of(folder.journal)
    assert right in job.paths("fdg")
    assert gone not in job.paths("fdg")
    assert unused(folder) == [arrivals.GONE]
    (tmp_path / "moved.dcm").rename(folder.data / gone)
    restart(folder, LATER + 200)
    assert held(folder).reason == intake.TWO_CONTENTS


def test_a_queued_case_gets_the_version_that_is_left(folder: Any, scan: Any, tmp_path: Path) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[0]
    (later,) = folder.receive([in_jpeg_ls(datasets[0])])
    step(folder)
    (folder.data / first).rename(tmp_path / "moved.dcm")
    restart(folder, LATER + 100)
    (job,) = casebook.jobs_of(folder.journal)
    assert (job.state, later in job.paths("fdg")) == (JobState.QUEUED, True)
    assert unused(folder) == [arrivals.GONE]


def test_results_of_a_withdrawn_run_are_not_taken_for_those_of_the_version_that_is_left(
    folder: Any, scan: Any, tmp_path: Path
) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[0]
    step(folder)
    running = casebook.claim(folder.journal, LATER)
    assert running is not None
    folder.receive([blank(datasets[0])], now=LATER)
    step(folder, now=LATER + 100)
    results = folder.data / "cases" / running.pair_uid
    results.mkdir(parents=True)  # the worker ends after all
    (job,) = casebook.jobs_of(folder.journal)
    assert job.state is JobState.WITHDRAWN
    (folder.data / first).rename(tmp_path / "moved.dcm")
    restart(folder, LATER + 200)
    (job,) = casebook.jobs_of(folder.journal)
    assert (job.state, first in job.paths("fdg")) == (JobState.QUEUED, False)
    assert not results.exists()
    assert len(list(results.parent.iterdir())) == 1


def test_a_delivered_case_whose_version_was_moved_away_says_so(folder: Any, scan: Any, tmp_path: Path) -> None:
    datasets = both(scan)
    first = folder.receive(datasets)[0]
    step(folder)
    deliver(folder)
    folder.receive([blank(datasets[0])], now=LATER)
    step(folder, now=LATER + 100)
    (folder.data / first).rename(tmp_path / "moved.dcm")
    restart(folder, LATER + 200)
    rows = casebook.studies_of(folder.journal)
    assert all(row.state is StudyState.PAIRED for row in rows)
    assert all(f"made with {first}" in row.sentence for row in rows)
    (job,) = casebook.jobs_of(folder.journal)
    assert (job.state, first in job.paths("fdg")) == (JobState.DONE, True)


def test_a_file_that_is_gone_is_used_again_when_it_is_sent_again(folder: Any, scan: Any) -> None:
    datasets = both(scan)
    path = folder.receive(datasets)[0]
    (folder.data / path).unlink()
    step(folder)
    assert casebook.jobs_of(folder.journal) == []
    assert unused(folder) == [arrivals.GONE]
    folder.receive([datasets[0]], now=LATER)
    step(folder, now=LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2
    assert unused(folder) == []


def test_a_start_without_the_files_of_a_finished_case_changes_nothing(folder: Any, scan: Any) -> None:
    paths = folder.receive(both(scan))
    step(folder)
    deliver(folder)
    for path in paths:
        (folder.data / path).unlink()
    restart(folder, LATER + 100)
    assert states(folder) == [StudyState.PAIRED] * 2


def test_a_study_that_cannot_be_used_tells_of_its_two_versions_as_well(folder: Any, scan: Any) -> None:
    datasets = scan(words={"PatientWeight": None}).datasets()
    folder.receive(datasets)
    corrected = deepcopy(datasets[0])
    corrected.PatientWeight = "70"
    (later,) = folder.receive([corrected])
    step(folder)
    assert held(folder).reason == "NotQuantifiable"
    assert later in held(folder).sentence

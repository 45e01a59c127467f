"""What all written objects share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from factories import Patient, make_analysis, make_case

from analysis.values import Model, Tracer, Verdict
from dicom_io.derived import Case, Kind, ascii_text, content_moment, device_uid, digest, new_object, plain
from dicom_io.sources import source


def test_plain_gives_what_json_knows() -> None:
    given = {"a": float("nan"), "b": np.float32(1.5), Tracer.FDG: (1, True), "c": frozenset({"y", "x"}), "d": Verdict.OK}
    assert plain(given) == {"a": None, "b": 1.5, "FDG": [1, True], "c": ["x", "y"], "d": "ok"}
    assert plain({"model": Model(name="n", version="1")})["model"]["manufacturer"] == "duet"
    assert plain(math.inf) is None


def test_digest_changes_with_settings_versions_and_weights() -> None:
    analysis = make_analysis()
    assert digest(analysis) == digest(make_analysis())
    assert digest(replace(analysis, settings={"x": 1})) != digest(analysis)
    assert digest(replace(analysis, software={"duet-node": "9"})) != digest(analysis)
    fdg = analysis.lesions[Tracer.FDG]
    others = {**analysis.lesions, Tracer.FDG: replace(fdg, model=replace(fdg.model, weights_sha256="00"))}
    assert digest(replace(analysis, lesions=others)) != digest(analysis)


def test_device_uid_changes_with_weights() -> None:
    model = Model(name="net", version="1", weights_sha256="aa")
    assert device_uid(model) == device_uid(replace(model))
    assert device_uid(model) != device_uid(replace(model, weights_sha256="bb"))


def test_uids_depend_on_the_images_and_the_analysis_alone(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "a")
    again, _ = make_case(tmp_path / "b")
    first, second = Case(pair=pair, analysis=analysis), Case(pair=again, analysis=make_analysis())
    kinds = [first.sop_uid(k) for k in Kind] + [first.series_uid(k) for k in Kind]
    assert len(set(kinds)) == len(kinds)
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in kinds)
    assert kinds == [second.sop_uid(k) for k in Kind] + [second.series_uid(k) for k in Kind]


def test_source_is_a_copy_without_the_name(tmp_path: Path) -> None:
    pair, _ = make_case(tmp_path, patient=Patient(extra={"StudyDescription": "x" * 70, "PatientSex": "U"}))
    instance = pair.fdg.pet.instances[0]
    ds = source(instance)
    assert ds.PatientName == ""
    assert ds.PatientSex == ""
    assert len(ds.StudyDescription) == 64
    assert instance.header.PatientName == "Muster^Maria"
    assert len(instance.header.StudyDescription) == 70


def test_missing_type_2_attributes_become_empty(tmp_path: Path) -> None:
    missing = ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyTime", "AccessionNumber", "SeriesTime")
    pair, analysis = make_case(tmp_path, patient=Patient(missing=missing))
    ds = new_object(Case(pair=pair, analysis=analysis), Kind.FUSION, [Tracer.PENTIXAFOR], "1.2", "OT")
    assert all(not ds[keyword].value for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "StudyTime"))
    assert "InstanceCreationDate" not in ds


def test_half_a_clinical_trial_module_is_left_out(tmp_path: Path) -> None:
    """As in the shared real scan, whose sponsor was emptied: dciodvfy calls what remains an error."""
    half = {"ClinicalTrialSponsorName": "", "ClinicalTrialProtocolID": "6668", "ClinicalTrialTimePointID": "15"}
    whole = {**half, "ClinicalTrialSponsorName": "S", "ClinicalTrialSubjectID": "7"}
    found = []
    for name, extra in (("half", half), ("whole", whole)):
        pair, _ = make_case(tmp_path / name, patient=Patient(extra=extra))
        found.append([e.keyword for e in source(pair.fdg.pet.instances[0]) if e.keyword.startswith("ClinicalTrial")])
    assert found[0] == []
    assert set(found[1]) == set(whole)


def test_content_dates_come_from_the_images(tmp_path: Path) -> None:
    pair, _ = make_case(tmp_path)
    assert content_moment([pair.fdg, pair.pentixafor]) == ("20260312", "114500")
    assert content_moment([pair.fdg]) == ("20260310", "094500")


def test_descriptions_fit_and_say_research() -> None:
    for kind in Kind:
        assert len(kind.description) <= 64
        assert "research use only" in kind.description
    assert ascii_text("Mün\u6771", 3) == "M?n"

"""Reports: structure, codes, units, what is left out, and what peers make of them."""

from __future__ import annotations

import math
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import srtree
from factories import FEW, Box, Patient, make_case, many
from pydicom import Dataset, dcmread

from analysis.values import Concordance, PatientAnalysis, Tracer
from dicom_io.seg import write_segs
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.studies import DualTracerPair

Case = tuple[DualTracerPair, PatientAnalysis]


def tracer_sr(case: Case, tracer: Tracer) -> Dataset:
    return write_tracer_sr(*case, tracer, write_segs(*case, tracer))


def pair_sr(case: Case) -> Dataset:
    return write_pair_sr(*case, {t: write_segs(*case, t) for t in Tracer})


def saved(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("few"))


def test_a_lesion_is_a_group_with_its_segment_and_standard_codes(few: Case) -> None:
    pair, analysis = few
    segs = write_segs(pair, analysis, Tracer.PENTIXAFOR)
    group = srtree.groups(write_tracer_sr(pair, analysis, Tracer.PENTIXAFOR, segs))["P1"]
    lesion = analysis.lesions[Tracer.PENTIXAFOR].lesions[0]
    assert group.segment == (segs[0].SOPInstanceUID, 1)
    assert group.uid == segs[0].SegmentSequence[0].TrackingUID
    assert group.source_series == pair.pentixafor.pet.series_instance_uid
    assert group.value("SUVbw", "Maximum") == pytest.approx(lesion.suv_max)
    assert group.value("SUVbw", "Mean") == pytest.approx(lesion.suv_mean)
    assert group.value("SUVbw", "Peak Value Within ROI") == pytest.approx(lesion.suv_peak)
    assert group.value("Metabolic Volume") == pytest.approx(lesion.volume_ml)
    assert group.value("Total Lesion CXCR4 Expression") == pytest.approx(lesion.burden_g)
    assert group.value("Total Lesion Glycolysis") is None
    assert group.codes["Finding"] == "Lesion"
    assert group.codes["Finding Site"] == "L3 vertebra"
    assert group.codes["Site of the lesion"] == "Medullary"
    assert group.codes["Concordance of the tracers"] == "Concordant"
    assert set(group.units.values()) == {"g/ml{SUVbw}", "ml", "g", "{ratio}"}


def test_each_report_lies_in_the_right_study_and_names_its_evidence(few: Case) -> None:
    pair, analysis = few
    segs = {t: write_segs(pair, analysis, t) for t in Tracer}
    for tracer in Tracer:
        ds = write_tracer_sr(pair, analysis, tracer, segs[tracer])
        study = pair.study(tracer)
        assert ds.StudyInstanceUID == study.study.study_instance_uid
        named = srtree.references(ds)
        images = {i.sop_instance_uid for s in (study.pet, study.ct) for i in s.instances}
        assert named == {study.study.study_instance_uid: images | {segs[tracer][0].SOPInstanceUID}}
    ds = write_pair_sr(pair, analysis, segs)
    assert ds.StudyInstanceUID == pair.pentixafor.study.study_instance_uid
    assert set(srtree.references(ds)) == {pair.fdg.study.study_instance_uid, pair.pentixafor.study.study_instance_uid}
    other = ds.PertinentOtherEvidenceSequence[0]
    assert other.StudyInstanceUID == pair.fdg.study.study_instance_uid


def test_three_reports_three_series_all_marked_research(few: Case) -> None:
    reports = [tracer_sr(few, t) for t in Tracer] + [pair_sr(few)]
    assert len({ds.SeriesInstanceUID for ds in reports}) == 3
    for ds in reports:
        assert ds.ContentQualification == "RESEARCH"
        assert ds.VerificationFlag == "UNVERIFIED"
        assert "research use only" in ds.SeriesDescription
        assert srtree.statements(ds)[0].startswith("Research use only")
        assert srtree.concept(ds) == "PET Measurement Report"
        assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99DUET"
        assert all(item.DeviceUID for item in ds.ContributingEquipmentSequence)
        assert "InstanceCreationDate" not in ds


def test_the_pair_report_holds_every_feature_or_says_why_not(few: Case) -> None:
    groups = srtree.groups(pair_sr(few))
    concepts = {
        "SUVmean": ("SUVbw", "Mean"),
        "SUVmax": ("SUVbw", "Maximum"),
        "MTV": ("Metabolic Volume", "Total"),
        "TLG": ("Total Lesion Glycolysis", "Total"),
        "TLC": ("Total Lesion CXCR4 Expression", "Total"),
        "Count": ("Number of lesions", ""),
        "sDmax": ("Largest distance between lesions over body surface (sDmax)", ""),
    }
    organs = {"spleen": "Spleen", "liver": "Liver", "blood pool": "Aorta"}
    for name, value in few[1].features.items():
        measure, inside = name.removesuffix("]").split("[")
        tracer, _, rest = inside.partition(" ")
        group = groups[inside] if "medullary" in rest else groups[f"{tracer} patient"]
        found = group.value(*concepts[measure], organs.get(rest, ""))
        if math.isfinite(value):
            assert found == pytest.approx(value), name
        else:
            assert found is None
            assert any(text.startswith(f"{name} is undefined") for text in group.texts["Value that is undefined"])


def test_sites_and_uncertain_matches_are_marked(few: Case) -> None:
    ds = pair_sr(few)
    groups = srtree.groups(ds)
    assert groups["M1"].texts["Lesions of the disease site"] == ["F1, P1"]
    assert groups["M1"].codes["Certainty of the concordance"].startswith("Holds")
    assert groups["M3"].codes["Certainty of the concordance"].startswith("Changes")
    assert groups["M3"].value("Lowest overlap within the registration error") == pytest.approx(0.05)
    assert groups["M4"].codes["Concordance of the tracers"].startswith("Not comparable")
    assert groups["M4"].value("Overlap with lesions of the other tracer") is None
    assert any("uncertain" in text and "M3" in text for text in srtree.statements(ds))


def test_quality_findings_travel_with_verdict_and_sentence(few: Case) -> None:
    ds = pair_sr(few)
    group = srtree.groups(ds)["registration"]
    assert group.codes["Verdict of the quality check"] == "Look twice"
    assert group.texts["Comment"] == ["Bones overlap little."]
    assert group.value("Value of the quality check") == pytest.approx(0.6)
    assert any("Bones overlap little" in text for text in srtree.statements(ds))


def test_no_lesion_is_said(tmp_path: Path) -> None:
    case = make_case(tmp_path, ())
    ds = tracer_sr(case, Tracer.FDG)
    assert "No FDG lesion was found (0 lesions)." in srtree.statements(ds)
    total = srtree.groups(ds)["FDG all lesions"]
    assert total.value("Number of lesions") == 0
    assert total.value("Metabolic Volume", "Total") == 0
    assert total.value("SUVbw", "Maximum") is None
    assert "No PentixaFor lesion was found (0 lesions)." in srtree.statements(pair_sr(case))


def test_two_segmentations_are_told_and_referred_to(tmp_path: Path) -> None:
    case = make_case(tmp_path, many(258, Tracer.FDG))
    segs = write_segs(*case, Tracer.FDG)
    ds = write_tracer_sr(*case, Tracer.FDG, segs)
    assert any("2 segmentation series" in text for text in srtree.statements(ds))
    groups = srtree.groups(ds)
    assert groups["F255"].segment == (segs[0].SOPInstanceUID, 255)
    assert groups["F256"].segment == (segs[1].SOPInstanceUID, 1)


def test_unknown_features_and_text_values_are_no_obstacle(few: Case) -> None:
    pair, analysis = few
    features = {**analysis.features, "Entropy[FDG medullary concordant]": 1.5, "SUVmean[CXCR4 marrow]": 2.5}
    findings = (replace(analysis.findings[0], value="GE", name="scanner \u00e9"), *analysis.findings[1:])
    groups = srtree.groups(write_pair_sr(pair, replace(analysis, features=features, findings=findings), {}))
    assert groups["FDG patient"].value("Entropy[FDG medullary concordant]") == 1.5
    assert groups["CXCR4 patient"].value("SUVmean[CXCR4 marrow]") == 2.5
    assert groups["scanner ?"].numbers == {}


def test_names_stay_out_of_warnings_and_keep_their_characters(tmp_path: Path) -> None:
    who = Patient(name="Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", character_set=["", "ISO 2022 IR 87"])
    case = make_case(tmp_path, FEW, who)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = pair_sr(case)
    assert str(dcmread(saved(ds, tmp_path / "sr.dcm")).PatientName) == who.name


def test_the_same_input_gives_the_same_bytes(few: Case, tmp_path: Path) -> None:
    assert saved(pair_sr(few), tmp_path / "a").read_bytes() == saved(pair_sr(few), tmp_path / "b").read_bytes()


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("boxes", [FEW, ()], ids=["few", "none"])
def test_dciodvfy_finds_no_error(tmp_path: Path, boxes: tuple[Box, ...], program: Callable[[str], str]) -> None:
    case = make_case(tmp_path, boxes)
    for name, ds in {"fdg": tracer_sr(case, Tracer.FDG), "pair": pair_sr(case)}.items():
        path = saved(ds, tmp_path / f"{name}.dcm")
        told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


@pytest.mark.peer("dsrdump")
def test_dcmtk_reads_the_tree(few: Case, tmp_path: Path, program: Callable[[str], str]) -> None:
    path = saved(pair_sr(few), tmp_path / "sr.dcm")
    told = subprocess.run([program("dsrdump"), "-Ee", path], capture_output=True, text=True, check=True)
    assert "Comprehensive 3D SR" in told.stdout
    assert "E:" not in told.stderr


def test_every_compared_site_bears_its_range_and_an_uncertain_one_says_so_in_words(few: Case) -> None:
    pair, analysis = few
    matches = tuple(replace(m, error_mm=2.5 if m.certain else 6.25) for m in analysis.matches)
    groups = srtree.groups(pair_sr((pair, replace(analysis, matches=matches))))
    for match in matches:
        low = groups[match.name].value("Lowest overlap within the registration error")
        compared = match.concordance is not Concordance.NOT_COMPARABLE
        assert low == (pytest.approx(match.overlap_range[0]) if compared else None)
        words = [text for text in groups[match.name].texts.get("Comment", []) if text.startswith("Concordance is uncertain")]
        assert len(words) == (0 if match.certain else 1)
        assert all("5% to 90% within the registration error of 6.2 mm there" in text for text in words)

"""A whole case on disk: the files, and that all of them tell the same."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import srtree
from factories import FEW, make_analysis, make_case
from pydicom import Dataset, dcmread

from analysis.values import Border, Finding, Grid, Labelmap, LesionSet, PatientAnalysis, Tracer, Verdict
from dicom_io import codes
from dicom_io.capture import capture
from dicom_io.derived import Case
from dicom_io.header_findings import header_findings
from dicom_io.headers import group, read_folder
from dicom_io.nifti import TRANSFORM_NAME
from dicom_io.results import features_csv, make_results, write_case
from dicom_io.seg import write_segs
from dicom_io.seg_reader import mask_of, read_seg
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.studies import DualTracerPair, TracerStudy
from dicom_io.tracers import recognise

OBJECTS = {"seg-fdg.dcm", "seg-pentixafor.dcm", "sr-fdg.dcm", "sr-pentixafor.dcm", "sr-pair.dcm", "fusion.dcm"}
TABLES = {"fusion.png", "results.json", "lesions.csv", "features.csv"}
NIFTI = {f"{kind}-{tracer}.nii.gz" for kind in ("suv", "lesions", "anatomy") for tracer in ("fdg", "pentixafor")}


class Written:
    """A case and what was written of it."""

    def __init__(self, folder: Path) -> None:
        self.pair: DualTracerPair
        self.analysis: PatientAnalysis
        self.pair, self.analysis = make_case(folder / "in")
        self.folder = folder / "out"
        self.paths = write_case(self.folder, self.pair, self.analysis, nifti=True)
        self.results: dict[str, Any] = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))

    def object(self, name: str) -> Dataset:
        return dcmread(self.folder / f"{name}.dcm")

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("case"))


def test_every_file_is_there_and_nothing_else(written: Written) -> None:
    expected = OBJECTS | TABLES | NIFTI | {"anatomy.json", TRANSFORM_NAME}
    assert {p.name for p in written.folder.iterdir()} == expected
    assert {p.name for p in written.paths} == expected


def test_results_have_the_shape_of_the_design(written: Written) -> None:
    results = written.results
    assert results["patient_id"] == "TEST01"
    assert results["pair"]["fdg_study"] == written.pair.fdg.study.study_instance_uid
    assert results["pair"]["gap_days"] == 2
    assert {"software", "settings", "registration", "quality", "lesions", "features"} <= set(results)
    assert (results["not_run"], set(results["anatomy"])) == ({}, {"FDG", "PentixaFor"})
    for told in results["anatomy"].values():
        assert {"model", "confidence", "regions"} == set(told)
        assert told["regions"]
        assert all(set(each) == {"volume_ml", "confidence"} and each["volume_ml"] > 0 for each in told["regions"].values())
    assert results["quality"][1] == {
        "name": "registration",
        "value": 0.6,
        "limit": "0.70",
        "verdict": "warn",
        "message": "Bones overlap little.",
    }
    assert results["features"]["SUVmean[FDG blood pool]"] is None
    assert "NaN" not in (written.folder / "results.json").read_text(encoding="utf-8")
    lesion = next(x for x in results["lesions"] if x["id"] == "F3")
    assert lesion["concordance"] is None
    assert lesion["comparable"] is False
    assert "tlg_g" in lesion
    assert "tlc_g" in next(x for x in results["lesions"] if x["tracer"] == "PentixaFor")


@pytest.mark.parametrize("tracer", Tracer)
def test_suv_volumes_and_uids_agree_everywhere(written: Written, tracer: Tracer) -> None:
    """SEG pixels on the SUV image, the SR's content tree, results.json and lesions.csv, lesion by lesion."""
    stem = f"{tracer.value.lower()}"
    seg, found = written.object(f"seg-{stem}"), read_seg(written.folder / f"seg-{stem}.dcm")
    groups = srtree.groups(written.object(f"sr-{stem}"))
    rows = {row["id"]: row for row in written.rows("lesions.csv")}
    lesions = [x for x in written.results["lesions"] if x["tracer"] == tracer]
    assert len(lesions) == len(found.segments) == sum(g.segment is not None for g in groups.values())
    for lesion in lesions:
        group, row = groups[lesion["id"]], rows[lesion["id"]]
        inside = suv_inside(written, tracer, found, lesion["segment"])
        burden = "tlg_g" if tracer is Tracer.FDG else "tlc_g"
        measured = {
            "suv_max": (inside.max(), group.value("SUVbw", "Maximum")),
            "suv_mean": (inside.mean(), group.value("SUVbw", "Mean")),
            "suv_peak": (lesion["suv_peak"], group.value("SUVbw", "Peak Value Within ROI")),
            "volume_ml": (inside.size * found.labelmap.grid.voxel_ml, group.value("Metabolic Volume")),
            burden: (
                inside.sum() * found.labelmap.grid.voxel_ml,
                group.value("Total Lesion Glycolysis" if tracer is Tracer.FDG else "Total Lesion CXCR4 Expression"),
            ),
        }
        for name, (from_pixels, from_report) in measured.items():
            assert lesion[name] == pytest.approx(from_pixels, rel=1e-5), name
            assert lesion[name] == pytest.approx(from_report, rel=1e-12), name
            assert float(row[name]) == lesion[name], name
        segment = next(s for s in seg.SegmentSequence if s.SegmentNumber == lesion["segment"])
        assert segment.TrackingUID == group.uid == lesion["tracking_uid"] == row["tracking_uid"]
        assert segment.TrackingID == group.name == lesion["id"]
        assert (
            group.segment == (lesion["seg_sop_instance_uid"], lesion["segment"]) == (seg.SOPInstanceUID, segment.SegmentNumber)
        )
        assert row["seg_sop_instance_uid"] == seg.SOPInstanceUID


def suv_inside(written: Written, tracer: Tracer, found: Any, number: int) -> np.ndarray:
    """SUV of the voxels whose centres the segment marks, by position and not by index."""
    pet = written.analysis.aligned.study(tracer).pet
    world = found.labelmap.grid.to_world(np.argwhere(mask_of(found, number)))
    k, j, i = np.rint(pet.grid.to_index(world)).astype(int).T
    return pet.values[k, j, i].astype(np.float64)


def test_objects_in_results_are_those_on_disk_in_their_studies(written: Written) -> None:
    fdg, pentixafor = (written.pair.study(t).study.study_instance_uid for t in Tracer)
    study_of = dict.fromkeys(("seg-fdg", "sr-fdg"), fdg)
    assert set(written.results["objects"]) == {name.removesuffix(".dcm") for name in OBJECTS}
    for name, told in written.results["objects"].items():
        ds = written.object(name)
        assert told["sop_instance_uid"] == ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
        assert told["series_instance_uid"] == ds.SeriesInstanceUID
        assert told["study_instance_uid"] == ds.StudyInstanceUID == study_of.get(name, pentixafor)
    assert len({x["series_instance_uid"] for x in written.results["objects"].values()}) == len(OBJECTS)


def test_features_are_one_row_of_the_same_names(written: Written) -> None:
    (row,) = written.rows("features.csv")
    assert list(row)[:4] == ["patient_id", "fdg_date", "pentixafor_date", "quality"]
    assert (row["fdg_date"], row["pentixafor_date"]) == ("2026-03-10", "2026-03-12")
    features = written.results["features"]
    assert list(row)[4 : 4 + len(features)] == list(features)
    assert {name: float(row[name]) if row[name] else None for name in features} == features


FOUND = (
    Finding(name="FDG dose", value=250.5, limit="50-750 MBq", verdict=Verdict.OK, message="The dose of FDG is 250.5 MBq."),
    Finding(name="FDG lesion count", value=0, limit="<= 200", verdict=Verdict.OK, message="FDG shows 0 lesions."),
    Finding(name="FDG lesions in organs", value="F1, F2", limit="none", verdict=Verdict.WARN, message="F1, F2 lie there."),
    Finding(name="FDG height", value=None, limit="1.35-2.1 m", verdict=Verdict.WARN, message='No "height", so none.'),
    Finding(name="FDG uptake time", value=158.8, limit="50-75 min", verdict=Verdict.HOLD, message="Late, by 84 min."),
    Finding(name="FDG series", value=None, limit="", verdict=Verdict.OK, message="F-18 by its half-life."),
)


def test_every_finding_is_the_same_in_results_features_and_report(written: Written) -> None:
    """results.json, features.csv (column by column and as a whole) and the pair's SR tell one thing."""
    analysis = replace(written.analysis, findings=(*header_findings(written.pair), *FOUND))
    results = make_results(written.pair, analysis, {n: written.object(n) for n in written.results["objects"]})
    (row,) = csv.DictReader(io.StringIO(features_csv(written.pair, results)))
    groups = srtree.groups(write_pair_sr(written.pair, analysis, {}))
    assert row["quality"] == results["verdict"] == "hold"
    assert json.loads(row["findings"]) == results["quality"]
    assert list(row)[-1] == "findings"
    assert [f["name"] for f in results["quality"]] == [f.name for f in analysis.findings]
    for finding in results["quality"]:
        name, value, group = finding["name"], finding["value"], groups[finding["name"]]
        assert row[f"verdict[{name}]"] == finding["verdict"]
        assert row[f"quality[{name}]"] == ("" if value is None else str(value))
        assert group.codes["Verdict of the quality check"] == codes.VERDICTS[Verdict(finding["verdict"])].meaning
        assert group.texts["Comment"] == [finding["message"]]
        assert group.texts.get("Limit of the quality check", [""]) == [finding["limit"]]
        shown = group.value("Value of the quality check"), *group.texts.get("Value of the quality check", [])
        assert shown == ((None, value) if isinstance(value, str) else (value,))


def test_a_second_run_gives_the_same_bytes(written: Written, tmp_path: Path) -> None:
    again = write_case(tmp_path, written.pair, written.analysis)
    for path in again:
        first = written.folder / path.name
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest(), path.name


def test_no_lesion_writes_no_seg_and_removes_an_old_one(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "in", ())
    out = tmp_path / "out"
    out.mkdir()
    (out / "seg-fdg.dcm").write_bytes(b"old")
    (out / ".seg-fdg.dcm.part").write_bytes(b"cut off")
    write_case(out, pair, analysis)
    assert {p.name for p in out.iterdir()} == (OBJECTS - {"seg-fdg.dcm", "seg-pentixafor.dcm"}) | TABLES
    assert json.loads((out / "results.json").read_text())["lesions"] == []


def test_one_lesion(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "in", FEW[1:2])
    names = {p.name for p in write_case(tmp_path / "out", pair, analysis)}
    assert names == (OBJECTS - {"seg-pentixafor.dcm"}) | TABLES


@pytest.mark.parametrize("tracer", Tracer)
def test_nifti_lies_where_the_dicom_lies(written: Written, tracer: Tracer) -> None:
    """nibabel, which knows nothing of LPS, must give RAS: x and y of the lesions' centres with the opposite sign."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(written.folder / f"lesions-{tracer.value.lower()}.nii.gz")
    labels = np.asarray(image.dataobj)
    suv = np.asarray(nibabel.load(written.folder / f"suv-{tracer.value.lower()}.nii.gz").dataobj)
    for lesion in written.results["lesions"]:
        if lesion["tracer"] != tracer:
            continue
        mask = labels == int(lesion["id"][1:])
        x, y, z = nibabel.affines.apply_affine(image.affine, np.argwhere(mask)).mean(axis=0)
        assert (-x, -y, z) == pytest.approx(lesion["centroid_mm"], abs=1e-3)
        assert suv[mask].max() == pytest.approx(lesion["suv_max"], rel=1e-6)


def test_anatomy_has_one_table_of_labels_for_both(written: Written) -> None:
    table = {x["name"]: x["label"] for x in json.loads((written.folder / "anatomy.json").read_text())}
    for tracer in Tracer:
        regions = written.analysis.anatomy[tracer].regions
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(written.folder / f"anatomy-{tracer.value.lower()}.nii.gz")))
        for name in ("liver", "spine"):
            assert np.array_equal(image == table[name], regions.mask(name))


def test_the_transform_takes_pentixafor_points_to_fdg_points(written: Written) -> None:
    transform = sitk.ReadTransform(str(written.folder / TRANSFORM_NAME))
    lesions = {x["id"]: x["centroid_mm"] for x in written.results["lesions"]}
    assert transform.TransformPoint(lesions["P1"]) == pytest.approx(lesions["F1"])


@pytest.mark.peer("dciodvfy")
def test_real_headers_give_clean_objects(shared_data: Path, tmp_path: Path, program: Callable[[str], str]) -> None:
    """GE and Siemens headers of a de-identified trial; the lesions are the factory's, laid into the real matrix."""
    studies = {}
    for tracer in Tracer:
        instances, _ = read_folder(shared_data / "pair1" / tracer.value.lower())
        (study,) = group(instances)
        studies[tracer] = recognise(study)
    pair = DualTracerPair(fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR])
    found = make_analysis()
    analysis = replace(found, lesions={t: in_matrix_of(studies[t], found.lesions[t]) for t in Tracer})
    segs = {t: write_segs(pair, analysis, t) for t in Tracer}
    objects = [seg for t in Tracer for seg in segs[t]]
    objects += [write_tracer_sr(pair, analysis, t, segs[t]) for t in Tracer]
    objects += [
        write_pair_sr(pair, analysis, segs),
        capture(Case(pair=pair, analysis=analysis), np.zeros((2, 8, 8, 3), np.uint8)),
    ]
    for number, ds in enumerate(objects):
        path = tmp_path / f"{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
        assert [line for line in told.splitlines() if line.startswith("Error")] == [], ds.SeriesDescription


def in_matrix_of(study: TracerStudy, found: LesionSet) -> LesionSet:
    shape = (len(study.pet.instances), int(study.pet.header.Rows), int(study.pet.header.Columns))
    labels = np.zeros(shape, np.int32)
    k, j, i = found.labelmap.labels.shape
    labels[:k, :j, :i] = found.labelmap.labels
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([float(x) for x in (*study.pet.header.PixelSpacing[::-1], 4.0)]))
    return replace(found, labelmap=Labelmap(grid=Grid(shape=shape, affine=affine), labels=labels))


@pytest.mark.peer("dcentvfy", "dciodvfy")
def test_the_set_is_consistent_with_its_sources(written: Written, program: Callable[[str], str]) -> None:
    objects = [written.folder / name for name in sorted(OBJECTS)]
    series = [s for t in Tracer for s in (written.pair.study(t).pet, written.pair.study(t).ct)]
    images = [i.path for s in series for i in s.instances]
    told = subprocess.run([program("dcentvfy"), *objects, *images], capture_output=True, text=True, check=False).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []
    for path in objects:
        told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
        assert [line for line in told.splitlines() if line.startswith("Error")] == [], path.name


def test_uncertain_lesions_are_marked_with_their_ranges(written: Written) -> None:
    """The factory's uncertain site overlaps by 5 to 90 % (its range); results.json and lesions.csv say the same."""
    doubtful = [lesion for lesion in written.results["lesions"] if not lesion["certain"]]
    assert doubtful
    for lesion in doubtful:
        assert (lesion["overlap_low"], lesion["overlap_high"]) == (0.05, 0.9)
    rows = {row["id"]: row for row in written.rows("lesions.csv")}
    assert {id_ for id_, row in rows.items() if row["certain"] == "false"} == {lesion["id"] for lesion in doubtful}
    assert (rows[doubtful[0]["id"]]["overlap_low"], rows[doubtful[0]["id"]]["overlap_high"]) == ("0.05", "0.9")


def test_what_a_lesion_is_by_each_threshold_stands_in_both_tables(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "in", FEW)
    tried = {
        "fixed": Border(suv=4.0, volume_ml=2.0, suv_mean=6.0),
        "blood pool": Border(suv=float("nan"), volume_ml=float("nan"), suv_mean=float("nan")),
    }
    fdg = analysis.lesions[Tracer.FDG]
    first = replace(
        fdg.lesions[0], borders=tried, confidence=0.75, bone_fraction=0.09, bone_range=(0.05, 0.13), site_certain=False
    )
    changed = replace(
        fdg,
        lesions=(first, *fdg.lesions[1:]),
        border="fixed",
        borders=tried,
        confidence="mean probability",
        references={"liver mean": 2.1, "blood pool mean": float("nan")},
    )
    analysis = replace(analysis, lesions={**analysis.lesions, Tracer.FDG: changed})
    write_case(tmp_path / "out", pair, analysis)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    fixed = {"suv": 4.0, "volume_ml": 2.0, "suv_mean": 6.0, "tlg_g": 12.0}
    lesion = results["lesions"][0]
    assert lesion["thresholds"] == {"fixed": fixed, "blood pool": dict.fromkeys(fixed)}
    assert (lesion["confidence"], lesion["site_certain"], lesion["bone_low"], lesion["bone_high"]) == (0.75, False, 0.05, 0.13)
    assert results["thresholds"]["FDG"] == {
        "in_force": "fixed",
        "references": {"liver mean": 2.1, "blood pool mean": None},
        "confidence": "mean probability",
        "all_lesions": lesion["thresholds"],
    }
    row = next(csv.DictReader((tmp_path / "out" / "lesions.csv").open()))
    assert (row["suv_fixed"], row["volume_ml_fixed"], row["burden_g_fixed"], row["volume_ml_blood_pool"]) == (
        "4.0",
        "2.0",
        "12.0",
        "",
    )
    group = srtree.groups(dcmread(tmp_path / "out" / "sr-fdg.dcm"))["F1"]
    assert group.value("Confidence that this is a lesion") == pytest.approx(0.75)
    assert group.codes["Certainty of the site"] == "Changes where CT and PET lie a little apart"
    assert group.value("Lowest fraction in bone where CT and PET lie apart") == pytest.approx(0.05)
    assert any("5% to 13%" in sentence for sentence in group.texts["Comment"])

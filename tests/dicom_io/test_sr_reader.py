"""Reports of other makers and our own, read back; compared with dcmqi's tid1500reader, dcmtk's dsrdump and highdicom."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import make_case
from highdicom.sr import srread
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from analysis.errors import NotDicom, UnusableImage
from analysis.values import Tracer
from dicom_io.contents import contents
from dicom_io.seg import write_segs
from dicom_io.sr import write_tracer_sr
from dicom_io.sr_reader import read_sr


@pytest.mark.peer("tid1500reader")
def test_every_measurement_of_a_report_by_dcmqi_is_what_dcmqi_reads(
    shared_data: Path, program: Callable[[str], str], tmp_path: Path
) -> None:
    """The PET case that dcmqi's authors publish: all values, units and derivations, by code."""
    file = shared_data / "seg_sr/dcmqi/sr-example/sr.dcm"
    out = tmp_path / "sr.json"
    command = [program("tid1500reader"), "--inputDICOM", str(file), "--outputMetadata", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    (theirs,) = json.loads(out.read_text(encoding="utf-8"))["Measurements"]
    (ours,) = read_sr(file).groups
    assert (ours.tracking_id, ours.tracking_uid) == (theirs["TrackingIdentifier"], theirs["TrackingUniqueIdentifier"])
    assert ours.segment == (dcmread(file.with_name("seg.dcm")).SOPInstanceUID, theirs["ReferencedSegment"])
    assert ours.source_series_uids == (theirs["SourceSeriesForImageSegmentation"],)
    assert ours.finding is not None
    assert ours.finding.value == theirs["Finding"]["CodeValue"]
    expected = [
        (
            item["quantity"]["CodeValue"],
            float(item["value"]),
            item["units"]["CodeValue"],
            item.get("derivationModifier", {}).get("CodeValue"),
        )
        for item in theirs["measurementItems"]
    ]
    found = [(m.concept.value, m.value, m.unit.value, m.derivation and m.derivation.value) for m in ours.measurements]
    assert found == expected
    assert len(found) > 15


def test_the_volume_of_a_segment_is_the_volume_in_the_report(shared_data: Path) -> None:
    """dcmqi's SEG and SR of one tumour: two ways to 33.58 ml, and TLG is volume times SUVmean."""
    folder = shared_data / "seg_sr/dcmqi/sr-example"
    (segment,) = contents(folder / "seg.dcm")["segments"]
    (group,) = contents(folder / "sr.dcm")["groups"]
    value = {(m["concept"]["meaning"], m.get("derivation", {}).get("meaning")): m["value"] for m in group["measurements"]}
    assert segment["volume_ml"] == pytest.approx(value["Volume", None], rel=1e-5)
    assert value["Total Lesion Glycolysis", None] == pytest.approx(value["SUVbw", "Mean"] * segment["volume_ml"], rel=1e-5)


def test_a_report_by_dcmjs_without_some_values_is_read_all_the_same(shared_data: Path) -> None:
    """dsrdump refuses this one: an arrow bears a NUM without a value. The other five groups are sound."""
    groups = read_sr(shared_data / "seg_sr/dcmjs_qiicr/structured_report.dcm").groups
    assert len(groups) == 6
    arrow, ellipse, bidirectional = groups[:3]
    assert arrow.measurements[0].value is None
    assert ellipse.measurements[0].value == pytest.approx(4806.42320110457)
    assert [m.value for m in bidirectional.measurements] == [93.9, 47.0]


def test_a_report_by_ohif_bears_its_lengths(shared_data: Path) -> None:
    (group,) = read_sr(shared_data / "seg_sr/dcmjs_qiicr/sample-sr.dcm").groups
    assert group.tracking_uid == "2.25.639471218588509803385904782051176077285"
    assert [m.concept.meaning for m in group.measurements] == ["Long Axis", "Short Axis"]
    assert group.measurements[0].value == pytest.approx(64.4505437945691)


@pytest.mark.parametrize("name", ["sr_document.dcm", "sr_document_with_multiple_groups.dcm"])
def test_reports_by_highdicom_are_what_highdicom_reads(shared_data: Path, name: str) -> None:
    file = shared_data / "seg_sr/highdicom" / name
    theirs = srread(file).content.get_image_measurement_groups()
    rois = (
        srread(file).content.get_planar_roi_measurement_groups() + srread(file).content.get_volumetric_roi_measurement_groups()
    )
    expected = {g.tracking_uid: [m.value for m in g.get_measurements()] for g in [*theirs, *rois]}
    found = {g.tracking_uid: [m.value for m in g.measurements] for g in read_sr(file).groups}
    assert expected
    assert found == {uid: pytest.approx(values) for uid, values in expected.items()}


def test_our_own_report_is_read_back(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    segs = write_segs(pair, analysis, Tracer.FDG)
    found = {g.tracking_id: g for g in read_sr(write_tracer_sr(pair, analysis, Tracer.FDG, segs)).groups}
    for lesion in analysis.lesions[Tracer.FDG].lesions:
        group = found[lesion.id]
        values = {(m.concept.meaning, m.derivation and m.derivation.meaning): m.value for m in group.measurements}
        assert group.segment == (segs[0].SOPInstanceUID, lesion.label)
        assert values["SUVbw", "Maximum"] == pytest.approx(lesion.suv_max)
        assert values["Metabolic Volume", None] == pytest.approx(lesion.volume_ml)


def test_what_is_no_report_is_turned_away(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match="no structured report"):
        read_sr(shared_data / "seg_sr/highdicom/ct_image.dcm")
    with pytest.raises(UnusableImage, match="reads segmentations"):
        contents(shared_data / "seg_sr/highdicom/ct_image.dcm")
    broken = tmp_path / "sr.dcm"
    broken.write_bytes(b"no DICOM at all")
    with pytest.raises(NotDicom):
        read_sr(broken)


def test_a_bottomless_tree_ends_in_a_sentence() -> None:
    ds = Dataset()
    ds.Modality, ds.ValueType = "SR", "CONTAINER"
    leaf = ds
    for _ in range(200):
        inner = Dataset()
        inner.ValueType = "CONTAINER"
        leaf.ContentSequence = Sequence([inner])
        leaf = inner
    with pytest.raises(UnusableImage, match="deeper"):
        read_sr(ds)

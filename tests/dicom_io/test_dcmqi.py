"""dcmqi reads our objects, as 3D Slicer does through it, and we read what it writes from them: a reader's corrected SEG."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from factories import make_case
from pydicom import Dataset, dcmread

from analysis.values import BoolArray, Concordance, Grid, Lesion, PatientAnalysis, Tracer
from dicom_io.results import write_case
from dicom_io.seg import COLOURS, CONCORDANT_COLOUR
from dicom_io.seg_reader import mask_of, read_seg
from dicom_io.studies import DualTracerPair

pytestmark = pytest.mark.peer("dcmqi")
Program = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A pair, its analysis and the folder of its objects."""

    pair: DualTracerPair
    analysis: PatientAnalysis
    folder: Path

    def seg(self, tracer: Tracer) -> Path:
        return self.folder / f"seg-{tracer.lower()}.dcm"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    home = tmp_path_factory.mktemp("dcmqi")
    pair, analysis = make_case(home)
    write_case(home / "case", pair, analysis)
    return Written(pair=pair, analysis=analysis, folder=home / "case")


def unpacked(written: Written, tracer: Tracer, program: Program, out: Path) -> tuple[sitk.Image, list[dict[str, Any]]]:
    """The label image that dcmqi makes of the SEG (below `out`, with meta.json), and its description of each segment."""
    command = [program("segimage2itkimage"), "--inputDICOM", written.seg(tracer), "--outputDirectory", out, "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    meta = json.loads((out / "meta.json").read_text())
    return sitk.ReadImage(str(out / "1.nrrd")), [item for group in meta["segmentAttributes"] for item in group]


def places(image: sitk.Image, mask: BoolArray) -> np.ndarray:
    """Positions in LPS millimetres of a mask's voxels on an ITK image, sorted."""
    points = [image.TransformIndexToPhysicalPoint([int(x) for x in index[::-1]]) for index in np.argwhere(mask)]
    return _sorted(np.array(points))


def _sorted(points: np.ndarray) -> np.ndarray:
    rounded = np.round(points, 3) + 0.0
    return rounded[np.lexsort(rounded.T)]


def ours(grid: Grid, mask: BoolArray) -> np.ndarray:
    return _sorted(grid.to_world(np.argwhere(mask)))


@pytest.mark.parametrize("tracer", Tracer)
def test_dcmqi_finds_every_voxel_where_we_put_it(written: Written, tracer: Tracer, program: Program, tmp_path: Path) -> None:
    image, _ = unpacked(written, tracer, program, tmp_path)
    labels = sitk.GetArrayFromImage(image)
    truth = written.analysis.lesions[tracer]
    assert image.GetSpacing() == pytest.approx(truth.labelmap.grid.spacing[::-1])
    assert set(np.unique(labels)) == {0, *(lesion.label for lesion in truth.lesions)}
    for lesion in truth.lesions:
        expected = ours(truth.labelmap.grid, truth.labelmap.labels == lesion.label)
        np.testing.assert_allclose(places(image, labels == lesion.label), expected, atol=1e-3)


@pytest.mark.parametrize("tracer", Tracer)
def test_dcmqi_reads_label_colour_codes_and_tracking(
    written: Written, tracer: Tracer, program: Program, tmp_path: Path
) -> None:
    _, described = unpacked(written, tracer, program, tmp_path)
    segments = dcmread(written.seg(tracer), stop_before_pixels=True).SegmentSequence
    lesions = written.analysis.lesions[tracer].lesions
    for item, segment, lesion in zip(described, segments, lesions, strict=True):
        assert item["labelID"] == lesion.label
        assert item["SegmentLabel"] == segment.SegmentLabel
        assert item["SegmentAlgorithmType"] == "AUTOMATIC"
        assert item["SegmentAlgorithmName"] == written.analysis.lesions[tracer].model.name
        assert (item["TrackingIdentifier"], item["TrackingUniqueIdentifier"]) == (lesion.id, segment.TrackingUID)
        for name in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence"):
            assert item[name] == _code(segment[name].value[0]), name
        assert item["recommendedDisplayRGBValue"] == pytest.approx(_colour(written, lesion), abs=2)


def _code(item: Dataset) -> dict[str, str]:
    return {name: str(item[name].value) for name in ("CodeMeaning", "CodeValue", "CodingSchemeDesignator")}


def _colour(written: Written, lesion: Lesion) -> tuple[int, int, int]:
    both = written.analysis.match_of(lesion).concordance is Concordance.CONCORDANT
    return CONCORDANT_COLOUR if both else COLOURS[lesion.tracer]


@pytest.mark.parametrize("tracer", Tracer)
def test_what_dcmqi_writes_of_it_is_read_back_the_same(
    written: Written, tracer: Tracer, program: Program, tmp_path: Path
) -> None:
    unpacked(written, tracer, program, tmp_path)
    back = tmp_path / "back.dcm"
    images = ",".join(str(i.path) for i in written.pair.study(tracer).pet.instances)
    command = [program("itkimage2segimage"), "--inputImageList", tmp_path / "1.nrrd", "--inputDICOMList", images]
    command += ["--inputMetadata", tmp_path / "meta.json", "--outputDICOM", back]
    subprocess.run(command, check=True, capture_output=True)
    mine, theirs = read_seg(written.seg(tracer)), read_seg(back)
    assert [(s.number, s.label, s.category, s.kind, s.tracking_id, s.tracking_uid) for s in theirs.segments] == [
        (s.number, s.label, s.category, s.kind, s.tracking_id, s.tracking_uid) for s in mine.segments
    ]
    assert theirs.referenced_series_uids == mine.referenced_series_uids
    assert theirs.frame_of_reference_uid == mine.frame_of_reference_uid
    for segment in mine.segments:
        one, other = (ours(found.labelmap.grid, mask_of(found, segment.number)) for found in (mine, theirs))
        np.testing.assert_allclose(other, one, atol=1e-3)


@pytest.mark.parametrize("tracer", Tracer)
def test_dcmqi_reads_every_measurement_of_every_lesion(
    written: Written, tracer: Tracer, program: Program, tmp_path: Path
) -> None:
    out = tmp_path / "sr.json"
    command = [program("tid1500reader"), "--inputDICOM", written.folder / f"sr-{tracer.lower()}.dcm", "--outputMetadata", out]
    subprocess.run(command, check=True, capture_output=True)
    groups = {group["TrackingIdentifier"]: group for group in json.loads(out.read_text())["Measurements"]}
    results = json.loads((written.folder / "results.json").read_text())
    sites = {site["match"]: site for site in results["sites"]}
    for lesion in (each for each in results["lesions"] if each["tracer"] == tracer):
        group = groups[lesion["id"]]
        assert group["TrackingUniqueIdentifier"] == lesion["tracking_uid"]
        assert group["segmentationSOPInstanceUID"] == lesion["seg_sop_instance_uid"]
        assert group["ReferencedSegment"] == lesion["segment"]
        assert group["Finding"]["CodeMeaning"] == "Lesion"
        assert _measured(group) == pytest.approx(_expected(lesion, sites[lesion["match"]]), rel=1e-5)


def _measured(group: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    """(concept, derivation, unit) > value."""
    found = {}
    for item in group["measurementItems"]:
        derivation = item.get("derivationModifier", {}).get("CodeMeaning", "")
        found[item["quantity"]["CodeValue"], derivation, item["units"]["CodeValue"]] = float(item["value"])
    return found


def _expected(lesion: dict[str, Any], site: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    suv, ratio = "g/ml{SUVbw}", "{ratio}"
    values = {
        ("126401", "Mean", suv): lesion["suv_mean"],
        ("126401", "Maximum", suv): lesion["suv_max"],
        ("126401", "Peak Value Within ROI", suv): lesion["suv_peak"],
        ("126032", "", "ml"): lesion["volume_ml"],
        ("BONEFRACTION", "", ratio): lesion["bone_fraction"],
    }
    values |= {("126033", "", "g"): lesion["tlg_g"]} if "tlg_g" in lesion else {("TLC", "", "g"): lesion["tlc_g"]}
    if lesion["comparable"]:
        values["OVERLAP", "", ratio] = lesion["overlap"]
        if not lesion["certain"]:
            low, high = site["overlap_range"]
            values |= {("OVERLAPLOW", "", ratio): low, ("OVERLAPHIGH", "", ratio): high}
    return values

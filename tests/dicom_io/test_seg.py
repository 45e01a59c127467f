"""Segmentations: written, read back, and read from other makers."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from factories import FEW, Box, Patient, make_case, many
from pydicom import Dataset, dcmread

from analysis.errors import NotDicom, UnusableImage
from analysis.values import Tracer
from dicom_io.derived import ObjectSettings, SegForm
from dicom_io.seg import MOST_SEGMENTS, segment_of, write_seg, write_segs
from dicom_io.seg_reader import mask_of, read_seg


def saved(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("tracer", Tracer)
def test_what_is_written_is_read_back(tmp_path: Path, tracer: Tracer) -> None:
    pair, analysis = make_case(tmp_path)
    ds = write_seg(pair, analysis, tracer)
    assert ds is not None
    found = read_seg(saved(ds, tmp_path / "seg.dcm"))
    truth = analysis.lesions[tracer].labelmap
    for lesion, segment in zip(analysis.lesions[tracer].lesions, found.segments, strict=True):
        assert segment.number == lesion.label
        assert segment.tracking_id == lesion.id
        mask = mask_of(found, segment.number)
        assert mask.sum() * found.labelmap.grid.voxel_ml == pytest.approx(lesion.volume_ml)
        centre = found.labelmap.grid.to_world(np.argwhere(mask)).mean(axis=0)
        assert centre == pytest.approx(truth.grid.to_world(np.argwhere(truth.labels == lesion.label)).mean(axis=0))
    assert found.referenced_series_uids == (pair.study(tracer).pet.series_instance_uid,)
    assert found.frame_of_reference_uid == pair.study(tracer).pet.frame_of_reference_uid
    assert found.study_instance_uid == pair.study(tracer).study.study_instance_uid


def test_each_frame_refers_to_the_slice_it_lies_on(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    ds = write_seg(pair, analysis, Tracer.FDG)
    assert ds is not None
    place_of = {i.sop_instance_uid: i.header.ImagePositionPatient for i in pair.fdg.pet.instances}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(place_of[uid])


def test_labels_and_colours_tell_site_and_concordance(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    ds = write_seg(pair, analysis, Tracer.FDG)
    assert ds is not None
    labels = [s.SegmentLabel for s in ds.SegmentSequence]
    assert labels[0] == "F1 vertebra L3, concordant, medullary"
    assert "not comparable" in labels[2]
    colours = [tuple(s.RecommendedDisplayCIELabValue) for s in ds.SegmentSequence]
    assert colours[0] != colours[1] == colours[2]
    region = ds.SegmentSequence[1].AnatomicRegionSequence[0]
    assert region.AnatomicRegionModifierSequence[0].CodeMeaning == "Left"
    assert ds.SegmentationType == "BINARY"
    assert ds.SegmentsOverlap == "NO"
    assert "research use only" in ds.SeriesDescription
    assert ds.ContentQualification == "RESEARCH"
    equipment = {e.get("ManufacturerModelName"): e for e in ds.ContributingEquipmentSequence}
    assert equipment["boxes"].DeviceUID
    assert "registration rigid" in equipment


def test_in_a_labelmap_the_nth_item_describes_segment_n(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    (ds,) = write_segs(pair, analysis, Tracer.FDG, objects=ObjectSettings(seg=SegForm.LABELMAP))
    numbers = [int(item.SegmentNumber) for item in ds.SegmentSequence]
    assert numbers == [1, 2, 3, 0]
    assert ds.SegmentSequence[-1].SegmentLabel == "Background"


def test_no_lesion_no_object(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path, ())
    assert write_seg(pair, analysis, Tracer.FDG) is None
    assert write_segs(pair, analysis, Tracer.PENTIXAFOR) == ()


def test_more_than_255_lesions_go_to_a_second_series_that_says_so(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path, many(300))
    first, second = write_segs(pair, analysis, Tracer.PENTIXAFOR)
    assert (len(first.SegmentSequence), len(second.SegmentSequence)) == (MOST_SEGMENTS, 45)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert "part 2 of 2" in second.SeriesDescription
    last = analysis.lesions[Tracer.PENTIXAFOR].lesions[-1]
    part, number = segment_of(last)
    assert (part, number) == (1, 45)
    found = read_seg(second)
    centre = found.labelmap.grid.to_world(np.argwhere(mask_of(found, number))).mean(axis=0)
    assert centre == pytest.approx(last.centroid_mm)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    files = []
    for name in ("a", "b"):
        ds = write_seg(pair, analysis, Tracer.FDG)
        assert ds is not None
        files.append(saved(ds, tmp_path / name).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Müller^Zoë", "ISO_IR 100"),
        ("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", ["", "ISO 2022 IR 87"]),
        ("\u0414\u043e\u0441^\u0410", "ISO_IR 192"),
        ("Single", "ISO_IR 192"),
    ],
)
def test_names_keep_their_characters_and_stay_out_of_warnings(
    tmp_path: Path, name: str, character_set: str | list[str]
) -> None:
    pair, analysis = make_case(tmp_path, FEW, Patient(name=name, character_set=character_set))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = write_seg(pair, analysis, Tracer.FDG)
    assert ds is not None
    back = dcmread(saved(ds, tmp_path / "seg.dcm"))
    assert str(back.PatientName) == name
    assert back.SpecificCharacterSet == character_set


def test_missing_type_2_attributes_are_no_obstacle(tmp_path: Path) -> None:
    missing = (
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "StudyTime",
        "ReferringPhysicianName",
        "Manufacturer",
    )
    pair, analysis = make_case(tmp_path, FEW, Patient(missing=missing))
    ds = write_seg(pair, analysis, Tracer.PENTIXAFOR)
    assert ds is not None
    assert dcmread(saved(ds, tmp_path / "seg.dcm")).PatientBirthDate == ""


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("boxes", [FEW, many(1)], ids=["few", "one"])
def test_dciodvfy_finds_no_error(tmp_path: Path, boxes: tuple[Box, ...], program: Callable[[str], str]) -> None:
    pair, analysis = make_case(tmp_path, boxes)
    ds = write_seg(pair, analysis, Tracer.PENTIXAFOR)
    assert ds is not None
    told = subprocess.run(
        [program("dciodvfy"), saved(ds, tmp_path / "s.dcm")], capture_output=True, text=True, check=False
    ).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []


# Voxel counts by pydicom-seg's authors and by dcmqi's own NRRD files beside each SEG.
OTHERS = [
    ("dcmqi/segmentations/liver.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("dcmqi/segmentations/23x38x3/seg/label.seg", ["Liver"], "dcmqi/segmentations/23x38x3/nrrd/label.nrrd"),
    ("dcmqi/segmentations/24x38x3/seg/label.seg", ["Liver"], "dcmqi/segmentations/24x38x3/nrrd/label.nrrd"),
    ("pydicom_seg/liver.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_nonbyte_aligned.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_j2k.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_deflate.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_rle.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_nonbyte_aligned_rle.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
    ("pydicom_seg/liver_nonbyte_aligned_deflate.dcm", ["Liver"], "dcmqi/segmentations/liver_seg.nrrd"),
]


@pytest.mark.parametrize(("name", "labels", "nrrd"), OTHERS, ids=[x[0] for x in OTHERS])
def test_other_makers_segmentations_lie_where_their_nrrd_says(
    shared_data: Path, name: str, labels: list[str], nrrd: str
) -> None:
    folder = shared_data / "seg_sr"
    found = read_seg(folder / name)
    assert [s.label for s in found.segments] == labels
    truth = sitk.ReadImage(str(folder / nrrd))
    voxels = sitk.GetArrayFromImage(truth) > 0
    mask = found.labelmap.labels > 0
    assert mask.sum() == voxels.sum()
    centre = truth.TransformContinuousIndexToPhysicalPoint([float(x) for x in np.argwhere(voxels).mean(axis=0)[::-1]])
    assert found.labelmap.grid.to_world(np.argwhere(mask)).mean(axis=0) == pytest.approx(centre, abs=0.01)


def test_overlapping_segments_are_counted(shared_data: Path) -> None:
    found = read_seg(shared_data / "seg_sr/dcmqi/segmentations/partial_overlaps.dcm")
    assert len(found.segments) == 5
    assert found.overlapping_voxels > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("highdicom/seg_image_sm_dots.dcm", "no positions in the patient"),
        ("highdicom/seg_image_sm_dots_tiled_full.dcm", "no positions in the patient"),
        ("highdicom/seg_image_cr_binary.dcm", "no positions in the patient"),
        ("highdicom/seg_image_sm_control_labelmap.dcm", "no positions in the patient"),
        ("dcmqi/sr-example/sr.dcm", "no segmentation"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(shared_data: Path, name: str, words: str) -> None:
    with pytest.raises(UnusableImage, match=words) as caught:
        read_seg(shared_data / "seg_sr" / name)
    assert str(caught.value).endswith(".")


def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(b"no")
    with pytest.raises(NotDicom):
        read_seg(path)

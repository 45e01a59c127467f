"""SEGs of other makers, with their habits: written by highdicom and dcmqi themselves, then changed as others' files are.

Truth: the label array that was given to the maker's own tool, and the positions of the slices it was drawn on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import makers
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from analysis.errors import NotDicom, UnusableImage
from dicom_io.seg_reader import Segmented, mask_of, read_seg

LABELS = makers.labels()


def assert_same_places(found: Segmented, series: list[Dataset], labels: np.ndarray = LABELS, within: float = 1e-3) -> None:
    assert found.counts() == {n: int((labels == n).sum()) for n in found.counts()}
    for segment in found.segments:
        here = found.labelmap.grid.to_world(np.argwhere(mask_of(found, segment.number)))
        np.testing.assert_allclose(makers.by_place(here), makers.world(series, labels, segment.number), atol=within)


@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0, -35.0])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_highdicom_in_any_orientation(tmp_path: Path, degrees: float, kind: str) -> None:
    series = makers.images(degrees)
    ds = makers.reopened(makers.highdicom_seg(series, LABELS, kind=kind), tmp_path / "seg.dcm")
    found = read_seg(tmp_path / "seg.dcm")
    assert_same_places(found, series)
    assert [s.label for s in found.segments] == ["segment 1", "segment 2", "segment 3"]
    assert found.frame_of_reference_uid == ds.FrameOfReferenceUID
    assert found.overlapping_voxels == 0


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_dcmqi_as_slicer_uses_it(tmp_path: Path, degrees: float, program: Callable[[str], str]) -> None:
    series = makers.images(degrees)
    path = makers.dcmqi_seg(tmp_path / "in", series, LABELS, program("itkimage2segimage"))
    assert_same_places(read_seg(path), series)


def test_slices_rounded_by_the_scanner_are_counted_right(tmp_path: Path) -> None:
    """One real series has distances of 3.19, 3.27 and 3.29 mm; empty slices are left out of the SEG."""
    gaps = np.full(300, 3.27)
    gaps[[2, 40, 90, 200]] = 3.19, 3.29, 3.29, 3.29
    heights = np.cumsum(gaps)
    series = makers.images(heights=heights)
    labels = np.zeros((300, *makers.SHAPE[1:]), np.uint8)
    labels[[3, 4, 5, 150, 299]] = 1
    ds = makers.highdicom_seg(series, labels, (1,))
    for declared in (makers.SPACING[0], None):
        measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = declared
        k = np.argwhere(mask_of(read_seg(ds), 1))[:, 0]
        assert sorted(set(k)) == [0, 1, 2, 147, 296]


def test_slices_are_counted_by_the_images_where_these_are_at_hand() -> None:
    """Distances that drift from their mean cannot be counted over gaps of 145 slices without the images."""
    series = makers.images(heights=np.cumsum(np.resize([3.27, 3.27, 3.19, 3.29, 3.27], 300)))
    labels = np.zeros((300, *makers.SHAPE[1:]), np.uint8)
    labels[[3, 4, 5, 150, 299]] = 1
    ds = makers.highdicom_seg(series, labels, (1,))
    k = np.argwhere(mask_of(read_seg(ds, makers.instances(series)), 1))[:, 0]
    assert sorted(set(k)) == [0, 1, 2, 147, 296]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_compressed_by_the_archive(tmp_path: Path, syntax: str, kind: str) -> None:
    series = makers.images()
    pixels = LABELS if kind == "LABELMAP" else np.stack([n == LABELS for n in (1, 2, 3)], axis=-1).astype(float)
    ds = makers.highdicom_seg(series, pixels, kind=kind, transfer_syntax_uid=syntax)
    makers.reopened(ds, tmp_path / "seg.dcm")
    assert_same_places(read_seg(tmp_path / "seg.dcm"), series)


def test_bits_in_whole_bytes_compressed_by_rle(tmp_path: Path) -> None:
    """dcmjs, and so OHIF: BINARY with 8 bits allocated where it compresses."""
    series = makers.images()
    ds = makers.highdicom_seg(series, LABELS)
    frames = ds.pixel_array.astype(np.uint8)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OB"
    ds.compress(RLELossless, generate_instance_uid=False)
    makers.reopened(ds, tmp_path / "seg.dcm")
    assert_same_places(read_seg(tmp_path / "seg.dcm"), series)


@pytest.mark.parametrize("fractions", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_count_from_half_of_their_maximum_on(fractions: str) -> None:
    series = makers.images()
    values = np.zeros(makers.SHAPE)
    values[2, 3, 3:8] = [0.2, 0.45, 0.5, 0.55, 1.0]
    ds = makers.highdicom_seg(series, values, (1,), "FRACTIONAL", fractional_type=fractions, max_fractional_value=100)
    found = read_seg(ds)
    assert found.counts() == {1: 3}
    assert found.notes == (
        f"The segmentation holds fractions ({fractions.lower()}); voxels of at least half the maximum were taken.",
    )
    yes_or_no = makers.highdicom_seg(series, (LABELS == 1).astype(float), (1,), "FRACTIONAL")
    assert read_seg(yes_or_no).notes == ()


def test_overlapping_segments_stay_whole() -> None:
    """Frames of several segments in one place: the labelmap gives the voxel to the lowest, the masks to each."""
    series = makers.images()
    masks = np.zeros((*makers.SHAPE, 3), np.uint8)
    masks[1:5, 2:8, 2:8, 0] = 1
    masks[3:7, 4:9, 4:9, 1] = 1
    masks[4, 5, 5, 2] = 1
    found = read_seg(makers.highdicom_seg(series, masks))
    for number in (1, 2, 3):
        truth = makers.world(series, masks[..., number - 1], 1)
        here = found.labelmap.grid.to_world(np.argwhere(mask_of(found, number)))
        np.testing.assert_allclose(makers.by_place(here), truth, atol=1e-3)
        assert found.counts()[number] == masks[..., number - 1].sum()
    assert found.overlapping_voxels == (masks.sum(axis=-1) > 1).sum()


# What files of others lack

Change = Callable[[Dataset], None]


def without(*keywords: str) -> Change:
    def change(ds: Dataset) -> None:
        for keyword in keywords:
            delattr(ds, keyword)

    return change


def without_measures(ds: Dataset) -> None:
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        if keyword in measures:
            delattr(measures, keyword)


def everything_in_each_frame(ds: Dataset) -> None:
    shared = ds.SharedFunctionalGroupsSequence[0]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.update(copy.deepcopy(shared))
    ds.SharedFunctionalGroupsSequence = [Dataset()]


def a_segment_without_frames(ds: Dataset) -> None:
    ds.SegmentSequence.append(makers.described(9))


def frames_in_disorder(ds: Dataset) -> None:
    order = np.random.default_rng(2).permutation(int(ds.NumberOfFrames))
    frames = ds.pixel_array[order]
    ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[int(n)] for n in order]
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)


def numbered_from_five(ds: Dataset) -> None:
    for segment in ds.SegmentSequence:
        segment.SegmentNumber += 4
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber += 4


HABITS: dict[str, Change] = {
    "no dimensions": without("DimensionIndexSequence", "DimensionOrganizationSequence"),
    "no references": without("ReferencedSeriesSequence"),
    "no slice thickness": without_measures,
    "all in each frame": everything_in_each_frame,
    "an empty segment": a_segment_without_frames,
    "frames in disorder": frames_in_disorder,
    "no overlap said": without("SegmentsOverlap"),
    "no label of the content": without("ContentLabel"),
}


@pytest.mark.parametrize("change", HABITS.values(), ids=HABITS)
def test_habits_of_makers(change: Change) -> None:
    series = makers.images(5.0)
    ds = makers.highdicom_seg(series, LABELS)
    change(ds)
    found = read_seg(ds)
    counts = found.counts()
    assert counts.pop(9, 0) == 0
    assert counts == {n: int((n == LABELS).sum()) for n in (1, 2, 3)}
    for n in (1, 2, 3):
        here = found.labelmap.grid.to_world(np.argwhere(mask_of(found, n)))
        np.testing.assert_allclose(makers.by_place(here), makers.world(series, LABELS, n), atol=1e-3)


def test_numbers_need_not_begin_at_one() -> None:
    ds = makers.highdicom_seg(makers.images(), LABELS)
    numbered_from_five(ds)
    assert read_seg(ds).counts() == {n + 4: int((n == LABELS).sum()) for n in (1, 2, 3)}


def test_a_single_segment_need_not_be_named_in_its_frames() -> None:
    series = makers.images()
    ds = makers.highdicom_seg(series, (LABELS == 1).astype(np.uint8), (1,))
    for group in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        if "SegmentIdentificationSequence" in group:
            del group.SegmentIdentificationSequence
    assert_same_places(read_seg(ds), series)


def test_frames_that_name_their_image_alone_are_placed_by_it() -> None:
    """Label maps of cornerstone3D lost positions and orientation; they can be placed where the series is at hand."""
    series = makers.images(12.0)
    ds = makers.highdicom_seg(series, LABELS, kind="LABELMAP")
    for group in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        for keyword in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            if keyword in group:
                delattr(group, keyword)
    with pytest.raises(UnusableImage, match="no positions"):
        read_seg(ds)
    assert_same_places(read_seg(ds, makers.instances(series)), series)


def test_dcmqis_label_maps_equal_its_nrrd(shared_data: Path) -> None:
    """dcmqi's own: background named or padded with 5; 630 voxels of label 1 by its NRRD."""
    for name in ("sparse-labelmap-noppv", "sparse-labelmap-ppv5"):
        found = read_seg(shared_data / f"seg_sr/dcmqi/segmentations/{name}.dcm")
        assert found.counts() == {1: 630}
        assert [s.label for s in found.segments] == ["Liver"]


def test_every_segmentation_of_others_is_read_or_refused_in_a_sentence(shared_data: Path) -> None:
    files = [p for p in sorted((shared_data / "seg_sr").rglob("*")) if p.suffix in (".dcm", ".seg")]
    segs = [p for p in files if dcmread(p, stop_before_pixels=True).get("Modality") == "SEG"]
    on_slides = [p for p in segs if "_sm_" in p.name or "_cr_" in p.name]  # a slide microscope's, and a projection's
    for path in segs:
        if path in on_slides:
            with pytest.raises(UnusableImage, match="no positions in the patient"):
                read_seg(path)
        else:
            assert sum(read_seg(path).counts().values()) > 0, path.name
    assert (len(segs), len(on_slides)) == (31, 7)


# Refused


def shifted(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] += 7.0


def uneven(ds: Dataset) -> None:
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 1.3 * (n % 2)


def turned(ds: Dataset) -> None:
    everything_in_each_frame(ds)
    other = Dataset()
    other.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    ds.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [other]


def cut_off(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[:10]


def garbled(ds: Dataset) -> None:
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = encapsulate([b"no image"] * int(ds.NumberOfFrames))


def many_frames(ds: Dataset) -> None:
    ds.NumberOfFrames = 2_000_000_000


def far_away(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient[2] = 4.0e9


def surface(ds: Dataset) -> None:
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.5"
    del ds.SegmentationType


REFUSED: dict[str, tuple[Change, str]] = {
    "shifted": (shifted, "shifted against each other"),
    "uneven": (uneven, "not evenly spaced"),
    "turned": (turned, "several orientations"),
    "cut off": (cut_off, "do not decode"),
    "garbled": (garbled, "do not decode"),
    "no pixels": (without("PixelData"), "do not decode"),
    "no groups": (without("PerFrameFunctionalGroupsSequence"), "no positions"),
    "too many frames": (many_frames, "no positions"),
    "far away": (far_away, "not evenly spaced"),
    "a surface": (surface, "type unknown"),
    "no size": (without("Rows"), "no rows and columns"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_placed_is_refused_with_a_sentence(change: Change, words: str) -> None:
    ds = makers.highdicom_seg(makers.images(), LABELS)
    change(ds)
    with pytest.raises(UnusableImage, match=words) as caught:
        read_seg(ds)
    assert str(caught.value).endswith(".")


def test_fractions_of_an_unknown_maximum_are_refused() -> None:
    ds = makers.highdicom_seg(makers.images(), (LABELS == 1).astype(float), (1,), "FRACTIONAL")
    del ds.MaximumFractionalValue
    with pytest.raises(UnusableImage, match="unknown maximum"):
        read_seg(ds)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    makers.reopened(makers.highdicom_seg(makers.images(), LABELS), tmp_path / "seg.dcm")
    content = (tmp_path / "seg.dcm").read_bytes()
    for length in (0, 100, 140, 400, len(content) // 2, len(content) - 20):
        (tmp_path / "half.dcm").write_bytes(content[:length])
        with pytest.raises((NotDicom, UnusableImage)):
            read_seg(tmp_path / "half.dcm")

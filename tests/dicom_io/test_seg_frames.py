"""Frames packed here against highdicom's own, which is given the pixels themselves."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from factories import make_case, many

from analysis.values import Tracer
from dicom_io import codes
from dicom_io.seg_frames import fill, present, table
from dicom_io.sources import sources


def segments(count: int) -> list[highdicom.seg.SegmentDescription]:
    kind = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    return [
        highdicom.seg.SegmentDescription(n, f"lesion {n}", codes.ABNORMAL_STRUCTURE, codes.LESION, kind)
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 40])
def test_pixels_and_frames_are_as_highdicom_makes_them(tmp_path: Path, count: int) -> None:
    pair, analysis = make_case(tmp_path, many(count))
    labels = analysis.lesions[Tracer.PENTIXAFOR].labelmap.labels.astype(np.uint8)

    def made(pixels: np.ndarray, images: list) -> highdicom.seg.Segmentation:
        equipment = {"manufacturer": "duet", "manufacturer_model_name": "duet", "software_versions": "1"}
        ids = {"series_instance_uid": "1.2.3", "series_number": 1, "sop_instance_uid": "1.2.4", "instance_number": 1}
        kind = highdicom.seg.SegmentationTypeValues.BINARY
        return highdicom.seg.Segmentation(images, pixels, kind, segments(count), **ids, **equipment, device_serial_number="1")

    images = sources(pair.pentixafor.pet)
    theirs = made(labels, images)
    ours = made(table(labels, images), images)
    fill(ours, labels, images)
    assert (ours.Rows, ours.Columns, ours.NumberOfFrames) == (theirs.Rows, theirs.Columns, theirs.NumberOfFrames)
    assert ours.PixelData == theirs.PixelData
    frames = [[x.to_json_dict() for x in ds.PerFrameFunctionalGroupsSequence] for ds in (ours, theirs)]
    for frame in (*frames[0], *frames[1]):
        content = frame["00209111"]["Value"][0]
        content.pop("00209056", None)
    assert frames[0] == frames[1]
    assert ours.SharedFunctionalGroupsSequence[0].to_json_dict() == theirs.SharedFunctionalGroupsSequence[0].to_json_dict()


def test_which_slices_hold_a_label() -> None:
    labels = np.zeros((2, 3, 3), np.uint8)
    labels[1, 0, 2] = 2
    assert present(labels).tolist() == [[True, False, False], [True, False, True]]

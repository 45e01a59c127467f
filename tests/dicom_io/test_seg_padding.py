"""Empty frames give the packed bits of a SEG the length that one viewer needs, and add no voxel."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from factories import make_case
from pydicom import Dataset
from pydicom.pixels import pixel_array

from analysis.values import Tracer
from dicom_io.seg import write_seg
from dicom_io.seg_padding import clear_marks, mark_empty_frames


def labelled(shape: tuple[int, int, int], lesions: int) -> np.ndarray:
    """So many lesions of two slices each, from the top down."""
    labels = np.zeros(shape, np.uint8)
    for n in range(lesions):
        labels[2 * n : 2 * n + 2, 1, 1] = n + 1
    return labels


@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (13, 13), (169, 169), (72, 123), (9, 7), (16, 16)])
@pytest.mark.parametrize("lesions", [1, 2, 5, 7])
def test_the_length_is_even_where_frames_fill_bytes_and_odd_where_they_do_not(rows: int, columns: int, lesions: int) -> None:
    labels = labelled((30, rows, columns), lesions)
    marks = mark_empty_frames(labels)
    frames = sum(len(np.flatnonzero((labels == n + 1).any(axis=(1, 2)))) for n in range(lesions))
    assert frames == 2 * lesions + len(marks)
    assert math.ceil(frames * rows * columns / 8) % 2 == (rows * columns % 8 != 0)
    assert len(marks) <= 8
    assert (rows, columns) != (16, 16) or not marks


def test_a_single_frame_and_a_volume_without_a_free_slice_stay_as_they_are() -> None:
    one = np.zeros((4, 8, 5), np.uint8)
    one[2, 3, 3] = 1
    assert mark_empty_frames(one) == []
    full = np.full((3, 8, 5), 1, np.uint8)
    assert mark_empty_frames(full) == []


def test_marks_are_cleared_and_the_frames_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny pair needs no padding, so marks are asked for here."""
    pair, analysis = make_case(tmp_path)
    plain = write_seg(pair, analysis, Tracer.FDG)
    marks = [(2, 2, 0, 1), (1, 9, 5, 4), (1, 10, 39, 43)]

    def mark(labels: np.ndarray) -> list[tuple[int, int, int, int]]:
        for label, k, j, i in marks:
            labels[k, j, i] = label
        return marks

    monkeypatch.setattr("dicom_io.seg.mark_empty_frames", mark)
    padded = write_seg(pair, analysis, Tracer.FDG)
    assert plain is not None
    assert padded is not None
    assert padded.NumberOfFrames == plain.NumberOfFrames + len(marks)
    assert _voxels(padded) == _voxels(plain)
    assert sum(not frame.any() for frame in pixel_array(padded)) == len(marks)


def _voxels(ds: Dataset) -> set[tuple[object, ...]]:
    """Segment, position of the frame, row and column of all voxels that are set."""
    found = set()
    for frame, item in zip(pixel_array(ds), ds.PerFrameFunctionalGroupsSequence, strict=True):
        segment = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        place = tuple(float(x) for x in item.PlanePositionSequence[0].ImagePositionPatient)
        found |= {(segment, place, int(j), int(i)) for j, i in np.argwhere(frame)}
    return found


def test_nothing_is_cleared_without_marks(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path)
    ds = write_seg(pair, analysis, Tracer.FDG)
    assert ds is not None
    before = ds.PixelData
    clear_marks(ds, [], [])
    assert before == ds.PixelData

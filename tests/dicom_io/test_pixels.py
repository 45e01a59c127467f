"""Slices decoded beside each other come in order, once, and damage is told of the slice that has it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless
from syntaxes import rewritten

from analysis.errors import IncompleteSeries
from dicom_io.headers import group, read_folder
from dicom_io.pixels import _ahead, stored_slices
from dicom_io.studies import Series

NOISE = np.random.default_rng(3).integers(-200, 2000, (40, 64, 64)).astype(np.int16)


def written(scans, folder: Path) -> Series:
    for path in scans.write(folder, scans.ct(len(NOISE), pixels=NOISE, Rows=64, Columns=64)):
        rewritten(path, JPEGLSLossless)
    return group(read_folder(folder)[0])[0].series[0]


def test_every_slice_once_and_in_order(scans, tmp_path: Path) -> None:
    found = list(stored_slices(written(scans, tmp_path)))
    assert [k for k, _ in found] == list(range(len(NOISE)))
    np.testing.assert_array_equal([values for _, values in found], NOISE)


def test_the_first_damaged_slice_is_named(scans, tmp_path: Path) -> None:
    series = written(scans, tmp_path)
    for k in (31, 12):
        path = series.instances[k].path
        content = bytearray(path.read_bytes())
        start = content.rindex(b"\xfe\xff\x00\xe0") + 8
        content[start : start + 60] = bytes(60)
        path.write_bytes(content)
    with pytest.raises(IncompleteSeries, match="slice 13 "):
        list(stored_slices(series))


def test_few_are_worked_on_before_their_turn() -> None:
    """Of many slices only some wait decoded, whatever the reader does meanwhile; none is left when it stops."""
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    ahead = _ahead(work, range(1000))
    assert next(ahead) == 0
    time.sleep(0.05)
    assert len(begun) < 50
    ahead.close()
    assert len(begun) < 50
    assert threading.active_count() < 20

"""Scans of any maker for the tests of reading: headers in memory, or files on disk. Each test changes what it is about."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import usual
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import generate_uid

from dicom_io.headers import group, read_folder
from dicom_io.slices import order
from dicom_io.studies import Instance, Series, TracerStudy
from dicom_io.tracers import recognise


def uid(*words: object) -> str:
    return generate_uid(entropy_srcs=[str(w) for w in words])


class Scans:
    """Builds PET and CT slices. A keyword given to a method replaces the element (None removes it)."""

    def pet(self, slices: int = 6, tracer: str = "FDG", item: dict[str, Any] | None = None, **changes: Any) -> list[Dataset]:
        words = {**usual.pet(slices, tracer, item or {}), "SeriesDescription": "PET AC"}
        return self._slices(slices, {**words, **changes})

    def ct(self, slices: int = 6, **changes: Any) -> list[Dataset]:
        return self._slices(slices, {**usual.CT, "SeriesDescription": "CT", **changes})

    def series(self, slices: Iterable[Dataset]) -> Series:
        """The slices as one series, in memory alone."""
        return Series(instances=order(Instance(path=Path(f"{n}.dcm"), header=ds) for n, ds in enumerate(slices)))

    def write(self, folder: Path, slices: Iterable[Dataset]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for ds in slices:
            path = folder / f"{len(list(folder.iterdir())):03d}.dcm"
            dcmwrite(path, ds, enforce_file_format=True)
            paths.append(path)
        return paths

    def edited(self, path: Path, change: Callable[[Dataset], None]) -> None:
        """Changes a file in place."""
        ds = dcmread(path)
        change(ds)
        buffer = io.BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        path.write_bytes(buffer.getvalue())

    def _slices(self, count: int, words: dict[str, Any]) -> list[Dataset]:
        base = {
            **usual.PATIENT,
            "PatientSize": "1.7",
            "StudyInstanceUID": uid("study"),
            "StudyDate": "20260310",
            "StudyTime": "095500",
            "SeriesDate": "20260310",
            "SeriesTime": "100000",
            "AcquisitionDate": "20260310",
            "AcquisitionTime": "100000",
            "FrameOfReferenceUID": uid("frame"),
            "Manufacturer": "tests",
            "spacing": 4.0,
            "first": -10.0,
            **words,
        }
        base.setdefault("SeriesInstanceUID", uid(base["StudyInstanceUID"], base["SeriesDescription"]))
        return [self._slice(k, dict(base)) for k in range(count)]

    def _slice(self, k: int, words: dict[str, Any]) -> Dataset:
        place = words.pop("first") + k * words.pop("spacing")
        words = {**usual.geometry(k, place), "SOPInstanceUID": uid(words["SeriesInstanceUID"], k), **words}
        pixels = words.pop("pixels", None)
        return usual.image(words, np.full((words["Rows"], words["Columns"]), k + 1, np.int16) if pixels is None else pixels[k])


@pytest.fixture(scope="session")
def real_studies(shared_data: Path) -> list[TracerStudy]:
    """Both studies of pair1, FDG first."""
    return [recognise(study) for study in group(read_folder(shared_data / "pair1")[0])]


@pytest.fixture(scope="session")
def scans() -> Scans:
    return Scans()

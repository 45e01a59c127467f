"""Our writer against pydicom's own, byte for byte, on every object that we write and on odd ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from factories import FEW, Patient, make_case, many
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from analysis.values import Tracer
from dicom_io.results import measured_objects
from dicom_io.writing import save

LATIN = Patient(name="Müller^Jürgen", character_set="ISO_IR 100")
SEVERAL = Patient(name="Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", character_set=["", "ISO 2022 IR 87"])


def both(ds: Dataset, folder: Path) -> tuple[bytes, bytes]:
    save(ds, folder / "ours.dcm")
    ds.save_as(folder / "theirs.dcm", enforce_file_format=True)
    return (folder / "ours.dcm").read_bytes(), (folder / "theirs.dcm").read_bytes()


@pytest.mark.parametrize(
    ("boxes", "who"),
    [(FEW, Patient()), (FEW, LATIN), (FEW, SEVERAL), (many(40), Patient()), (many(40, Tracer.FDG), Patient())],
    ids=["few", "latin", "japanese", "many", "many of FDG"],
)
def test_every_object_is_as_pydicom_writes_it(tmp_path: Path, boxes, who: Patient) -> None:
    pair, analysis = make_case(tmp_path / "in", boxes, who)
    for name, ds in measured_objects(pair, analysis).items():
        ours, theirs = both(ds, tmp_path)
        assert ours == theirs, name


def test_odd_values_are_as_pydicom_writes_them(tmp_path: Path) -> None:
    ds, item, inner = Dataset(), Dataset(), Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.4"
    ds.PatientName, ds.OtherPatientNames = "A^B", ["C^D", "E"]
    ds.PatientWeight, ds.ImagePositionPatient = "80.50", ["1.0", "1.00", "-3e-1"]
    ds.Rows, ds.LargestImagePixelValue, ds.PixelRepresentation = 3, 7, 0
    ds.add_new(0x00091001, "UN", b"\x01\x02\x03")
    ds.add_new(0x00100010 + 0x20, "CS", "")
    inner.CodeValue, inner.CodeMeaning, inner.TextValue = "121", "121", "x" * 5000
    item.ReferencedSOPInstanceUID, item.ConceptCodeSequence = "1.2.3.4", [inner, inner]
    item.RealWorldValueLastValueMapped = 5
    ds.ContentSequence = [item, Dataset(), item]
    ds.ReferencedSeriesSequence = []
    ds["ContentSequence"].value[0].is_undefined_length_sequence_item = False
    ds.PixelData = np.arange(9, dtype=np.uint8).tobytes()
    ds.BitsAllocated, ds["PixelData"].VR = 8, "OB"
    ours, theirs = both(ds, tmp_path)
    assert ours == theirs
    ds["ContentSequence"].is_undefined_length = True
    ours, theirs = both(ds, tmp_path)
    assert ours == theirs
    assert dcmread(tmp_path / "ours.dcm") == dcmread(tmp_path / "theirs.dcm")

"""Files that are small and would fill the memory: read in a process that may have 1.5 GB, whose end is the proof."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from analysis.errors import NotDicom
from dicom_io import frugal
from dicom_io.headers import read_instance, read_object

MEMORY = 1_500_000_000
PIXELS = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 3 << 30)
READ = "import sys; from pathlib import Path; from dicom_io.headers import {0}; {0}(Path(sys.argv[1]))"


def image(path: Path, syntax: str) -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality, ds.PatientID = "1.2.3", "1.2.3.1", "CT", "BOMB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def header(path: Path) -> Dataset:
    with path.open("rb") as stream:
        return frugal.read_header(stream)


def bomb(path: Path) -> Path:
    """3 GB of zeros as pixels, in 3 MB."""
    image(path, ExplicitVRLittleEndian)
    meta_end = 144 + struct.unpack("<L", path.read_bytes()[140:144])[0]
    dataset = path.read_bytes()[meta_end:]
    image(path, DeflatedExplicitVRLittleEndian)
    meta_end = 144 + struct.unpack("<L", path.read_bytes()[140:144])[0]
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("r+b") as stream:
        stream.truncate(meta_end)
        stream.seek(meta_end)
        stream.write(deflater.compress(dataset + PIXELS) + deflater.flush(zlib.Z_FULL_FLUSH))
        stream.write((deflater.compress(bytes(1 << 24)) + deflater.flush(zlib.Z_FULL_FLUSH)) * (3 << 6))
        stream.write(deflater.flush())
    return path


@pytest.mark.parametrize("reader", ["read_instance", "read_object"])
def test_a_deflated_bomb_is_refused_within_little_memory(tmp_path: Path, reader: str) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-c", READ.format(reader), str(bomb(tmp_path / "bomb.dcm"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited, timeout=120)
    assert "NotDicom: The file is deflated and inflates to more than 1024 MB; send it plain." in done.stderr


def test_millions_of_empty_items_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frugal, "MOST_READS", 20_000)
    path = image(tmp_path / "items.dcm", ExplicitVRLittleEndian)
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 20_000 + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    with path.open("ab") as stream:
        stream.write(struct.pack("<HH2sHL", 0x0021, 0x1010, b"SQ", 0, 0xFFFFFFFF) + items)
    for reader in (read_instance, read_object):
        with pytest.raises(NotDicom, match="larger than that of any image"):
            reader(path)


def test_a_length_beyond_the_end_is_damage_and_not_size(tmp_path: Path) -> None:
    path = image(tmp_path / "cut.dcm", ExplicitVRLittleEndian)
    with path.open("ab") as stream:
        stream.write(struct.pack("<HH2sHL", 0x0021, 0x1010, b"OB", 0, 0xFFFFFF00) + bytes(100))
    with pytest.raises(NotDicom, match="cut off"):
        read_instance(path)


def test_raw_data_behind_the_pixels_place_are_not_read(tmp_path: Path) -> None:
    path = image(tmp_path / "raw.dcm", ExplicitVRLittleEndian)
    with path.open("r+b") as stream:
        stream.seek(0, 2)
        stream.write(struct.pack("<HH2sHL", 0x7FE1, 0x1010, b"OB", 0, 3 << 30))
        stream.truncate(stream.tell() + (3 << 30))  # a hole: no disk is taken
    found = header(path)
    assert found.PatientID == "BOMB"
    assert 0x7FE11010 not in found


def test_a_deflated_header_is_as_it_was_written(tmp_path: Path) -> None:
    plain, deflated = (
        header(image(tmp_path / name, syntax))
        for name, syntax in (("plain.dcm", ExplicitVRLittleEndian), ("deflated.dcm", DeflatedExplicitVRLittleEndian))
    )
    assert deflated == plain
    assert deflated.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian

"""Files to headers, headers to studies; and everything that is no image of a known patient."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from analysis.errors import IdentityConflict, IncompleteSeries, NotDicom
from dicom_io.headers import differences, group, identity, read_folder, read_instance
from dicom_io.slices import slice_grid
from dicom_io.studies import Instance, PatientIdentity, Series
from dicom_io.volumes import read_ct

PAIR_FILES = 651  # 135 PET, 135 NAC, 135 CT, 1 scout; 110 PET, 135 CT: data/README.md


def instances(datasets: list[Dataset], path: Path = Path("x.dcm")) -> list[Instance]:
    return [Instance(path=path, header=ds) for ds in datasets]


def test_real_pair_becomes_two_studies(shared_data: Path) -> None:
    found, unusable = read_folder(shared_data / "pair1")
    assert len(found) == PAIR_FILES
    assert [path.name for path, _ in unusable] == ["truth.json"]
    assert not any("PixelData" in i.header for i in found)
    studies = group(reversed(found))
    assert [sorted(s.description for s in study.series) for study in studies] == [
        ["CT IMAGES", "PET AC", "PET NAC", "SCOUT"],
        ["CT WB 3.0", "PET WB 68Ga-PentixaFor"],
    ]
    assert {study.patient.patient_id for study in studies} == {"SEMI001"}


def test_slices_in_any_order_are_sorted_along_the_normal(scans) -> None:
    shuffled = instances([scans.pet()[k] for k in (3, 0, 5, 1, 4, 2)])
    series = group(shuffled)[0].series[0]
    assert [float(i.header.ImagePositionPatient[2]) for i in series.instances] == [-10, -6, -2, 2, 6, 10]


def test_order_follows_the_normal_of_flipped_slices(scans) -> None:
    """Feet first with a mirrored row direction: the normal points down, and so does k."""
    series = scans.series(scans.pet(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]))
    grid = slice_grid(series).grid
    assert grid.affine[2, 0] == -4
    np.testing.assert_allclose(grid.to_world((0, 0, 0)), [-20, -30, 10])
    np.testing.assert_allclose(grid.to_world((5, 7, 9)), [-65, -2, -10])


def test_no_preamble_and_no_meta(scans, tmp_path: Path) -> None:
    ds = scans.ct(1)[0]
    del ds.file_meta
    dcmwrite(tmp_path / "bare", ds, implicit_vr=True, little_endian=True)
    instance = read_instance(tmp_path / "bare")
    assert instance.header.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


def test_unusable_files_are_named_with_a_sentence(scans, tmp_path: Path) -> None:
    path = scans.write(tmp_path / "good", scans.ct(1))[0]
    whole = path.read_bytes()
    bad = tmp_path / "bad"
    bad.mkdir()
    directory = Dataset()
    directory.DirectoryRecordSequence = []
    contents = {
        "empty": b"",
        "notes.txt": b"no DICOM at all, but long enough to look like something " * 9,
        "noise": bytes(range(256)) * 40,
        "half_the_pixels": whole[:-40],
        "half_the_header": whole[: len(whole) // 2],
        "preamble_only": whole[:132],
        "meta_only": whole[:250],
    }
    for name, content in contents.items():
        (bad / name).write_bytes(content)
    found, unusable = read_folder(tmp_path)
    assert [i.path for i in found] == [path]
    assert {p.name for p, _ in unusable} == set(contents)
    assert all(sentence.endswith(".") for _, sentence in unusable)
    sentences = {p.name: sentence for p, sentence in unusable}
    assert "empty" in sentences["empty"]
    assert "cut off" in sentences["half_the_pixels"]
    assert "cut off" in sentences["half_the_header"]


@pytest.mark.parametrize("part", range(1, 100, 3))
def test_a_file_cut_anywhere_is_told(scans, tmp_path: Path, part: int) -> None:
    path = scans.write(tmp_path, scans.pet(1))[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * part // 100])
    with pytest.raises(NotDicom):
        read_instance(path)


def test_cut_compressed_pixels_are_told(scans, tmp_path: Path) -> None:
    ds = scans.ct(1)[0]
    ds.compress(RLELossless, generate_instance_uid=False)
    path = scans.write(tmp_path, [ds])[0]
    assert read_instance(path)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(NotDicom, match="cut off"):
        read_instance(path)


def test_compressed_pixels_without_delimiter_are_whole(scans, tmp_path: Path) -> None:
    """Some archives leave the last eight bytes out; every fragment is there."""
    ds = scans.ct(1)[0]
    ds.compress(RLELossless, generate_instance_uid=False)
    path = scans.write(tmp_path, [ds])[0]
    path.write_bytes(path.read_bytes()[:-8])
    assert read_ct(Series(instances=(read_instance(path),))).values.max() == 1 - 1024


def test_dicomdir_is_told(tmp_path: Path) -> None:
    ds = Dataset()
    ds.FileSetID = "DISC"
    ds.DirectoryRecordSequence = []
    stream = DicomBytesIO()
    dcmwrite(stream, ds, implicit_vr=False, little_endian=True)
    (tmp_path / "DICOMDIR").write_bytes(stream.getvalue())
    _, unusable = read_folder(tmp_path)
    assert "index" in unusable[0][1]


def test_same_instance_twice_is_kept_once(scans, tmp_path: Path) -> None:
    paths = scans.write(tmp_path, scans.pet())
    shutil.copy(paths[2], tmp_path / "again.dcm")
    ds = dcmread(paths[3])
    ds.file_meta.SourceApplicationEntityTitle = "OTHER"
    dcmwrite(tmp_path / "other_sender.dcm", ds, enforce_file_format=True)
    found, _ = read_folder(tmp_path)
    assert len(found) == 8
    assert len(group(found)[0].series[0].instances) == 6


def test_same_instance_with_other_content_is_refused(scans, tmp_path: Path) -> None:
    paths = scans.write(tmp_path, scans.pet())
    shutil.copy(paths[2], tmp_path / "again.dcm")
    scans.edited(tmp_path / "again.dcm", lambda ds: setattr(ds, "PixelData", bytes(160)))
    with pytest.raises(IncompleteSeries, match="twice with different content"):
        group(read_folder(tmp_path)[0])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"PatientBirthDate": "19700101"}, "birth date"),
        ({"PatientSex": "M"}, "sex"),
        ({"PatientName": "Ander^Anna"}, "name"),
    ],
)
def test_two_people_with_one_id(scans, change: dict[str, str], word: str) -> None:
    other = scans.pet(StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.5", **change)
    with pytest.raises(IdentityConflict, match=word) as caught:
        group(instances(scans.pet() + other))
    assert "Muster" not in str(caught.value)
    assert "P1" not in str(caught.value)


def test_issuers_keep_people_apart(scans) -> None:
    one = scans.pet(IssuerOfPatientID="CLINIC A")
    other = scans.pet(
        StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.5", IssuerOfPatientID="CLINIC B", PatientName="Ander^Anna"
    )
    assert len(group(instances(one + other))) == 2


def test_two_ids_in_one_study(scans) -> None:
    with pytest.raises(IdentityConflict, match="two PatientIDs"):
        group(instances(scans.pet() + scans.ct(PatientID="P2")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller^Jürgen", "MUELLER^JUERGEN^^^"),
        ("Müller^Jürgen", "Muller^Jurgen"),
        ("Strauß^Anna Maria", "STRAUSS^ANNA-MARIA"),
        ("Le Grand^Zoë^^Dr", "LE GRAND^ZOE"),
        ("Muster^Maria", "Muster^Maria^Eva"),
        ("Muster^Maria", ""),
        ("Yamada^Tarou=山田^太郎", "YAMADA^TAROU"),
    ],
)
def test_one_name_in_two_spellings(one: str, other: str) -> None:
    assert differences(PatientIdentity(patient_id="P", name=one), PatientIdentity(patient_id="P", name=other)) == ()


@pytest.mark.parametrize(("one", "other"), [("Muster^Maria", "Muster^Martha"), ("Müller^Eva", "Möller^Eva"), ("A^B", "B^A")])
def test_two_names(one: str, other: str) -> None:
    assert differences(PatientIdentity(patient_id="P", name=one), PatientIdentity(patient_id="P", name=other)) == ("name",)


def test_malformed_elements_count_as_absent(scans) -> None:
    ds = scans.pet(1, PatientBirthDate="unknown", StudyDate="2026-XX-10", SeriesDate="20260310")[0]
    assert identity(ds).birth_date == ""
    assert group(instances([ds]))[0].started.year == 2026


def test_missing_slice_is_named_by_position(scans) -> None:
    slices = scans.ct(8)
    with pytest.raises(IncompleteSeries, match=r"1 slice is missing at 6\.0 mm"):
        slice_grid(scans.series(slices[:4] + slices[5:]))
    with pytest.raises(IncompleteSeries, match=r"2 slices are missing at -6\.0, -2\.0 mm"):
        slice_grid(scans.series(slices[:1] + slices[3:]))


def test_missing_end_of_a_pet_is_told_by_its_count(scans) -> None:
    with pytest.raises(IncompleteSeries, match="5 of the 6 slices"):
        slice_grid(scans.series(scans.pet()[:-1]))


def test_doubled_slice_is_named(scans) -> None:
    slices = scans.ct(6)
    slices[3].ImagePositionPatient = slices[2].ImagePositionPatient
    with pytest.raises(IncompleteSeries, match=r"more than one slice at -2\.0 mm"):
        slice_grid(scans.series(slices))


@pytest.mark.parametrize(
    ("keyword", "value", "word"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.8, 0.6], "orientation"),
        ("Rows", 16, "Rows"),
        ("PixelSpacing", [4, 5.1], "PixelSpacing"),
        ("FrameOfReferenceUID", "1.2.3", "frame of reference"),
        ("ImagePositionPatient", None, "position"),
    ],
)
def test_mixed_slices_are_named(scans, keyword: str, value: object, word: str) -> None:
    slices = scans.ct(6)
    setattr(slices[4], keyword, value)
    with pytest.raises(IncompleteSeries, match=word):
        slice_grid(scans.series(slices))


def test_beds_joined_by_the_scanner_lie_on_the_mean_grid(scans) -> None:
    """The gaps of the GE scan in data/README.md: 3.19, 3.27 and 3.29 mm."""
    gaps = [3.27] * 10 + [3.19] + [3.27] * 10 + [3.29] + [3.27] * 10
    slices = scans.ct(len(gaps) + 1)
    for ds, place in zip(slices, np.concatenate([[0], np.cumsum(gaps)]), strict=True):
        ds.ImagePositionPatient = [0, 0, float(place)]
    found = slice_grid(scans.series(slices))
    assert found.grid.spacing[0] == pytest.approx(np.mean(gaps))
    assert 0 < found.irregularity_mm < 0.1


def test_sheared_and_irregular_slices_are_refused(scans) -> None:
    tilted = scans.ct(6)
    for k, ds in enumerate(tilted):
        ds.ImagePositionPatient = [0, 2.0 * k, 4.0 * k]
    with pytest.raises(IncompleteSeries, match="tilted gantry"):
        slice_grid(scans.series(tilted))
    irregular = scans.ct(6)
    irregular[5].ImagePositionPatient = [-20, -30, 11.0]
    with pytest.raises(IncompleteSeries, match="irregular gaps"):
        slice_grid(scans.series(irregular))


def test_links_to_folders_are_followed_once(scans, tmp_path: Path) -> None:
    scans.write(tmp_path / "disk", scans.pet(2))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "pet").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "study")
    assert len(read_folder(tmp_path / "study")[0]) == 2

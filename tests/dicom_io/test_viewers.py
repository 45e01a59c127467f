"""Objects that every viewer and archive can take, whatever the lesions and the source images are like.

Judged by others: dciodvfy, dcentvfy (dicom3tools), dsrdump (dcmtk), segimage2itkimage and tid1500reader (dcmqi).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import objects
import pytest
import srtree
from factories import FEW, SHAPE, Box, Patient, make_case, many
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from syntaxes import rewritten

from analysis.values import Lesion, PatientAnalysis, Site, Tracer
from dicom_io.derived import STANDARD_OBJECTS, Case, ObjectSettings, SegForm, SrForm
from dicom_io.headers import group, read_folder
from dicom_io.seg import segment_of, write_segs
from dicom_io.seg_reader import mask_of, read_seg
from dicom_io.sr_groups import lesion_group
from dicom_io.studies import DualTracerPair, Series, TracerStudy

SETTINGS = {
    "standard": STANDARD_OBJECTS,
    "labelmap": ObjectSettings(seg=SegForm.LABELMAP),
    "enhanced": ObjectSettings(sr=SrForm.ENHANCED),
}
P = Tracer.PENTIXAFOR


def known(settings: ObjectSettings) -> tuple[str, ...]:
    return objects.LABELMAP_ALARMS if settings.seg is SegForm.LABELMAP else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A case in one of the forms, in memory and on disk."""

    settings: ObjectSettings
    analysis: PatientAnalysis
    objects: Mapping[str, Dataset]
    paths: Mapping[str, Path]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    folder = tmp_path_factory.mktemp("forms")
    pair, analysis = make_case(folder / "in")
    found = {}
    for name, settings in SETTINGS.items():
        made = objects.build(pair, analysis, settings)
        paths = objects.write(folder / name, made)
        found[name] = Written(settings=settings, analysis=analysis, objects=made, paths=paths)
    return found


@pytest.mark.peer("dciodvfy", "dsrdump", "dcmqi")
@pytest.mark.parametrize("name", SETTINGS)
def test_every_form_is_legal_and_read_by_others(tmp_path: Path, forms: dict[str, Written], name: str) -> None:
    form = forms[name]
    for path in form.paths.values():
        assert objects.errors(path, known(form.settings)) == [], path.name
        assert dcmread(path).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    if form.settings.seg is SegForm.BINARY:  # dcmtk 3.6.7 refuses a report that refers to a label map
        assert all(objects.dsrdump(p)[1] == "" for n, p in form.paths.items() if n.startswith("sr"))
    lesions = form.analysis.lesions[Tracer.FDG].lesions
    found = {g["TrackingIdentifier"]: g for g in objects.dcmqi_report(form.paths["sr-fdg"], tmp_path / "sr.json")}
    _, labels = objects.dcmqi_labels(form.paths["seg-fdg"], tmp_path / "seg")
    for lesion in lesions:
        items: list[dict[str, Any]] = found[lesion.id]["measurementItems"]  # type: ignore[assignment]
        volume = next(x for x in items if x["quantity"]["CodeMeaning"] == "Metabolic Volume")
        assert float(volume["value"]) == pytest.approx(lesion.volume_ml, rel=1e-5)
        assert (labels == lesion.label).sum() == lesion.voxels


def test_the_forms_hold_the_same(forms: dict[str, Written]) -> None:
    made = {name: form.objects for name, form in forms.items()}
    binary, labelmap = (read_seg(made[name]["seg-fdg"]) for name in ("standard", "labelmap"))
    assert labelmap.counts() == binary.counts()
    assert [(s.number, s.label, s.tracking_id) for s in labelmap.segments] == [
        (s.number, s.label, s.tracking_id) for s in binary.segments
    ]
    for segment in binary.segments:
        one, other = (f.labelmap.grid.to_world(np.argwhere(mask_of(f, segment.number))) for f in (binary, labelmap))
        np.testing.assert_allclose(one, other, atol=1e-6)
    groups = {name: srtree.groups(objs["sr-pair"]) for name, objs in made.items()}
    assert {n: g.numbers for n, g in groups["enhanced"].items()} == {n: g.numbers for n, g in groups["standard"].items()}
    assert made["enhanced"]["sr-pair"].SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.22"
    assert made["labelmap"]["seg-fdg"].SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert len({objs["sr-pair"].SOPInstanceUID for objs in made.values()}) == 3


def test_highdicom_reads_every_report(forms: dict[str, Written]) -> None:
    for name in ("standard", "enhanced"):
        for report in ("sr-fdg", "sr-pentixafor", "sr-pair"):
            highdicom.sr.srread(forms[name].paths[report])
    document = highdicom.sr.srread(forms["standard"].paths["sr-fdg"])
    lesions = forms["standard"].analysis.lesions[Tracer.FDG].lesions
    assert len(document.content.get_volumetric_roi_measurement_groups()) == len(lesions)


# Lesions


@pytest.mark.peer("dciodvfy", "dcmqi")
@pytest.mark.parametrize(("count", "parts"), [(256, [255, 1]), (600, [255, 255, 90])])
def test_any_number_of_lesions(tmp_path: Path, count: int, parts: list[int]) -> None:
    pair, analysis = make_case(tmp_path / "in", many(count))
    lesions = analysis.lesions[P].lesions
    segs = write_segs(pair, analysis, P)
    assert [len(s.SegmentSequence) for s in segs] == parts
    assert len({s.SeriesInstanceUID for s in segs} | {s.SOPInstanceUID for s in segs}) == 2 * len(parts)
    paths = objects.write(tmp_path / "out", {str(n): ds for n, ds in enumerate(segs)})
    for part, path in enumerate(paths.values()):
        assert objects.errors(path) == []
        image, labels = objects.dcmqi_labels(path, tmp_path / f"dcmqi{part}")
        for lesion in [x for x in lesions if segment_of(x)[0] == part][:: 1 + count // 20]:
            (where,) = np.argwhere(labels == segment_of(lesion)[1])
            centre = image.TransformIndexToPhysicalPoint([int(x) for x in where[::-1]])
            assert centre == pytest.approx(lesion.centroid_mm, abs=1e-3)
    case = Case(pair=pair, analysis=analysis)
    for lesion in lesions[::5]:
        part, number = segment_of(lesion)
        assert reference(case, lesion, segs) == (segs[part].SOPInstanceUID, number)


def reference(case: Case, lesion: Lesion, segs: Sequence[Dataset]) -> tuple[str, int]:
    """The segment that the lesion's group of the report names."""
    items = lesion_group(case, lesion, segs).ContentSequence
    (found,) = [x.ReferencedSOPSequence[0] for x in items if x.ValueType == "IMAGE"]
    return found.ReferencedSOPInstanceUID, found.ReferencedSegmentNumber


@pytest.mark.peer("dcmqi")
def test_one_label_map_holds_more_than_255_lesions(tmp_path: Path) -> None:
    settings = SETTINGS["labelmap"]
    pair, analysis = make_case(tmp_path / "in", many(300))
    (seg,) = write_segs(pair, analysis, P, objects=settings)
    assert seg.BitsAllocated == 16
    found = read_seg(objects.write(tmp_path / "out", {"seg": seg})["seg"])
    assert found.counts() == dict.fromkeys(range(1, 301), 1)
    _, labels = objects.dcmqi_labels(tmp_path / "out" / "seg.dcm", tmp_path / "dcmqi")
    assert len(np.unique(labels)) == 301
    case = Case(pair=pair, analysis=analysis, objects=settings)
    assert reference(case, analysis.lesions[P].lesions[-1], (seg,)) == (seg.SOPInstanceUID, 300)


CORNERS = tuple((k, j, i) for k in (0, SHAPE[0] - 1) for j in (0, SHAPE[1] - 1) for i in (0, SHAPE[2] - 1))
PLACES = [(CORNERS[0],), (CORNERS[-1],), ((12, 0, 43),), CORNERS]


@pytest.mark.peer("dciodvfy", "dcmqi")
@pytest.mark.parametrize("places", PLACES, ids=str)
def test_single_voxels_at_the_edges(tmp_path: Path, places: tuple[tuple[int, int, int], ...]) -> None:
    pair, analysis = make_case(tmp_path / "in", tuple(Box(at=at, size=(1, 1, 1), pentixafor=7.0) for at in places))
    (seg,) = write_segs(pair, analysis, P)
    path = objects.write(tmp_path / "out", {"seg": seg})["seg"]
    assert objects.errors(path) == []
    found = read_seg(path)
    image, labels = objects.dcmqi_labels(path, tmp_path / "dcmqi")
    for lesion in analysis.lesions[P].lesions:
        (where,) = np.argwhere(mask_of(found, lesion.label))
        assert found.labelmap.grid.to_world(where) == pytest.approx(lesion.centroid_mm, abs=1e-3)
        (there,) = np.argwhere(labels == lesion.label)
        assert image.TransformIndexToPhysicalPoint([int(x) for x in there[::-1]]) == pytest.approx(lesion.centroid_mm, abs=1e-3)


@pytest.mark.peer("dciodvfy", "dsrdump", "dcmqi")
def test_without_lesions_the_reports_say_so(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "in", ())
    made = objects.build(pair, analysis)
    assert set(made) == {"sr-fdg", "sr-pentixafor", "sr-pair", "fusion"}
    for name, path in objects.write(tmp_path / "out", made).items():
        assert objects.errors(path) == [], name
        if name.startswith("sr"):
            assert any(s.endswith("lesion was found (0 lesions).") for s in srtree.statements(dcmread(path)))
            assert objects.dsrdump(path)[1] == ""
            objects.dcmqi_report(path, tmp_path / f"{name}.json")


ODD = [
    "",
    "M\u00fcller's R\u00f6hre",
    "\u80f8\u690e",
    "a\\b",
    "x" * 200,
    "tab\tand\nline",
    "rib_left_7 ^ = %s {}",
    "\x00\x1b$B",
]


@pytest.mark.peer("dciodvfy", "dsrdump")
def test_odd_names_of_regions_become_legal_text(tmp_path: Path) -> None:
    boxes = tuple(
        Box(at=(2 + 2 * n, 10, 10), size=(1, 2, 2), pentixafor=7.0, region=name, site=Site.EXTRAMEDULLARY)
        for n, name in enumerate(ODD)
    )
    pair, analysis = make_case(tmp_path / "in", boxes)
    paths = objects.write(tmp_path / "out", objects.build(pair, analysis))
    for name, path in paths.items():
        assert objects.errors(path) == [], name
    assert objects.dsrdump(paths["sr-pentixafor"])[1] == ""
    segments = dcmread(paths["seg-pentixafor"]).SegmentSequence
    assert all(isinstance(s.SegmentLabel, str) and 0 < len(s.SegmentLabel) <= 64 for s in segments)


# Names

NAMES = {
    "latin-1": (b"ISO_IR 100", "M\u00fcller^Zo\u00eb".encode("latin-1")),
    "utf-8": (b"ISO_IR 192", "\u0414\u043e\u0441\u0442^\u0410\u043d\u043d\u0430".encode()),
    # PS3.5 H.3.1 and H.3.2, I.2: the standard's own examples, byte by byte
    "kanji": (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"),
    "katakana": (
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ),
    "korean": (
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    "chinese": (b"GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab="),
    "broken": (b"ISO_IR 192", "M\u00fcller^Zo\u00eb".encode("latin-1")),
    "no closing escape": (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED"),
    "no character set": (b"", b"Muster^Maria"),
}


def with_bytes(pair: DualTracerPair, character_set: bytes, name: bytes) -> DualTracerPair:
    """The pair with these bytes in its PET files, as a scanner could write them; headers as they are then read."""
    stand_ins = {b"ISO_IR 100": character_set, b"Muster^Maria": name}

    def edited(study: TracerStudy) -> TracerStudy:
        for path in (i.path for i in study.pet.instances):
            content = path.read_bytes()
            for old, new in stand_ins.items():
                even_old, even_new = old + b" " * (len(old) % 2), new + b" " * (len(new) % 2)
                before = len(even_old).to_bytes(2, "little") + even_old
                assert content.count(before) == 1
                content = content.replace(before, len(even_new).to_bytes(2, "little") + even_new)
            path.write_bytes(content)
        return replace(study, pet=reread(study.pet))

    return replace(pair, fdg=edited(pair.fdg), pentixafor=edited(pair.pentixafor))


def reread(series: Series) -> Series:
    headers = [dcmread(i.path, stop_before_pixels=True) for i in series.instances]
    return Series(instances=tuple(replace(i, header=h) for i, h in zip(series.instances, headers, strict=True)))


@pytest.mark.peer("dsrdump")
@pytest.mark.parametrize(("character_set", "name"), NAMES.values(), ids=NAMES)
@pytest.mark.filterwarnings("ignore:Failed to decode byte string")
def test_a_name_keeps_its_bytes_and_its_character_set(tmp_path: Path, character_set: bytes, name: bytes) -> None:
    pair, analysis = make_case(tmp_path / "in")
    pair = with_bytes(pair, character_set, name)
    for path in objects.write(tmp_path / "out", objects.one_of_each(pair, analysis)).values():
        assert objects.stored(path, 0x00100010).rstrip(b" ") == name
        assert objects.character_set(path) == character_set.decode()
        ds = dcmread(path)
        assert_our_text_is_ascii(ds)
    objects.dsrdump(tmp_path / "out" / "sr-fdg.dcm")


def assert_our_text_is_ascii(ds: Dataset) -> None:
    """ASCII is part of every character set of DICOM, so what is ASCII is legal in all of them."""
    for element in ds.iterall():
        if element.VR in ("LO", "SH", "ST", "LT", "UT", "UC") and element.tag.group != 0x0010:
            assert str(element.value).isascii(), element.keyword


# Attributes

EMPTY = {
    "PatientID": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "PatientName": "",
    "StudyID": "",
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "FrameOfReferenceUID": "",
    "PositionReferenceIndicator": "",
    "SeriesDate": "",
    "SeriesTime": "",
    "PatientWeight": "",
}
SOURCES = {
    "missing": Patient(missing=(*EMPTY, "Manufacturer")),
    "empty": Patient(extra=EMPTY),
    "odd": Patient(extra={"PatientSex": "U", "PatientAge": "45", "PatientBirthDate": "1960.01.01", "StudyTime": "9:30"}),
    "older": Patient(
        extra={"PatientSex": "female", "PatientBirthDate": "00000000", "SeriesTime": "09:45:00", "SeriesDate": "?"}
    ),
    "long": Patient(extra={"StudyDescription": "d" * 100, "PatientWeight": "81.123456789012345678", "EthnicGroup": "e" * 30}),
    "several": Patient(extra={"StudyDescription": ["a", "b"], "OtherPatientIDs": ["1", "2"]}),
}


@pytest.mark.peer("dciodvfy", "dsrdump")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("who", SOURCES.values(), ids=SOURCES)
def test_what_is_wrong_with_a_source_is_not_wrong_with_our_objects(tmp_path: Path, who: Patient) -> None:
    pair, analysis = make_case(tmp_path / "in", FEW, who)
    for name, path in objects.write(tmp_path / "out", objects.one_of_each(pair, analysis)).items():
        assert objects.errors(path) == [], name
        if name.startswith("sr"):
            assert objects.dsrdump(path)[1] == ""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_identifies_is_never_cut(tmp_path: Path) -> None:
    long = {"PatientID": "P" * 80, "IssuerOfPatientID": "I" * 80, "StudyID": "S" * 40, "AccessionNumber": "A" * 40}
    pair, analysis = make_case(tmp_path / "in", FEW, Patient(extra=long))
    for path in objects.write(tmp_path / "out", objects.one_of_each(pair, analysis)).values():
        ds = dcmread(path)
        assert {k: ds.get(k) for k in long} == long


# Transfer syntaxes, folders, order


def from_folder(folder: Path, like: DualTracerPair) -> DualTracerPair:
    """The pair as the node would read it from files in any order."""
    studies = {s.study_instance_uid: s for s in group(read_folder(folder)[0])}

    def again(old: TracerStudy) -> TracerStudy:
        study = studies[old.study.study_instance_uid]
        series = {s.modality: s for s in study.series}
        return replace(old, study=study, pet=series["PT"], ct=series["CT"])

    return replace(like, fdg=again(like.fdg), pentixafor=again(like.pentixafor))


def all_bytes(folder: Path, pair: DualTracerPair, analysis: PatientAnalysis) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in objects.write(folder, objects.one_of_each(pair, analysis)).items()}


SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}


def test_the_transfer_syntax_of_the_sources_changes_nothing(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path / "in")
    before = all_bytes(tmp_path / "a", from_folder(tmp_path / "in", pair), analysis)
    for name, syntax in SYNTAXES.items():
        shutil.copytree(tmp_path / "in", tmp_path / name)
        for path in (tmp_path / name).rglob("*.dcm"):
            rewritten(path, syntax)
        assert all_bytes(tmp_path / f"{name} out", from_folder(tmp_path / name, pair), analysis) == before, name


def test_folders_names_and_order_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, analysis = make_case(tmp_path / "in")
    before = all_bytes(tmp_path / "a", from_folder(tmp_path / "in", pair), analysis)
    (tmp_path / "other" / "place").mkdir(parents=True)
    files = sorted((tmp_path / "in").rglob("*.dcm"))
    for number in np.random.default_rng(1).permutation(len(files)):
        shutil.copyfile(files[number], tmp_path / "other" / "place" / f"{9973 * int(number) % 1009:04d}")
    monkeypatch.chdir(tmp_path / "other")
    assert all_bytes(tmp_path / "b", from_folder(tmp_path / "other", pair), analysis) == before


@pytest.mark.peer("dcentvfy")
def test_the_objects_and_their_sources_are_one_set(tmp_path: Path) -> None:
    """dcentvfy's findings on the sources alone are the factory's; with our objects there are no more of them."""
    pair, analysis = make_case(tmp_path / "in")
    images = sorted((tmp_path / "in").rglob("*.dcm"))
    paths = objects.write(tmp_path / "out", objects.build(pair, analysis))
    assert set(objects.set_errors([*images, *paths.values()])) <= set(objects.set_errors(images))

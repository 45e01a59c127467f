"""Enhanced objects that cannot be measured: each is refused with one sentence that names what is wrong, and no patient."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from enhanced_cases import GRID, SUV, Change, make_grid, pet_of, read, write, written
from enhanced_scans import EnhancedSpec, pet_objects
from pydicom import Dataset
from pydicom.uid import UID, JPEGLSLossless, RLELossless
from syntaxes import rewritten

from analysis.errors import IncompleteSeries, NotDicom, NotQuantifiable, NoUsableCt, NoUsablePet, Rejected
from dicom_io.headers import read_instance
from dicom_io.suv import suv_conversion
from dicom_io.volumes import load, read_pet


def frames_of(objects: Sequence[Dataset]) -> list[Dataset]:
    return [item for ds in objects for item in ds.PerFrameFunctionalGroupsSequence]


def without_frames(*left_out: int) -> Change:
    """Takes frames out as if the scanner had never written them: groups, pixels and count."""

    def change(objects: list[Dataset]) -> None:
        (ds,) = objects
        keep = [n for n in range(ds.NumberOfFrames) if n not in left_out]
        pixels = np.frombuffer(ds.PixelData, "<i2").reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)
        ds.PixelData, ds.NumberOfFrames = pixels[keep].tobytes(), len(keep)
        ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[n] for n in keep]

    return change


def sets(**words: Any) -> Change:
    def change(objects: list[Dataset]) -> None:
        for ds in objects:
            for keyword, value in words.items():
                setattr(ds, keyword, value)

    return change


def lacks(*keywords: str) -> Change:
    """Takes elements or functional groups out wherever they stand."""

    def change(objects: list[Dataset]) -> None:
        for ds in (*objects, *(d.SharedFunctionalGroupsSequence[0] for d in objects), *frames_of(objects)):
            for keyword in keywords:
                ds.pop(keyword, None)

    return change


def in_group(name: str, **words: Any) -> Change:
    """Sets elements of a functional group in every frame; a callable value gets the frame's number."""

    def change(objects: list[Dataset]) -> None:
        for n, item in enumerate(frames_of(objects)):
            if name not in item:
                setattr(item, name, [Dataset()])
            for keyword, value in words.items():
                setattr(getattr(item, name)[0], keyword, value(n) if callable(value) else value)

    return change


def in_shared(name: str, **words: Any) -> Change:
    def change(objects: list[Dataset]) -> None:
        for ds in objects:
            for keyword, value in words.items():
                setattr(getattr(ds.SharedFunctionalGroupsSequence[0], name)[0], keyword, value)

    return change


def twice_at_each_place(*then: Change) -> Change:
    """Frames in pairs at one place."""

    def change(objects: list[Dataset]) -> None:
        items = frames_of(objects)
        for first, second in zip(items[::2], items[1::2], strict=True):
            second.PlanePositionSequence = first.PlanePositionSequence
        for each in then:
            each(objects)

    return change


def flavour(word: str) -> Change:
    def change(objects: list[Dataset]) -> None:
        for ds in objects:
            ds.SharedFunctionalGroupsSequence[0].PETFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", word, "NONE"]

    return change


def second_mapping(**words: Any) -> Change:
    def change(objects: list[Dataset]) -> None:
        for item in frames_of(objects):
            other = copy.deepcopy(item.RealWorldValueMappingSequence[0])
            for keyword, value in words.items():
                setattr(other, keyword, value)
            item.RealWorldValueMappingSequence.append(other)

    return change


def unit(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "UCUM", code
    return item


def mapped_by_a_table(objects: list[Dataset]) -> None:
    for item in frames_of(objects):
        mapping = item.RealWorldValueMappingSequence[0]
        del mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept
        mapping.RealWorldValueLUTData = [0.0, 1.0]


def loses_a_frame(objects: list[Dataset]) -> None:
    objects[0].PerFrameFunctionalGroupsSequence.pop()


def projected(objects: list[Dataset]) -> None:
    objects[0].SharedFunctionalGroupsSequence[0].PETFrameTypeSequence[0].VolumeBasedCalculationTechnique = "MAX_IP"


def alternating(frame: int) -> float:
    return float(frame % 2)


REFUSED: dict[str, tuple[Change, type[Rejected], str]] = {
    "not attenuation corrected": (sets(AttenuationCorrected="NO"), NoUsablePet, "AttenuationCorrected is NO"),
    "says nothing of attenuation": (lacks("AttenuationCorrected"), NoUsablePet, "CorrectedImage does not list ATTN"),
    "dynamic by its type": (flavour("DYNAMIC"), NoUsablePet, "SeriesType is DYNAMIC"),
    "gated by its type": (flavour("RESP_GATED"), NoUsablePet, "SeriesType is GATED"),
    "several time points": (
        twice_at_each_place(in_group("FrameContentSequence", TemporalPositionIndex=lambda n: n % 2 + 1)),
        NoUsablePet,
        "several time points (TemporalPositionIndex)",
    ),
    "several times": (
        twice_at_each_place(in_group("FrameContentSequence", FrameAcquisitionDateTime=lambda n: f"202603101{n % 2}0000")),
        NoUsablePet,
        "several time points (AcquisitionTime)",
    ),
    "several cardiac phases": (
        twice_at_each_place(in_group("CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=alternating)),
        NoUsablePet,
        "several cardiac phases",
    ),
    "several respiratory phases": (
        twice_at_each_place(in_group("RespiratorySynchronizationSequence", NominalPercentageOfRespiratoryPhase=alternating)),
        NoUsablePet,
        "several respiratory phases",
    ),
    "doubled": (twice_at_each_place(), IncompleteSeries, "more than one slice at"),
    "a slice missing in the middle": (without_frames(5), IncompleteSeries, "missing at"),
    "slices missing below": (without_frames(0, 1, 2), IncompleteSeries, "9 frames of a stack of at least 12"),
    "a maximum intensity projection": (
        projected,
        NoUsablePet,
        "calculated from a volume",
    ),
    "a part of a concatenation": (
        sets(ConcatenationUID="2.25.7", InConcatenationNumber=1, InConcatenationTotalNumber=2),
        IncompleteSeries,
        "1 of the 2 parts",
    ),
    "counts": (
        in_group("RealWorldValueMappingSequence", MeasurementUnitsCodeSequence=[unit("{counts}")]),
        NotQuantifiable,
        "CNTS",
    ),
    "relative counts": (
        in_group("RealWorldValueMappingSequence", MeasurementUnitsCodeSequence=[unit("{propcounts}")]),
        NoUsablePet,
        "PROPCNTS",
    ),
    "no unit": (lacks("RealWorldValueMappingSequence"), NoUsablePet, "Units are not given"),
    "two scales": (second_mapping(RealWorldValueSlope=3.0), NoUsablePet, "in 2 ways"),
    "a table": (mapped_by_a_table, NoUsablePet, "without a slope"),
    "an offset": (in_group("RealWorldValueMappingSequence", RealWorldValueIntercept=5.0), NotQuantifiable, "RescaleIntercept"),
    "corrected to no time": (lacks("DecayCorrectionDateTime"), NoUsablePet, "DecayCorrectionDateTime"),
    "no functional groups": (lacks("PerFrameFunctionalGroupsSequence"), NoUsablePet, "announces 12 frames and describes 0"),
    "too many frames": (
        loses_a_frame,
        NoUsablePet,
        "announces 12 frames and describes 11",
    ),
    "no position": (lacks("PlanePositionSequence"), NoUsablePet, "no PlanePositionSequence for frame 1"),
    "no pixel measures": (lacks("PixelMeasuresSequence"), NoUsablePet, "no PixelMeasuresSequence"),
    "an endless frame": (in_group("FrameContentSequence", FrameAcquisitionDuration=1e300), NoUsablePet, "1e+300 ms"),
    "values beyond all numbers": (
        in_group("RealWorldValueMappingSequence", RealWorldValueSlope=1e300),
        NotQuantifiable,
        "no numbers",
    ),
    "no weight": (sets(PatientWeight=""), NotQuantifiable, "PatientWeight"),
}


@pytest.mark.parametrize(("change", "error", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_pet_that_cannot_be_measured_is_refused_with_one_sentence(
    tmp_path: Path, change: Change, error: type[Rejected], words: str
) -> None:
    written(tmp_path, EnhancedSpec(shuffled=False), change)
    with pytest.raises(error) as told:
        load(read(tmp_path))
    assert words in str(told.value)
    assert str(told.value).endswith(".")
    assert not any(word in str(told.value) for word in ("Muster", "Maria", "1960"))


REFUSED_CT: dict[str, tuple[Change, str]] = {
    "effective atomic numbers": (
        in_shared("PixelValueTransformationSequence", RescaleType="Z_EFF"),
        "its values are Z_EFF, not HU",
    ),
    "a localizer": (in_shared("CTImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]), "localizer"),
    "several phases": (
        twice_at_each_place(in_group("FrameContentSequence", TemporalPositionIndex=lambda n: n % 2 + 1)),
        "several time points",
    ),
    "no orientation": (lacks("PlaneOrientationSequence"), "is an enhanced CT that has no PlaneOrientationSequence"),
    "another frame of reference": (sets(FrameOfReferenceUID="2.25.9"), "another frame of reference"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED_CT.values(), ids=REFUSED_CT.keys())
def test_a_ct_that_does_not_fit_is_refused_with_one_sentence(tmp_path: Path, change: Change, words: str) -> None:
    written(tmp_path, EnhancedSpec(shuffled=False), change_ct=change)
    with pytest.raises(NoUsableCt, match=words):
        read(tmp_path)


def test_a_sound_pet_beside_one_that_cannot_be_read_is_taken(tmp_path: Path) -> None:
    good, bad = EnhancedSpec(), EnhancedSpec(series="PET reformatted")
    written(tmp_path, good)
    objects = pet_objects(SUV, GRID, bad)
    lacks("PlanePositionSequence")(objects)
    write(tmp_path, objects)
    assert read(tmp_path).pet.description == good.series


def test_of_two_agents_the_one_that_the_frames_show_counts(tmp_path: Path) -> None:
    """A second radiopharmaceutical of the session, as after a Rb-82 scan, is not what these frames show (C.7.6.16.2.19)."""

    def add_agent(objects: list[Dataset]) -> None:
        (first,) = objects[0].RadiopharmaceuticalInformationSequence
        other = copy.deepcopy(first)
        other.RadiopharmaceuticalAgentNumber, other.RadionuclideTotalDose, other.RadionuclideHalfLife = 2, "999", "75"
        objects[0].RadiopharmaceuticalInformationSequence = [first, other]

    assert suv_conversion(read(written(tmp_path, EnhancedSpec(), add_agent)).pet).dose_bq == 3e8


def test_a_dose_that_a_maker_wrote_in_becquerel_is_told_by_its_size(tmp_path: Path) -> None:
    """C.8.22.4 has MBq; 300000000 MBq is no dose."""

    def in_bq(objects: list[Dataset]) -> None:
        objects[0].RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "300000000"

    assert suv_conversion(read(written(tmp_path, EnhancedSpec(), in_bq)).pet).dose_bq == 3e8


def test_two_mappings_the_activity_counts(tmp_path: Path) -> None:
    """Beside Bq/ml many makers map to SUV as well; both are the same, and the activity is what the factor is told for."""
    change = second_mapping(RealWorldValueSlope=1e-4, MeasurementUnitsCodeSequence=[unit("{SUVbw}g/ml")])
    assert suv_conversion(read(written(tmp_path, EnhancedSpec(), change)).pet).units == "BQML"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
def test_a_damaged_frame_is_named(tmp_path: Path, syntax: UID) -> None:
    grid = make_grid(4, (32, 40))
    suv = np.random.default_rng(4).uniform(0.0, 9.0, grid.shape).astype(np.float32)
    (path,) = write(tmp_path, pet_objects(suv, grid, EnhancedSpec(shuffled=False)))
    rewritten(path, syntax)
    content = bytearray(path.read_bytes())
    start = content.rindex(b"\xfe\xff\x00\xe0") + 8
    content[start : start + 60] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(IncompleteSeries, match="frame 4 of instance 1"):
        read_pet(pet_of(tmp_path))


def test_a_file_that_was_cut_off_is_told(tmp_path: Path) -> None:
    (path,) = write(tmp_path, pet_objects(SUV, GRID, EnhancedSpec()))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NotDicom, match="cut off"):
        read_instance(path)

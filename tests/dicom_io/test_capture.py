"""fusion.dcm and fusion.png."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import Patient, make_analysis, make_case
from PIL import Image
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from analysis.values import Tracer
from dicom_io.capture import FRAMES, write_fusion
from dicom_io.page import frame, still_page
from dicom_io.scene import build_scene
from dicom_io.studies import DualTracerPair


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DualTracerPair, Dataset, bytes]:
    pair, analysis = make_case(tmp_path_factory.mktemp("case"), patient=Patient(name="M\u00fcller^Zo\u00eb"))
    return pair, *write_fusion(pair, analysis)


def test_a_turning_colour_picture_in_the_pentixafor_study(made: tuple[DualTracerPair, Dataset, bytes]) -> None:
    pair, ds, _ = made
    assert ds.StudyInstanceUID == pair.pentixafor.study.study_instance_uid
    assert ds.SOPClassUID.name == "Multi-frame True Color Secondary Capture Image Storage"
    assert ds.NumberOfFrames == FRAMES
    assert ds.pixel_array.shape == (FRAMES, ds.Rows, ds.Columns, 3)
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian  # which every archive takes
    assert "research use only" in ds.SeriesDescription
    assert str(ds.PatientName) == "M\u00fcller^Zo\u00eb"
    uids = {x.ReferencedSOPInstanceUID for x in ds.SourceImageSequence}
    assert uids == {i.sop_instance_uid for t in Tracer for i in pair.study(t).pet.instances}


def test_red_green_and_yellow_are_where_the_tracers_are(made: tuple[DualTracerPair, Dataset, bytes]) -> None:
    red, green, blue = np.moveaxis(made[1].pixel_array[0].astype(int), -1, 0)
    assert ((red > 180) & (green < 110) & (blue < 110)).sum() > 20
    assert ((green > 180) & (red < 130) & (blue < 130)).sum() > 20
    assert ((red > 180) & (green > 150) & (blue < 130)).sum() > 20
    assert (made[1].pixel_array[0] != made[1].pixel_array[FRAMES // 4]).any()


def test_the_still_is_a_picture_of_both_views(made: tuple[DualTracerPair, Dataset, bytes]) -> None:
    picture = Image.open(io.BytesIO(made[2]))
    assert picture.format == "PNG"
    assert picture.width > picture.height > 800


def test_no_lesion_still_gives_a_picture(tmp_path: Path) -> None:
    pair, analysis = make_case(tmp_path, ())
    ds, png = write_fusion(pair, analysis)
    assert ds.NumberOfFrames == FRAMES
    assert png.startswith(b"\x89PNG")


def test_it_plays_as_a_cine(made: tuple[DualTracerPair, Dataset, bytes]) -> None:
    """PS3.3 C.7.6.5: a frame time, and that frames are stepped by it; a turn takes three seconds, round and round."""
    ds = made[1]
    assert ds.FrameIncrementPointer == Tag("FrameTime")
    assert ds.FrameTime * ds.NumberOfFrames == 3000
    assert ds.RecommendedDisplayFrameRate == ds.CineRate == 8
    assert ds.PreferredPlaybackSequencing == 0
    assert 360 % ds.NumberOfFrames == 0
    assert 90 * ds.NumberOfFrames % 360 == 0  # the sides themselves are among the frames


def test_the_same_pair_gives_the_same_bytes(made: tuple[DualTracerPair, Dataset, bytes], tmp_path: Path) -> None:
    pair, first, picture = made
    again, picture_again = write_fusion(pair, make_analysis())
    assert picture == picture_again
    for ds, name in ((first, "a"), (again, "b")):
        ds.save_as(tmp_path / name, enforce_file_format=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_word_of_the_header_stands_in_the_pixels(made: tuple[DualTracerPair, Dataset, bytes]) -> None:
    """Neither name, number, dates nor accession: BurnedInAnnotation NO is true."""
    pair, ds, _ = made
    analysis = make_analysis()
    scene = build_scene(analysis)
    pages = (frame(scene, analysis, pair.gap_days, 0.0), still_page(scene, analysis, pair.gap_days))
    shown = " ".join(written.text for page in pages for written in page.written)
    header = pair.pentixafor.pet.header
    for keyword in ("PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber"):
        assert str(header[keyword].value) not in shown, keyword
    for part in ("M\u00fcller", "Muller", "Zo"):
        assert part not in shown
    assert ds.BurnedInAnnotation == "NO"


@pytest.mark.peer("dciodvfy")
def test_dciodvfy_finds_no_error(
    made: tuple[DualTracerPair, Dataset, bytes], tmp_path: Path, program: Callable[[str], str]
) -> None:
    path = tmp_path / "fusion.dcm"
    made[1].save_as(path, enforce_file_format=True)
    told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []


@pytest.mark.peer("dcmj2pnm")
def test_dcmtk_shows_the_same_pixels(
    made: tuple[DualTracerPair, Dataset, bytes], tmp_path: Path, program: Callable[[str], str]
) -> None:
    """A decoder that is not pydicom: the quarter turn, pixel by pixel."""
    path, picture = tmp_path / "fusion.dcm", tmp_path / "frame.ppm"
    made[1].save_as(path, enforce_file_format=True)
    quarter = FRAMES // 4
    command = [program("dcmj2pnm"), "+op", "+F", str(quarter + 1), path, picture]
    subprocess.run(command, check=True, capture_output=True)
    assert np.array_equal(np.asarray(Image.open(picture)), made[1].pixel_array[quarter])

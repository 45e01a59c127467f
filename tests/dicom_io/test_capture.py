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

from analysis.values import Tracer
from dicom_io.capture import FRAMES, write_fusion
from dicom_io.panel import measures
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


def test_the_table_shows_a_dash_for_what_is_undefined() -> None:
    lines = {line.name: line for line in measures(make_analysis(()))}
    assert (lines["lesions"].fdg, lines["highest SUV"].fdg) == ("0", "-")
    assert {line.name: line for line in measures(make_analysis())}["highest SUV"].pentixafor == "10.2"


@pytest.mark.peer("dciodvfy")
def test_dciodvfy_finds_no_error(
    made: tuple[DualTracerPair, Dataset, bytes], tmp_path: Path, program: Callable[[str], str]
) -> None:
    path = tmp_path / "fusion.dcm"
    made[1].save_as(path, enforce_file_format=True)
    told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []

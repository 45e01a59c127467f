"""What `duet suv` reports of a folder, and the volume it writes."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.errors import BadSettings, NoUsablePet
from dicom_io.headers import group, read_folder
from dicom_io.inspection import save_nifti, suv_report
from dicom_io.volumes import read_pet


def test_report_is_plain_json_and_tells_each_rule(scans, tmp_path: Path) -> None:
    """Every alternative has the same five words; a rule without a time has null for what rests on it."""
    scans.write(tmp_path, scans.pet(3, SeriesTime="113000", FrameReferenceTime="60000"))
    report = suv_report(tmp_path).as_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["reference_rule"].startswith("AcquisitionTime - FrameReferenceTime")
    assert report["rule"].endswith(report["reference_rule"])
    assert [other["rule"] for other in report["alternatives"]] == ["SeriesTime", "earliest AcquisitionTime"]
    late = report["alternatives"][0]
    assert set(late) == {"rule", "reference_time", "suv_factor", "difference_percent", "why_not"}
    assert late["reference_time"] == "2026-03-10T11:30:00"
    assert "90 min after the first acquisition (10:00:00)" in late["why_not"]
    assert (late["suv_factor"] / report["suv_factor"] - 1) * 100 == pytest.approx(late["difference_percent"], rel=1e-9)


def test_a_nifti_that_cannot_be_written_is_refused_and_leaves_nothing(scans, tmp_path: Path) -> None:
    volume = read_pet(group(read_folder(_folder(scans, tmp_path))[0])[0].series[0])
    with pytest.raises(BadSettings, match="cannot be written"):
        save_nifti(volume, tmp_path / "none" / "suv.nii.gz")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # stands for a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limit[1]))
        for name in ("suv.nii", "suv.nii.gz"):
            with pytest.raises(BadSettings, match="cannot be written"):
                save_nifti(volume, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [p.name for p in tmp_path.iterdir()] == ["pet"]


def test_report_of_a_folder_tells_what_is_odd(scans, tmp_path: Path) -> None:
    scans.write(tmp_path, scans.pet(6)[:5])
    (tmp_path / "notes.txt").write_text("no DICOM")
    warnings = suv_report(tmp_path).warnings
    assert any("5 of the 6 slices" in warning for warning in warnings)
    assert any("notes.txt" in warning for warning in warnings)


def test_report_of_an_unsuitable_folder(scans, tmp_path: Path) -> None:
    with pytest.raises(NoUsablePet, match="no DICOM file"):
        suv_report(tmp_path)
    scans.write(tmp_path / "ct", scans.ct())
    with pytest.raises(NoUsablePet, match="no PET series"):
        suv_report(tmp_path)
    scans.write(tmp_path / "one", scans.pet())
    scans.write(tmp_path / "two", scans.pet(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4"))
    with pytest.raises(NoUsablePet, match="2 studies"):
        suv_report(tmp_path)


def test_suv_values_in_the_nifti(scans, tmp_path: Path) -> None:
    """Voxel (k, j, i) lies at the same place, RAS being LPS with x and y turned round."""
    volume = read_pet(group(read_folder(_folder(scans, tmp_path))[0])[0].series[0])
    save_nifti(volume, tmp_path / "suv.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "suv.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.values)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((3, 2, 1)), volume.grid.to_world((1, 2, 3)), atol=1e-4)


def _folder(scans, tmp_path: Path) -> Path:
    scans.write(tmp_path / "pet", scans.pet())
    return tmp_path / "pet"

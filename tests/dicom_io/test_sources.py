"""Results of enhanced studies name each SOP instance once, and frames by their numbers."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from enhanced_cases import write
from enhanced_scans import EnhancedSpec, ct_objects, pet_objects
from factories import make_case
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedPETImageStorage

from analysis.values import PatientAnalysis, Tracer
from dicom_io.capture import capture
from dicom_io.derived import Case
from dicom_io.headers import group, read_folder
from dicom_io.seg import write_segs
from dicom_io.seg_reader import mask_of, read_seg
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.studies import DualTracerPair
from dicom_io.tracers import recognise

Enhanced = tuple[DualTracerPair, DualTracerPair, PatientAnalysis]


@pytest.fixture(params=[1, 3], ids=["one file", "three files"])
def cases(request: pytest.FixtureRequest, tmp_path: Path) -> Enhanced:
    """A classic pair; the same with an enhanced FDG study, its frames in no order; and the analysis that fits both."""
    classic, analysis = make_case(tmp_path / "classic")
    scan, spec = analysis.aligned.fdg, EnhancedSpec(patient_id="TEST01", instances=request.param, series="PET FDG")
    objects = [*pet_objects(scan.pet.values, scan.pet.grid, spec), *ct_objects(scan.ct.values, scan.ct.grid, spec)]
    write(tmp_path / "enhanced", objects)
    (study,) = group(read_folder(tmp_path / "enhanced")[0])
    return classic, dataclasses.replace(classic, fdg=recognise(study)), analysis


def seg_of(pair: DualTracerPair, analysis: PatientAnalysis) -> Dataset:
    (ds,) = write_segs(pair, analysis, Tracer.FDG)
    return ds


def test_each_frame_of_a_seg_refers_to_the_frame_on_whose_place_it_lies(cases: Enhanced) -> None:
    _, pair, analysis = cases
    files = {str(ds.SOPInstanceUID): ds for ds in (dcmread(i.path) for i in pair.fdg.pet.instances)}
    ds = seg_of(pair, analysis)
    for item in ds.PerFrameFunctionalGroupsSequence:
        (source,) = item.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPClassUID == EnhancedPETImageStorage
        frame = files[source.ReferencedSOPInstanceUID].PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert list(item.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(list(place))
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == pair.fdg.pet.series_instance_uid
    for references in (series.ReferencedInstanceSequence, ds.get("SourceImageSequence", series.ReferencedInstanceSequence)):
        assert sorted(x.ReferencedSOPInstanceUID for x in references) == sorted(files)


def test_the_seg_holds_the_voxels_of_that_of_the_classic_images(cases: Enhanced, tmp_path: Path) -> None:
    classic, pair, analysis = cases
    found = []
    for name, each in (("a", classic), ("b", pair)):
        seg_of(each, analysis).save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
        found.append(read_seg(tmp_path / f"{name}.dcm"))
    one, other = found
    np.testing.assert_allclose(one.labelmap.grid.affine, other.labelmap.grid.affine, atol=1e-6)
    for segment in one.segments:
        np.testing.assert_array_equal(mask_of(one, segment.number), mask_of(other, segment.number))


@pytest.mark.peer("dciodvfy", "dcmqi")
def test_peers_accept_the_seg_and_find_the_lesions_at_their_places(
    cases: Enhanced, tmp_path: Path, program: Callable[[str], str]
) -> None:
    _, pair, analysis = cases
    path = tmp_path / "seg.dcm"
    seg_of(pair, analysis).save_as(path, enforce_file_format=True)
    told = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == []
    command = [program("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", tmp_path, "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(tmp_path / "1.nrrd"))
    labels = sitk.GetArrayFromImage(image)
    for lesion in analysis.lesions[Tracer.FDG].lesions:
        where = np.argwhere(labels == lesion.label)
        centre = image.TransformContinuousIndexToPhysicalPoint([float(x) for x in where.mean(axis=0)[::-1]])
        assert centre == pytest.approx(lesion.centroid_mm, abs=1e-3)


def test_reports_and_picture_name_each_instance_once(cases: Enhanced) -> None:
    _, pair, analysis = cases
    pets = {i.sop_instance_uid for i in pair.fdg.pet.instances}
    images = pets | {i.sop_instance_uid for i in pair.fdg.ct.instances}
    seg = seg_of(pair, analysis)
    report = write_tracer_sr(pair, analysis, Tracer.FDG, [seg])
    assert named(report.CurrentRequestedProcedureEvidenceSequence) == sorted({*images, seg.SOPInstanceUID})
    both = write_pair_sr(pair, analysis, {Tracer.FDG: [seg]})
    assert named(both.PertinentOtherEvidenceSequence) == sorted({*images, seg.SOPInstanceUID})
    picture = capture(Case(pair=pair, analysis=analysis), np.zeros((1, 4, 4, 3), np.uint8))
    listed = [str(x.ReferencedSOPInstanceUID) for x in picture.SourceImageSequence]
    assert sorted(listed) == sorted(pets | {i.sop_instance_uid for i in pair.pentixafor.pet.instances})


def named(evidence: list[Dataset]) -> list[str]:
    return sorted(
        str(item.ReferencedSOPInstanceUID)
        for study in evidence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    )


def test_the_uid_of_a_pair_depends_on_its_sop_instances_alone(cases: Enhanced) -> None:
    _, pair, _ = cases
    fdg = dataclasses.replace(
        pair.fdg, pet=dataclasses.replace(pair.fdg.pet, instances=pair.fdg.pet.instances[::-1]), ct=pair.fdg.ct
    )
    assert dataclasses.replace(pair, fdg=fdg).uid == pair.uid

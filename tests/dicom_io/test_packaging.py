"""The objects as IHE AI Results wants them, attribute by attribute: what `packaging.AI_RESULTS` claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import objects
import pytest
import srtree
from factories import make_case
from pydicom import Dataset

from analysis.values import Model, PatientAnalysis, Tracer
from dicom_io.packaging import AI_RESULTS
from dicom_io.studies import DualTracerPair

SEGMENTER = Model(name="net", version="3.1", manufacturer="maker A", weights_sha256="11" * 32)
ANATOMY = Model(name="total", version="2.0", manufacturer="maker B", weights_sha256="22" * 32)
Made = tuple[DualTracerPair, PatientAnalysis, dict[str, Dataset]]


def modelled(analysis: PatientAnalysis, segmenter: Model = SEGMENTER) -> PatientAnalysis:
    lesions = {t: replace(found, model=segmenter) for t, found in analysis.lesions.items()}
    return replace(analysis, lesions=lesions, anatomy={t: replace(a, model=ANATOMY) for t, a in analysis.anatomy.items()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    pair, analysis = make_case(tmp_path_factory.mktemp("case") / "in")
    analysis = modelled(analysis)
    return pair, analysis, objects.build(pair, analysis)


def algorithms(ds: Dataset) -> dict[str, Dataset]:
    """By role; highdicom adds itself and the scanner."""
    processing = [x for x in ds.ContributingEquipmentSequence if x.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"]
    ours = [x for x in processing if x.get("ManufacturerModelName") != "highdicom"]
    return {x.ContributionDescription: x for x in ours}


def reports(made: Made) -> Iterator[tuple[str, Dataset]]:
    return ((name, ds) for name, ds in made[2].items() if ds.Modality == "SR")


def test_every_algorithm_is_contributing_equipment(made: Made) -> None:
    for name, ds in made[2].items():
        found = algorithms(ds)
        roles = {role.split(" ", 1)[1] for role in found}
        assert roles == {"lesion segmentation", "anatomy", "of the CTs"}, name
        for item in found.values():
            assert all(item[k].value for k in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID"))
        segmenter = next(item for role, item in found.items() if "segmentation" in role)
        assert (segmenter.Manufacturer, segmenter.ManufacturerModelName) == ("maker A", "net")
        assert segmenter.SoftwareVersions == "3.1"


def test_other_weights_are_another_device_and_another_result(made: Made) -> None:
    pair, analysis, before = made
    after = objects.build(pair, modelled(analysis, replace(SEGMENTER, weights_sha256="33" * 32)))
    for name, ds in after.items():
        for role, item in algorithms(ds).items():
            same = item.DeviceUID == algorithms(before[name])[role].DeviceUID
            assert same == ("segmentation" not in role), (name, role)
        assert ds.SOPInstanceUID != before[name].SOPInstanceUID
        assert ds.SeriesInstanceUID != before[name].SeriesInstanceUID


def test_every_object_says_what_it_is_not_for(made: Made) -> None:
    for name, ds in made[2].items():
        assert ds.ContentQualification == "RESEARCH", name
        assert "research use only" in ds.SeriesDescription, name
    for name, ds in reports(made):
        assert (ds.VerificationFlag, ds.PreliminaryFlag, ds.CompletionFlag) == ("UNVERIFIED", "PRELIMINARY", "COMPLETE"), name
        assert srtree.statements(ds)[0].startswith("Research use only")
        assert srtree.concept(ds) == "PET Measurement Report"  # 126003: OHIF throws on 126000 with segments alone


def test_results_lie_in_the_study_of_their_images(made: Made) -> None:
    pair = made[0]
    for name, ds in made[2].items():
        tracer = Tracer.FDG if name.endswith("fdg") else Tracer.PENTIXAFOR
        header = pair.study(tracer).pet.header
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyDate"):
            assert ds[keyword].value == header[keyword].value, (name, keyword)
    assert len({ds.SeriesInstanceUID for ds in made[2].values()}) == len(made[2])


def test_the_procedure_reported_is_the_imaging(made: Made) -> None:
    found = {
        name: [
            srtree.meaning(x.ConceptCodeSequence)
            for x in srtree.children(ds)
            if srtree.concept(x).lower() == "procedure reported"
        ]
        for name, ds in reports(made)
    }
    assert found["sr-fdg"] == ["PET/CT FDG imaging of whole body"]
    assert found["sr-pentixafor"] == ["PET whole body"]
    assert sorted(found["sr-pair"]) == sorted(found["sr-fdg"] + found["sr-pentixafor"])


def test_devices_observe_under_the_uids_of_the_equipment(made: Made) -> None:
    for name, ds in reports(made):
        uids = [str(x.UID) for x in srtree.children(ds) if srtree.concept(x) == "Device Observer UID"]
        assert len(uids) == len(set(uids)) == 4, name  # duet, segmenter, anatomy, registration
        assert {item.DeviceUID for item in algorithms(ds).values()} <= set(uids)
        types = [x for x in srtree.children(ds) if srtree.concept(x) == "Observer Type"]
        assert len(types) == 4


def test_tracking_uids_are_those_of_the_segments(made: Made) -> None:
    for tracer, name in ((Tracer.FDG, "fdg"), (Tracer.PENTIXAFOR, "pentixafor")):
        seg, groups = made[2][f"seg-{name}"], srtree.groups(made[2][f"sr-{name}"])
        for segment in seg.SegmentSequence:
            group = groups[segment.TrackingID]
            assert group.uid == segment.TrackingUID
            assert group.segment == (seg.SOPInstanceUID, segment.SegmentNumber)
            assert group.source_series == made[0].study(tracer).pet.series_instance_uid
            algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
            assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("net", "3.1")
            assert group.texts["Algorithm Name"] == ["net"]
            assert group.texts["Algorithm Version"] == ["3.1"]
    for _, ds in reports(made):
        uids = [g.uid for g in srtree.groups(ds).values()]
        assert all(uids)
        assert len(set(uids)) == len(uids)


def test_all_images_and_segmentations_are_evidence(made: Made) -> None:
    pair, _, found = made
    images = {t: {i.sop_instance_uid for s in (pair.study(t).pet, pair.study(t).ct) for i in s.instances} for t in Tracer}
    for tracer, name in ((Tracer.FDG, "fdg"), (Tracer.PENTIXAFOR, "pentixafor")):
        expected = images[tracer] | {found[f"seg-{name}"].SOPInstanceUID}
        study = pair.study(tracer).study.study_instance_uid
        assert srtree.references(found[f"sr-{name}"]) == {study: expected}
        assert srtree.references(found["sr-pair"])[study] == expected


def test_the_claims_are_sentences_of_the_conformance_statement() -> None:
    assert len(dict(AI_RESULTS)) == len(AI_RESULTS)
    assert all(claim and how and "\n" not in claim + how for claim, how in AI_RESULTS)

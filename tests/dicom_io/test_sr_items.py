"""Our items of a report against those that highdicom's own classes make, element by element."""

from __future__ import annotations

import highdicom.sr as hd
from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.values import Model
from dicom_io import codes
from dicom_io.sr_items import algorithm, evaluation, finding_site, group, number, segment, text
from dicom_io.sr_text import legible

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
MODEL = Model(name="net", version="3", manufacturer="somebody")
TRACKING = hd.TrackingIdentifier(uid="1.2.3.4", identifier="F1")
SITES = [hd.FindingSite(codes.SPLEEN, laterality=codes.LEFT)]
EVALUATIONS = [hd.QualitativeEvaluation(codes.SITE_CERTAINTY, codes.SITE_CERTAINTIES[True])]


def ours(template: str, category: Code | None, *more: Dataset) -> Dataset:
    content = [
        finding_site(codes.SPLEEN, codes.LEFT),
        *algorithm(MODEL),
        number(codes.SUVBW, 12.3456789, codes.SUV, derivation=codes.MEAN, method=codes.SUVBW_METHOD, site=codes.LIVER),
        number(codes.METABOLIC_VOLUME, 1e-7 / 3, codes.MILLILITRE),
        evaluation(codes.SITE_CERTAINTY, codes.SITE_CERTAINTIES[True]),
    ]
    return group(template, ("1.2.3.4", "F1"), (category, codes.LESION), [*content, *more])


def measurements() -> list[hd.Measurement]:
    suv = hd.Measurement(
        codes.SUVBW,
        12.3456789,
        codes.SUV,
        derivation=codes.MEAN,
        method=codes.SUVBW_METHOD,
        finding_sites=[hd.FindingSite(codes.LIVER)],
    )
    return [suv, hd.Measurement(codes.METABOLIC_VOLUME, 1e-7 / 3, codes.MILLILITRE)]


def by_highdicom() -> dict[str, object]:
    identification = hd.AlgorithmIdentification("net", "3", family=codes.ARTIFICIAL_INTELLIGENCE, manufacturer="somebody")
    return {
        "tracking_identifier": TRACKING,
        "finding_type": codes.LESION,
        "finding_sites": SITES,
        "algorithm_id": identification,
        "measurements": measurements(),
        "qualitative_evaluations": EVALUATIONS,
    }


def test_a_lesion_is_as_highdicom_writes_it() -> None:
    seg = Dataset()
    seg.SOPClassUID, seg.SOPInstanceUID = SEG, "1.2.5"
    reference = hd.ReferencedSegment(SEG, "1.2.5", 7, source_series=hd.SourceSeriesForSegmentation("1.2.6"))
    theirs = hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **by_highdicom(), referenced_segment=reference, finding_category=codes.ABNORMAL_STRUCTURE
    )
    mine = ours("1411", codes.ABNORMAL_STRUCTURE, *segment(seg, 7, "1.2.6"))
    assert mine.to_json_dict() == theirs[0].to_json_dict()


def test_a_group_of_measurements_is_as_highdicom_writes_it() -> None:
    theirs = hd.MeasurementsAndQualitativeEvaluations(**by_highdicom())[0]
    words = hd.TextContentItem(codes.COMMENT, "so", relationship_type=hd.RelationshipTypeValues.CONTAINS)
    theirs.ContentSequence.append(words)
    assert ours("1501", None, text(codes.COMMENT, "so")).to_json_dict() == theirs.to_json_dict()


def test_items_of_one_concept_have_their_own_values() -> None:
    first, second = (number(codes.SUVBW, x, codes.SUV) for x in (1.5, 2.5))
    assert [x.MeasuredValueSequence[0].FloatingPointValue for x in (first, second)] == [1.5, 2.5]
    assert [text(codes.COMMENT, x).TextValue for x in "ab"] == ["a", "b"]
    other = Code(codes.COMMENT.value, codes.COMMENT.scheme_designator, "another meaning")
    assert text(other, "c").ConceptNameCodeSequence[0].CodeMeaning == "another meaning"


def test_what_is_made_legible_leaves_the_shared_items_as_they_were() -> None:
    before = ours("1501", None).to_json_dict()
    shown = ours("1501", None)
    legible(shown)
    assert shown.ContinuityOfContent == "SEPARATE"
    assert ours("1501", None).to_json_dict() == before

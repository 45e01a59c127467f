"""The reports: TID 1500, one for each tracer and one for the pair, each in its own series.

Comprehensive 3D SR, as IHE AI Results wants it, or Enhanced SR for archives that refuse it. The tree holds no coordinates,
tables or references within itself, which Enhanced SR does not know, so it is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from highdicom.sr import (
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import Comprehensive3DSRStorage, EnhancedSRStorage

from analysis.values import LesionSet, Model, PatientAnalysis, Tracer, Verdict
from dicom_io import codes
from dicom_io.derived import (
    MANUFACTURER,
    RESEARCH,
    RESEARCH_SENTENCE,
    STANDARD_OBJECTS,
    Case,
    Kind,
    ObjectSettings,
    SrForm,
    ascii_text,
    device_uid,
    models,
    new_object,
)
from dicom_io.sources import references
from dicom_io.sr_groups import feature_groups, finding_group, lesion_group, site_group, total_groups
from dicom_io.sr_items import container, like, text
from dicom_io.sr_text import legible
from dicom_io.studies import DualTracerPair, TracerStudy

STORAGE = {SrForm.COMPREHENSIVE_3D: Comprehensive3DSRStorage, SrForm.ENHANCED: EnhancedSRStorage}


def write_tracer_sr(
    pair: DualTracerPair,
    analysis: PatientAnalysis,
    tracer: Tracer,
    segs: Sequence[Dataset],
    *,
    objects: ObjectSettings = STANDARD_OBJECTS,
) -> Dataset:
    """The report of one tracer, in its own study; segs: all that write_segs gave, empty without lesions."""
    case = Case(pair=pair, analysis=analysis, objects=objects)
    lesions = analysis.lesions[tracer].lesions
    groups: list[Dataset] = [lesion_group(case, lesion, segs) for lesion in lesions]
    groups += [*total_groups(case, [tracer]), *feature_groups(case, tracer)]
    texts = [count_sentence(analysis.lesions[tracer]), *_site_sentence(analysis.lesions[tracer])]
    if len(segs) > 1:
        texts.append(f"The lesions lie in {len(segs)} segmentation series, as viewers show at most 255 segments of one.")
    return _document(case, Kind.sr(tracer), [tracer], segs, groups, texts)


def write_pair_sr(
    pair: DualTracerPair,
    analysis: PatientAnalysis,
    segs: Mapping[Tracer, Sequence[Dataset]],
    *,
    objects: ObjectSettings = STANDARD_OBJECTS,
) -> Dataset:
    """The report of both tracers, in the PentixaFor study: sites of disease, features, quality of the data."""
    case = Case(pair=pair, analysis=analysis, objects=objects)
    order = [Tracer.PENTIXAFOR, Tracer.FDG]
    groups: list[Dataset] = [site_group(case, match) for match in analysis.matches]
    groups += total_groups(case, Tracer)
    groups += [group for tracer in Tracer for group in feature_groups(case, tracer)]
    groups += [finding_group(case, finding) for finding in analysis.findings]
    texts = [count_sentence(analysis.lesions[t]) for t in Tracer]
    texts += _uncertain_sentence(analysis) + _quality_sentence(analysis)
    given = [seg for tracer in order for seg in segs.get(tracer, ())]
    return _document(case, Kind.SR_PAIR, order, given, groups, texts)


def count_sentence(found: LesionSet) -> str:
    """How many lesions there are, or that and why nothing looked for them."""
    tracer, count = found.tracer, len(found.lesions)
    if found.not_run:
        return f"Lesions were not segmented on {tracer}: {found.not_run}"
    if count == 0:
        return f"No {tracer} lesion was found (0 lesions)."
    return f"{count} {tracer} lesion{'s were' if count > 1 else ' was'} found."


def _uncertain_sentence(analysis: PatientAnalysis) -> list[str]:
    doubtful = [m for m in analysis.matches if not m.certain]
    if not doubtful:
        return []
    errors = [analysis.aligned.quality.error_mm if m.error_mm is None else m.error_mm for m in doubtful]
    low, high = f"{min(errors):.1f}", f"{max(errors):.1f}"
    error = low if low == high else f"{low} to {high}"
    names = _list([m.name for m in doubtful])
    return [f"Concordance is uncertain within the registration error there of {error} mm: {names}."]


def _site_sentence(found: LesionSet) -> list[str]:
    names = [x.id for x in found.lesions if not x.site_certain]
    if not names:
        return []
    return [f"Medullary or extramedullary is uncertain where CT and PET lie a little apart: {_list(names)}."]


def _list(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _quality_sentence(analysis: PatientAnalysis) -> list[str]:
    found = [f for f in analysis.findings if f.verdict is not Verdict.OK]
    if not found:
        return [f"All {len(analysis.findings)} quality checks are fine."] if analysis.findings else []
    return [f"Quality, {f.verdict}: {f.name}: {f.message}" for f in found]


def _document(
    case: Case, kind: Kind, tracers: Sequence[Tracer], segs: Sequence[Dataset], groups: Sequence[Dataset], texts: Sequence[str]
) -> Dataset:
    """The SR of these groups and sentences, in the study of the first tracer.

    The document's frame is written here, since highdicom's class copies the whole content several times.
    """
    report = _report(_observers(case, tracers), tracers, groups, texts)
    legible(report)
    ds = new_object(case, kind, tracers, STORAGE[case.objects.sr], "SR")
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.update(report)
    _refer(ds, [case.pair.study(t) for t in tracers], segs)
    return ds


def _report(
    observers: ObservationContext, tracers: Sequence[Tracer], groups: Sequence[Dataset], texts: Sequence[str]
) -> Dataset:
    """The tree (TID 1500): highdicom's, made with a group that stands for all, and ours in its place."""
    stand_in = MeasurementsAndQualitativeEvaluations(TrackingIdentifier(uid="1.2.3", identifier="-"))
    procedures = [codes.PROCEDURES[t] for t in tracers]
    report = MeasurementReport(observers, procedures, imaging_measurements=[stand_in], title=codes.PET_MEASUREMENT_REPORT)[0]
    *context, measurements = report.ContentSequence
    content = [*context, like(measurements, ContentSequence=groups), _statements(texts)]
    return like(report, ContentSequence=content)


def _refer(ds: Dataset, studies: Sequence[TracerStudy], segs: Sequence[Dataset]) -> None:
    """All images that were measured, and the segmentations: those of the document's study, and those of the other."""
    images = [x for study in studies for series in (study.pet, study.ct) for x in references(series)]
    by_study: dict[str, dict[str, list[Dataset]]] = {}
    for given in [*images, *segs]:
        item = like(Dataset(), ReferencedSOPClassUID=given.SOPClassUID, ReferencedSOPInstanceUID=given.SOPInstanceUID)
        series = by_study.setdefault(str(given.StudyInstanceUID), {})
        series.setdefault(str(given.SeriesInstanceUID), []).append(item)
    evidence = [_study_item(study, series) for study, series in by_study.items()]
    ds.CurrentRequestedProcedureEvidenceSequence = evidence[:1]
    if len(evidence) > 1:
        ds.PertinentOtherEvidenceSequence = evidence[1:]


def _study_item(study: str, series: Mapping[str, Sequence[Dataset]]) -> Dataset:
    item = Dataset()
    item.ReferencedSeriesSequence = []
    for uid, instances in series.items():
        inner = Dataset()
        inner.ReferencedSOPSequence = list(instances)
        inner.SeriesInstanceUID = uid
        item.ReferencedSeriesSequence.append(inner)
    item.StudyInstanceUID = study
    return item


def _observers(case: Case, tracers: Sequence[Tracer]) -> ObservationContext:
    """duet and what it is for, first; then each algorithm under its roles, with the device UIDs of the equipment."""
    duet = Model(name="duet", version=case.version, manufacturer=MANUFACTURER)
    roles: dict[str, list[str]] = {}
    found = {f"duet, {RESEARCH}": duet, **models(case.analysis, tracers)}
    for role, model in found.items():
        roles.setdefault(device_uid(model), []).append(role)
    context = ObservationContext()
    for uid, names in roles.items():
        model = found[names[0]]
        device = DeviceObserverIdentifyingAttributes(
            uid,
            name=ascii_text(", ".join(names)),
            manufacturer_name=ascii_text(model.manufacturer),
            model_name=ascii_text(model.name),
            serial_number=ascii_text(f"{model.name}-{model.version}"),
        )
        context.extend(ObserverContext(standard.DCM.Device, device))
    return context


def _statements(texts: Sequence[str]) -> Dataset:
    """The sentences that every reader must see, the intended use first."""
    items = [text(codes.INTENDED_USE, RESEARCH_SENTENCE), *(text(codes.LESION_TOTAL, sentence) for sentence in texts)]
    return container(codes.QUALITATIVE_EVALUATIONS, items)

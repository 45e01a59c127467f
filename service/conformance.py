"""The DICOM conformance statement, filled in from the tables that the program itself works with.

The prose stands in conformance.md beside this file; each {{name}} in it is replaced here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.resources import files

from pydicom import uid as uids
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import CTImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage, PositronEmissionTomographyImageStorage
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io import codes, seg, sr
from dicom_io.cohort_occasion import CohortKind
from dicom_io.derived import COPIED, MANUFACTURER, RESEARCH, STANDARD_OBJECTS, Kind, SegForm, SrForm
from dicom_io.document import MIME_TYPE
from dicom_io.enhanced import ENHANCED
from dicom_io.packaging import AI_RESULTS
from dicom_io.pairing import PairingSettings
from dicom_io.seg_reader import LABELMAP_STORAGE
from service import commitment, commitment_promises
from service.commitments import MOST_REFUSALS
from service.config import NodeSettings
from service.destinations import DeliverySettings
from service.keeping import STATUSES
from service.outbox import MOST_ASKS
from service.readiness import IntakeSettings
from service.receiver import MAXIMUM_PDU, ReceiverSettings
from service.registrar import PATIENCE_S
from service.retention import RetentionSettings
from service.retrieval import Archive, RetrievalSettings
from service.retrieval_answers import KEYS
from service.retrieval_link import CUT_OFF, FIND, GET, MOVE, PATIENCE, STORED, SYNTAXES, UNKNOWN_DESTINATION
from service.retrieval_study import LIST
from service.storage import ANSWER_S, KIND_REFUSED, WARNINGS
from service.stow import MEANINGS
from service.stow_session import ENDS_S, LONGEST_MB, SLOWEST

MEASURED = (PositronEmissionTomographyImageStorage, CTImageStorage, *ENHANCED)
UNCOMPRESSED = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.DeflatedExplicitVRLittleEndian,
)

# What a PET must bear, and for what (docs/METHOD.md).
NEEDED = (
    (
        "RadiopharmaceuticalInformationSequence, one item",
        "the rows below on isotope, tracer and dose; with several items the study is held",
    ),
    ("RadionuclideHalfLife, else RadionuclideCodeSequence or Radiopharmaceutical", "the isotope; decay correction"),
    ("RadiopharmaceuticalCodeSequence, Radiopharmaceutical, descriptions, or a rule of the site", "the tracer"),
    ("RadionuclideTotalDose, RadiopharmaceuticalStartDateTime or StartTime", "SUV of images in Bq/ml"),
    ("Units (BQML, GML, CM2ML, or CNTS with Philips' private factors), SUVType", "what the values are"),
    (
        "DecayCorrection, series, acquisition and frame reference times, ActualFrameDuration",
        "the time that doses are corrected to",
    ),
    ("RescaleSlope above 0 and RescaleIntercept 0 in each slice", "the values"),
    ("CorrectedImage, AttenuationCorrectionMethod, SeriesType", "that it is a static, attenuation-corrected series"),
    ("PatientWeight; PatientSize and PatientSex for other forms of SUV", "SUV by body weight"),
)


def statement() -> str:
    """The whole statement as Markdown, ending in a line feed."""
    prose = files("service").joinpath("conformance.md").read_text(encoding="utf-8")
    values = {**_settings(), **_network(), **_commitment(), **_retrieval(), **_objects(), **_words()}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], prose)


def _rows(rows: Iterable[Sequence[object]]) -> str:
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _settings() -> dict[str, str]:
    """Defaults of the settings that the statement names."""
    node, receiver, intake, delivery = NodeSettings(), ReceiverSettings(), IntakeSettings(), DeliverySettings()
    return {
        "version": version("duet-node"),
        "ae_title": node.ae_title,
        "port": str(receiver.port),
        "associations": str(receiver.associations),
        "most_mb": str(receiver.max_object_mb),
        "negotiation_s": f"{receiver.negotiation_timeout_s:g}",
        "silence_assoc_s": f"{receiver.silence_timeout_s:g}",
        "settle_s": f"{intake.settle_s:g}",
        "silence_s": f"{intake.silence_s:g}",
        "patience_s": f"{intake.patience_s:g}",
        **_archive(Archive(name="", url="dicom://A@h:1"), RetrievalSettings()),
        "stow_ends_s": f"{ENDS_S:g}",
        "stow_longest_mb": str(LONGEST_MB),
        "stow_silence_s": str(ANSWER_S),
        "stow_slowest_kb": f"{SLOWEST / 1000:g}",
        "first_retry_s": f"{delivery.first_retry_s:g}",
        "longest_retry_s": f"{delivery.longest_retry_s:g}",
        "patience_h": f"{delivery.commitment_patience_s / 3600:g}",
    }


def _archive(archive: Archive, retrieval: RetrievalSettings) -> dict[str, str]:
    return {
        "at_once": str(archive.at_once),
        "archive_timeout_s": f"{archive.timeout_s:g}",
        "archive_patience": str(PATIENCE),
        "arrival_s": f"{archive.arrival_s:g}",
        "tries": str(archive.tries),
        "again_s": f"{archive.again_s:g}",
        "ask_again_h": f"{retrieval.ask_again_s / 3600:g}",
        "max_days": str(PairingSettings().max_days),
    }


def _retrieval() -> dict[str, str]:
    """What is asked of an archive."""
    models = ((FIND, "SCU"), (MOVE, 'SCU, for method "move"'), (GET, 'SCU, for method "get"'))
    return {
        "retrieval_models": _rows((uids.UID(model).name, model, role) for model, role in models),
        "get_classes": _rows((u.name, u) for u in STORED),
        "get_syntaxes": ", ".join(u.name for u in SYNTAXES),
        "query_keys": _rows((level, ", ".join(keys)) for level, keys in KEYS.items()),
        "unknown_destination": f"{UNKNOWN_DESTINATION:04X}",
        "cut_off": ", ".join(f"{code:04X}" for code in CUT_OFF),
        "listed_at_once": str(LIST),
    }


def _network() -> dict[str, str]:
    everything = [u for name in dir(uids) if isinstance(u := getattr(uids, name), uids.UID) and u.is_transfer_syntax]
    decoded = sorted(u for u in set(everything) - set(UNCOMPRESSED) if u.is_encapsulated and _decodes(u))
    return {
        "pdu": str(MAXIMUM_PDU),
        "implementation_uid": str(PYNETDICOM_IMPLEMENTATION_UID),
        "implementation_version": re.sub(r"_\d+$", "_ and its version", PYNETDICOM_IMPLEMENTATION_VERSION),
        "verification_uid": str(Verification),
        "any_uncompressed": ", ".join(u.name for u in UNCOMPRESSED),
        "measured_classes": _rows((u.name, u) for u in MEASURED),
        "decoded_syntaxes": _rows((u.name, u) for u in (*UNCOMPRESSED, *decoded)),
        "patience": f"{PATIENCE_S:.0f}",
        "statuses": _rows((f"{code:04X}", *meaning) for code, meaning in STATUSES.items()),
        "warnings": _rows((f"{code:04X}, a warning", "the object counts as stored; the remark is kept") for code in WARNINGS),
    }


def _commitment() -> dict[str, str]:
    """What the prose says of storage commitment and STOW-RS."""
    codes_named = {
        "no_such_instance": commitment.NO_SUCH_INSTANCE,
        "conflict": commitment.CONFLICT,
        "invalid": commitment.INVALID_ARGUMENT,
        "processing": commitment.PROCESSING_FAILURE,
        "no_such_action": commitment_promises.NO_SUCH_ACTION,
        "kind_refused": KIND_REFUSED,
    }
    return {
        **{name: f"{code:04X}" for name, code in codes_named.items()},
        "commitment_uid": commitment.MODEL,
        "wait_s": f"{commitment.WAIT_S:g}",
        "most_refusals": str(MOST_REFUSALS),
        "most_asks": str(MOST_ASKS),
        "promised_days": str(RetentionSettings().promised_days),
        "promise_days": f"{commitment_promises.MOST_CALLS * commitment_promises.LONGEST_RETRY_S / 86400:.0f}",
        "http_statuses": ", ".join(map(str, MEANINGS)),
    }


def _decodes(syntax: uids.UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _objects() -> dict[str, str]:
    common = (
        ("Manufacturer, ManufacturerModelName", f"{MANUFACTURER}, duet"),
        ("SoftwareVersions, DeviceSerialNumber", "duet's version; duet- and the version"),
        ("ContentQualification", "RESEARCH"),
        ("SeriesDate, SeriesTime, ContentDate, ContentTime", "those of the latest PET: no clock enters an object"),
        (
            "ContributingEquipmentSequence",
            "an item for each algorithm (segmentation, anatomy, registration): manufacturer, model, version, DeviceUID",
        ),
        ("CompletionFlag, VerificationFlag, PreliminaryFlag (reports)", "COMPLETE, UNVERIFIED, PRELIMINARY"),
        ("BurnedInAnnotation (picture)", "NO: nothing in the pixels identifies the patient"),
    )
    return {
        "objects": _rows(_object(kind) for kind in Kind),
        **_cohort(),
        "most_segments": str(seg.MOST_SEGMENTS),
        "common_attributes": _rows(common),
        "copied": ", ".join(COPIED),
        "variants": _rows(_variants()),
        "air": _rows(AI_RESULTS),
        "research": RESEARCH,
        "title": f"{codes.PET_MEASUREMENT_REPORT.value} {codes.PET_MEASUREMENT_REPORT.scheme_designator} "
        f"{codes.PET_MEASUREMENT_REPORT.meaning}",
    }


def _cohort() -> dict[str, str]:
    """The objects of a cohort and what the prose says of them."""
    rows = (
        (f"{kind.stem}.dcm", kind.sop_class_uid.name, kind.sop_class_uid, kind.modality, kind.series_number, "the cohort's")
        for kind in CohortKind
    )
    standard = {"rejected": codes.REJECTED_FOR_QUALITY, "percentile": codes.PERCENTILE}
    named = {name: f"{code.value} {code.scheme_designator} {code.meaning}" for name, code in standard.items()}
    return {"cohort_objects": _rows(rows), "cohort_title": codes.COHORT_REPORT.value, "mime_type": MIME_TYPE, **named}


def _variants() -> Iterable[tuple[str, str, str, str]]:
    for form in SegForm:
        storage = uids.SegmentationStorage if form is SegForm.BINARY else uids.UID(LABELMAP_STORAGE)
        yield (
            f'`[objects] seg = "{form}"`',
            storage.name if form is SegForm.BINARY else "Label Map Segmentation Storage",
            storage,
            "default" if form is STANDARD_OBJECTS.seg else "",
        )
    for report in SrForm:
        storage = sr.STORAGE[report]
        yield f'`[objects] sr = "{report}"`', storage.name, storage, "default" if report is STANDARD_OBJECTS.sr else ""


def _object(kind: Kind) -> tuple[object, ...]:
    storage, modality = MultiFrameTrueColorSecondaryCaptureImageStorage, "OT"
    if kind.stem.startswith("seg"):
        storage, modality = uids.SegmentationStorage, "SEG"
    if kind.stem.startswith("sr"):
        storage, modality = sr.STORAGE[STANDARD_OBJECTS.sr], "SR"
    study = "FDG" if kind.stem.endswith("fdg") else "PentixaFor"
    return f"{kind.stem}.dcm", storage.name, storage, modality, kind.series_number, study


def _words() -> dict[str, str]:
    """Codes, units and needs."""
    own = {c.value: c.meaning for c in codes.own_codes()}
    units = {c.value: c.meaning for c in codes.all_codes() if c.scheme_designator == "UCUM"}
    return {
        "own_scheme": codes.OWN_SCHEME,
        "own_codes": _rows((f"`{value}`", meaning) for value, meaning in sorted(own.items())),
        "units": _rows((f"`{value}`", meaning) for value, meaning in sorted(units.items())),
        "needed": _rows(NEEDED),
    }

"""Every coded concept that duet writes, in one table.

Standard codes were compared with pydicom's copy of the standard (a test repeats that). What no standard names bears the
designator 99DUET, which each object declares in its CodingSchemeIdentificationSequence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.values import Concordance, Site, Tracer, Verdict
from dicom_io.anatomy_codes import AORTA as AORTA
from dicom_io.anatomy_codes import BONE as BONE
from dicom_io.anatomy_codes import LEFT as LEFT
from dicom_io.anatomy_codes import LIVER as LIVER
from dicom_io.anatomy_codes import RIGHT as RIGHT
from dicom_io.anatomy_codes import SOFT_TISSUE as SOFT_TISSUE
from dicom_io.anatomy_codes import SPLEEN as SPLEEN
from dicom_io.anatomy_codes import region_code as region_code
from dicom_io.anatomy_codes import region_codes
from dicom_io.elements import text

OWN_SCHEME = "99DUET"
UNSAID = Code("", "", "")  # where a maker gave no code

# Units
SUV = Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
MILLILITRE = Code("ml", "UCUM", "ml")
GRAM = Code("g", "UCUM", "g")
PER_METRE = Code("/m", "UCUM", "/m")
RATIO = Code("{ratio}", "UCUM", "ratio")
NO_UNITS = Code("1", "UCUM", "no units")
LESIONS = Code("{lesions}", "UCUM", "lesions")
CYCLES = Code("{cycles}", "UCUM", "cycles")
PATIENTS = Code("{patients}", "UCUM", "patients")
PERCENT = Code("%", "UCUM", "Percent")

# Measurements and how they were derived
SUVBW = Code("126401", "DCM", "SUVbw")
SUVBW_METHOD = Code("126410", "DCM", "SUV body weight calculation method")
METABOLIC_VOLUME = Code("126032", "DCM", "Metabolic Volume")
TOTAL_LESION_GLYCOLYSIS = Code("126033", "DCM", "Total Lesion Glycolysis")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MEAN = Code("373098007", "SCT", "Mean")
PEAK = Code("126031", "DCM", "Peak Value Within ROI")
TOTAL = Code("255619001", "SCT", "Total")
TOTAL_LESION_CXCR4 = Code("TLC", OWN_SCHEME, "Total Lesion CXCR4 Expression")
LESION_COUNT = Code("COUNT", OWN_SCHEME, "Number of lesions")
DISSEMINATION = Code("SDMAX", OWN_SCHEME, "Largest distance between lesions over body surface (sDmax)")
BONE_FRACTION = Code("BONEFRACTION", OWN_SCHEME, "Fraction of the lesion's volume in bone")
BONE_LOW = Code("BONELOW", OWN_SCHEME, "Lowest fraction in bone where CT and PET lie apart")
BONE_HIGH = Code("BONEHIGH", OWN_SCHEME, "Highest fraction in bone where CT and PET lie apart")
CONFIDENCE = Code("CONFIDENCE", OWN_SCHEME, "Confidence that this is a lesion")
OVERLAP = Code("OVERLAP", OWN_SCHEME, "Overlap with lesions of the other tracer")
OVERLAP_LOW = Code("OVERLAPLOW", OWN_SCHEME, "Lowest overlap within the registration error")
OVERLAP_HIGH = Code("OVERLAPHIGH", OWN_SCHEME, "Highest overlap within the registration error")
FINDING_VALUE = Code("QUALITYVALUE", OWN_SCHEME, "Value of the quality check")
PERCENTILE = Code("121415", "DCM", "Percentile Ranking of measurement")
CYCLE_COUNT = Code("CYCLES", OWN_SCHEME, "Number of treatment cycles")
PATIENT_COUNT = Code("PATIENTS", OWN_SCHEME, "Number of patients")
LOWER_LIMIT = Code("LOW95", OWN_SCHEME, "Lower limit of the 95 % interval")
UPPER_LIMIT = Code("HIGH95", OWN_SCHEME, "Upper limit of the 95 % interval")
P_VALUE = Code("PVALUE", OWN_SCHEME, "p value")

# What is found (where: anatomy_codes)
BACKGROUND = Code("125040", "DCM", "Background")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")

# The document and its parts
PET_MEASUREMENT_REPORT = Code("126003", "DCM", "PET Measurement Report")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT = Code("121106", "DCM", "Comment")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
PET_WHOLE_BODY = Code("44139-4", "LN", "PET whole body")
TRACER = Code("TRACER", OWN_SCHEME, "Tracer")
SITE = Code("SITE", OWN_SCHEME, "Site of the lesion")
CONCORDANCE = Code("CONCORDANCE", OWN_SCHEME, "Concordance of the tracers")
CERTAINTY = Code("CERTAINTY", OWN_SCHEME, "Certainty of the concordance")
SITE_CERTAINTY = Code("SITECERTAINTY", OWN_SCHEME, "Certainty of the site")
DISEASE_SITE = Code("DISEASESITE", OWN_SCHEME, "Disease site in both tracers")
MEMBERS = Code("MEMBERS", OWN_SCHEME, "Lesions of the disease site")
VERDICT = Code("VERDICT", OWN_SCHEME, "Verdict of the quality check")
QUALITY = Code("QUALITY", OWN_SCHEME, "Quality of the data")
QUALITY_LIMIT = Code("QUALITYLIMIT", OWN_SCHEME, "Limit of the quality check")
FEATURES = Code("FEATURES", OWN_SCHEME, "Features of the patient")
SUBSET = Code("SUBSET", OWN_SCHEME, "Lesions of one tracer, site and concordance")
INTENDED_USE = Code("INTENDEDUSE", OWN_SCHEME, "Intended use")
UNDEFINED = Code("UNDEFINED", OWN_SCHEME, "Value that is undefined")
LESION_TOTAL = Code("LESIONTOTAL", OWN_SCHEME, "Statement about the lesions")
HELD_FOR = Code("HELDFOR", OWN_SCHEME, "Quality finding that held the delivery")
RELEASED_BY = Code("RELEASEDBY", OWN_SCHEME, "Delivery released by")
RELEASED_AT = Code("RELEASEDAT", OWN_SCHEME, "Delivery released at")
RELEASED_WHY = Code("RELEASEDWHY", OWN_SCHEME, "Reason of the release")
COHORT_REPORT = Code("COHORTREPORT", OWN_SCHEME, "Cohort report")
COHORT_VERSION = Code("COHORTVERSION", OWN_SCHEME, "Version of the cohort report")
COHORT_DOCUMENT = Code("COHORTDOCUMENT", OWN_SCHEME, "The whole cohort report as a document")
ESTIMATES = Code("ESTIMATES", OWN_SCHEME, "Estimates of the cohort")
ESTIMATE = Code("ESTIMATE", OWN_SCHEME, "Estimate of the cohort")
ESTIMATE_NAME = Code("ESTIMATENAME", OWN_SCHEME, "What is estimated")
ESTIMATE_METHOD = Code("ESTIMATEMETHOD", OWN_SCHEME, "How it is estimated")
INFINITE = Code("INFINITE", OWN_SCHEME, "Value that is infinite")
POSITION = Code("POSITION", OWN_SCHEME, "Position within the cohort (descriptive)")
MEDIAN_RELATION = Code("MEDIANRELATION", OWN_SCHEME, "Position to the cohort's median")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")

TRACERS = {
    Tracer.FDG: Code("35321007", "SCT", "Fluorodeoxyglucose F^18^"),
    Tracer.PENTIXAFOR: Code("PENTIXAFOR", OWN_SCHEME, "Pentixafor Ga^68^"),
}
PROCEDURES = {
    Tracer.FDG: Code("443271005", "SCT", "PET/CT FDG imaging of whole body"),
    Tracer.PENTIXAFOR: PET_WHOLE_BODY,
}
SITES = {
    Site.MEDULLARY: Code("MEDULLARY", OWN_SCHEME, "Medullary"),
    Site.EXTRAMEDULLARY: Code("EXTRAMEDULLARY", OWN_SCHEME, "Extramedullary"),
}
CONCORDANCES = {
    Concordance.CONCORDANT: Code("CONCORDANT", OWN_SCHEME, "Concordant"),
    Concordance.DISCORDANT: Code("DISCORDANT", OWN_SCHEME, "Discordant"),
    Concordance.NOT_COMPARABLE: Code("NOTCOMPARABLE", OWN_SCHEME, "Not comparable with the other tracer"),
}
CERTAINTIES = {
    True: Code("CERTAIN", OWN_SCHEME, "Holds within the registration error"),
    False: Code("UNCERTAIN", OWN_SCHEME, "Changes within the registration error"),
}
SITE_CERTAINTIES = {
    True: Code("SITECERTAIN", OWN_SCHEME, "Holds where CT and PET lie a little apart"),
    False: Code("SITEUNCERTAIN", OWN_SCHEME, "Changes where CT and PET lie a little apart"),
}
VERDICTS = {
    Verdict.OK: Code("OK", OWN_SCHEME, "Fine"),
    Verdict.WARN: Code("WARN", OWN_SCHEME, "Look twice"),
    Verdict.HOLD: Code("HOLD", OWN_SCHEME, "Not to be used unseen"),
}
MEDIAN_RELATIONS = {
    True: Code("ABOVEMEDIAN", OWN_SCHEME, "Above the median"),
    False: Code("NOTABOVEMEDIAN", OWN_SCHEME, "At or below the median"),
}
BURDENS = {Tracer.FDG: TOTAL_LESION_GLYCOLYSIS, Tracer.PENTIXAFOR: TOTAL_LESION_CXCR4}


def own_code(value: str, meaning: str) -> Code:
    """A concept of our own; value of at most 16 characters, else a stable word made from it."""
    return Code(value, OWN_SCHEME, meaning[:64]) if len(value) <= 16 else named_code(value, meaning)


def named_code(name: str, meaning: str) -> Code:
    """A concept of our own for a name that is free text: its value is a stable word made from it, of 13 characters."""
    return Code(f"F{hashlib.sha256(name.encode()).hexdigest()[:12].upper()}", OWN_SCHEME, meaning[:64])


def read_code(sequence: Iterable[Dataset]) -> Code | None:
    """The first code of a code sequence, whoever wrote it; None where there is none."""
    for item in sequence:
        value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
        if value:
            return Code(value, text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))
    return None


def all_codes() -> tuple[Code, ...]:
    """Every code of this table, each once."""
    mappings: list[Mapping[Any, Code]] = [
        TRACERS,
        PROCEDURES,
        SITES,
        CONCORDANCES,
        CERTAINTIES,
        SITE_CERTAINTIES,
        VERDICTS,
        MEDIAN_RELATIONS,
        BURDENS,
    ]
    found = [x for x in globals().values() if isinstance(x, Code) and x != UNSAID] + [c for m in mappings for c in m.values()]
    return tuple(dict.fromkeys([*found, *region_codes()]))


def standard_codes() -> tuple[Code, ...]:
    """Every standard code, for the test that compares them with the standard."""
    return tuple(c for c in all_codes() if c.scheme_designator != OWN_SCHEME)


def own_codes() -> tuple[Code, ...]:
    """Every code of our own, for the conformance statement."""
    return tuple(c for c in all_codes() if c.scheme_designator == OWN_SCHEME)

"""Every coded concept that duet writes, in one table.

Standard codes were compared with pydicom's copy of the standard (a test repeats that). What no standard names bears the
designator 99DUET, which each object declares in its CodingSchemeIdentificationSequence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.values import Concordance, Site, Tracer, Verdict
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

# What is found, and where
BACKGROUND = Code("125040", "DCM", "Background")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
BONE = Code("272673000", "SCT", "Bone")
SOFT_TISSUE = Code("87784001", "SCT", "Soft tissue")
SPLEEN = Code("78961009", "SCT", "Spleen")
LIVER = Code("10200004", "SCT", "Liver")
AORTA = Code("15825003", "SCT", "Aorta")

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
BURDENS = {Tracer.FDG: TOTAL_LESION_GLYCOLYSIS, Tracer.PENTIXAFOR: TOTAL_LESION_CXCR4}

_VERTEBRAE = {
    "C1": "14806007",
    "C2": "39976000",
    "C3": "113205007",
    "C4": "5329002",
    "C5": "36978003",
    "C6": "36054005",
    "C7": "87391001",
    "T1": "64864005",
    "T2": "53733008",
    "T3": "1626008",
    "T4": "73071006",
    "T5": "56401006",
    "T6": "45296009",
    "T7": "62487009",
    "T8": "11068009",
    "T9": "82687006",
    "T10": "7610001",
    "T11": "12989004",
    "T12": "23215003",
    "L1": "66794005",
    "L2": "14293000",
    "L3": "36470004",
    "L4": "11994002",
    "L5": "49668003",
}

# Word in a region's name > code; the first word that occurs wins, so the narrower stands first.
_REGIONS = {
    "lymph": Code("59441001", "SCT", "Lymph Node"),
    "vertebra": Code("51282000", "SCT", "Vertebra"),
    "cervical": Code("122494005", "SCT", "Cervical spine"),
    "thoracic spine": Code("122495006", "SCT", "Thoracic spine"),
    "lumbar": Code("122496007", "SCT", "Lumbar spine"),
    "sacrum": Code("54735007", "SCT", "Sacrum"),
    "spine": Code("421060004", "SCT", "Spine"),
    "skull": Code("89546000", "SCT", "Skull"),
    "mandible": Code("91609006", "SCT", "Mandible"),
    "clavic": Code("51299004", "SCT", "Clavicle"),
    "scapula": Code("79601000", "SCT", "Scapula"),
    "stern": Code("56873002", "SCT", "Sternum"),
    "rib": Code("113197003", "SCT", "Rib"),
    "humer": Code("85050009", "SCT", "Humerus"),
    "femur": Code("71341001", "SCT", "Femur"),
    "femora": Code("71341001", "SCT", "Femur"),
    "hip": Code("29836001", "SCT", "Hip"),
    "pelvi": Code("816092008", "SCT", "Pelvis"),
    "brain": Code("12738006", "SCT", "Brain"),
    "spleen": SPLEEN,
    "liver": LIVER,
    "kidney": Code("64033007", "SCT", "Kidney"),
    "ureter": Code("87953007", "SCT", "Ureter"),
    "gallbladder": Code("28231008", "SCT", "Gallbladder"),
    "bladder": Code("89837001", "SCT", "Bladder"),
    "adrenal": Code("23451007", "SCT", "Adrenal gland"),
    "pancreas": Code("15776009", "SCT", "Pancreas"),
    "stomach": Code("69695003", "SCT", "Stomach"),
    "duodenum": Code("38848004", "SCT", "Duodenum"),
    "small bowel": Code("30315005", "SCT", "Small intestine"),
    "colon": Code("71854001", "SCT", "Colon"),
    "lung": Code("39607008", "SCT", "Lung"),
    "pleura": Code("3120008", "SCT", "Pleura"),
    "heart": Code("80891009", "SCT", "Heart"),
    "aorta": AORTA,
    "mediast": Code("72410000", "SCT", "Mediastinum"),
    "muscle": Code("71616004", "SCT", "Muscle"),
    "neck": Code("45048000", "SCT", "Neck"),
    "head": Code("69536005", "SCT", "Head"),
    "chest": Code("816094009", "SCT", "Chest"),
    "thora": Code("816094009", "SCT", "Chest"),
    "abdom": Code("818981001", "SCT", "Abdomen"),
    "arm": Code("40983000", "SCT", "Upper arm"),
    "leg": Code("61685007", "SCT", "Lower limb"),
    "soft tissue": SOFT_TISSUE,
    "marrow": Code("14016003", "SCT", "Bone Marrow"),
    "bone": BONE,
}


def own_code(value: str, meaning: str) -> Code:
    """A concept of our own; value of at most 16 characters, else a stable word made from it."""
    short = value if len(value) <= 16 else f"F{hashlib.sha256(value.encode()).hexdigest()[:12].upper()}"
    return Code(short, OWN_SCHEME, meaning[:64])


def read_code(sequence: Iterable[Dataset]) -> Code | None:
    """The first code of a code sequence, whoever wrote it; None where there is none."""
    for item in sequence:
        value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
        if value:
            return Code(value, text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))
    return None


def region_code(region: str, site: Site | None = None) -> tuple[Code, Code | None]:
    """The anatomical region's name (as anatomy gives it) -> its code and laterality.

    An unknown name falls back to bone or soft tissue by the lesion's site.
    """
    name = region.replace("_", " ").lower()
    side = RIGHT if re.search(r"\bright\b", name) else LEFT if re.search(r"\bleft\b", name) else None
    level = re.search(r"\b([ctl]\d{1,2})\b", name)
    if level and level[1].upper() in _VERTEBRAE:
        key = level[1].upper()
        return Code(_VERTEBRAE[key], "SCT", f"{key} vertebra"), None
    code = next((code for word, code in _REGIONS.items() if re.search(rf"\b{word}", name)), None)
    return code or (BONE if site is Site.MEDULLARY else SOFT_TISSUE), side


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
        BURDENS,
        _REGIONS,
    ]
    found = [x for x in globals().values() if isinstance(x, Code) and x != UNSAID] + [c for m in mappings for c in m.values()]
    levels = [Code(value, "SCT", f"{name} vertebra") for name, value in _VERTEBRAE.items()]
    return tuple(dict.fromkeys([*found, *levels]))


def standard_codes() -> tuple[Code, ...]:
    """Every standard code, for the test that compares them with the standard."""
    return tuple(c for c in all_codes() if c.scheme_designator != OWN_SCHEME)


def own_codes() -> tuple[Code, ...]:
    """Every code of our own, for the conformance statement."""
    return tuple(c for c in all_codes() if c.scheme_designator == OWN_SCHEME)

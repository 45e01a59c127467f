"""The columns of the clinical table: unit, plausible range and meaning of each. The data dictionary is made of this."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Cell(StrEnum):
    """What a cell of a column holds."""

    TEXT = "text"
    DATE = "date"
    NUMBER = "number"
    WHOLE = "whole number"
    YES_NO = "yes or no"
    SEX = "sex"
    RESPONSE = "response"
    SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicalColumn:
    """One column. unit: UCUM, "" where there is none; low, high: beyond these a value is refused as a wrong unit or a slip.

    elsewhere: what the same quantity is often called, or measured in, and how to bring it here.
    """

    name: str
    cell: Cell
    meaning: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    required: bool = False
    elsewhere: str = ""


COLUMNS: tuple[ClinicalColumn, ...] = (
    ClinicalColumn(
        name="patient_id",
        cell=Cell.TEXT,
        required=True,
        meaning="PatientID, as in the images and in features.csv, letter by letter",
    ),
    ClinicalColumn(
        name="therapy_date",
        cell=Cell.DATE,
        required=True,
        meaning="first day of CXCR4-directed therapy of this treatment cycle",
    ),
    ClinicalColumn(name="sex", cell=Cell.SEX, meaning="M or F; O (other) is left out of comparisons by sex"),
    ClinicalColumn(name="age", cell=Cell.NUMBER, unit="a", low=18, high=110, meaning="age on the day of therapy"),
    ClinicalColumn(
        name="weight_kg", cell=Cell.NUMBER, unit="kg", low=25, high=300, meaning="body weight", elsewhere="pounds x 0.4536"
    ),
    ClinicalColumn(
        name="height_cm", cell=Cell.NUMBER, unit="cm", low=100, high=250, meaning="body height", elsewhere="metres x 100"
    ),
    ClinicalColumn(
        name="disease_duration_months",
        cell=Cell.NUMBER,
        unit="mo",
        low=0,
        high=600,
        meaning="from diagnosis to therapy",
        elsewhere="years x 12",
    ),
    ClinicalColumn(
        name="high_risk_cytogenetics",
        cell=Cell.YES_NO,
        meaning="del(17p), t(4;14), t(14;16) or what the study calls high risk; say which in the report",
    ),
    ClinicalColumn(
        name="b2m_mg_l",
        cell=Cell.NUMBER,
        unit="mg/L",
        low=0.3,
        high=100,
        meaning="beta-2 microglobulin in serum",
        elsewhere="nmol/l x 0.0118",
    ),
    ClinicalColumn(
        name="m_protein_before_g_l",
        cell=Cell.NUMBER,
        unit="g/L",
        low=0,
        high=150,
        meaning="M-protein in serum before therapy",
        elsewhere="g/dl x 10",
    ),
    ClinicalColumn(
        name="m_protein_after_g_l",
        cell=Cell.NUMBER,
        unit="g/L",
        low=0,
        high=150,
        meaning="M-protein in serum after therapy, at the time the study judges response",
        elsewhere="g/dl x 10",
    ),
    ClinicalColumn(
        name="flc_before_mg_l",
        cell=Cell.NUMBER,
        unit="mg/L",
        low=0,
        high=200_000,
        meaning="involved free light chain before therapy",
        elsewhere="mg/dl x 10",
    ),
    ClinicalColumn(
        name="flc_after_mg_l",
        cell=Cell.NUMBER,
        unit="mg/L",
        low=0,
        high=200_000,
        meaning="the same chain after therapy",
        elsewhere="mg/dl x 10",
    ),
    ClinicalColumn(name="response", cell=Cell.RESPONSE, meaning="category of response: see the words below"),
    ClinicalColumn(
        name="response_source", cell=Cell.SOURCE, meaning="what that category rests on: serology, IMPeTUs or MY-RADS"
    ),
    ClinicalColumn(name="death_date", cell=Cell.DATE, meaning="day of death of any cause; empty while alive or unknown"),
    ClinicalColumn(name="progression_date", cell=Cell.DATE, meaning="day of first progression after this therapy"),
    ClinicalColumn(name="last_contact_date", cell=Cell.DATE, meaning="last day on which the patient was known to be alive"),
    ClinicalColumn(
        name="os_days",
        cell=Cell.NUMBER,
        unit="d",
        low=0,
        high=20_000,
        meaning="overall survival from therapy, instead of dates",
    ),
    ClinicalColumn(name="os_event", cell=Cell.YES_NO, meaning="1 death, 0 censored at os_days"),
    ClinicalColumn(
        name="pfs_days", cell=Cell.NUMBER, unit="d", low=0, high=20_000, meaning="progression-free survival from therapy"
    ),
    ClinicalColumn(name="pfs_event", cell=Cell.YES_NO, meaning="1 progression or death, 0 censored at pfs_days"),
    ClinicalColumn(name="mm_subtype", cell=Cell.TEXT, meaning="for table 1, such as IgG kappa"),
    ClinicalColumn(name="prior_lines", cell=Cell.WHOLE, low=0, high=30, meaning="for table 1: earlier lines of therapy"),
    ClinicalColumn(
        name="prior_hsct", cell=Cell.YES_NO, meaning="for table 1: haematopoietic stem cell transplantation before this therapy"
    ),
    ClinicalColumn(name="hsct", cell=Cell.YES_NO, meaning="for table 1: transplantation as part of this therapy"),
    ClinicalColumn(name="radionuclide", cell=Cell.TEXT, meaning="for table 1, such as 177Lu or 90Y"),
    ClinicalColumn(
        name="activity_gbq",
        cell=Cell.NUMBER,
        unit="GBq",
        low=0.05,
        high=50,
        meaning="for table 1: activity given",
        elsewhere="MBq / 1000",
    ),
    ClinicalColumn(
        name="scanner",
        cell=Cell.TEXT,
        meaning="scanner or site that measured the pair, always in the same words; for table 1 and the setting harmonise",
    ),
)
BY_NAME = {column.name: column for column in COLUMNS}

# Responders and non-responders: PR or better is a fall of at least half (IMWG, Kumar 2016); MR is less.
RESPONDERS = ("sCR", "CR", "VGPR", "PR")
NON_RESPONDERS = ("MR", "SD", "PD")
RESPONSE_WORDS = {
    "scr": "sCR",
    "stringent complete response": "sCR",
    "stringente komplette remission": "sCR",
    "cr": "CR",
    "complete response": "CR",
    "complete remission": "CR",
    "komplette remission": "CR",
    "komplettremission": "CR",
    "vollremission": "CR",
    "vgpr": "VGPR",
    "very good partial response": "VGPR",
    "very good partial remission": "VGPR",
    "sehr gute partielle remission": "VGPR",
    "pr": "PR",
    "partial response": "PR",
    "partial remission": "PR",
    "partielle remission": "PR",
    "teilremission": "PR",
    "mr": "MR",
    "minimal response": "MR",
    "minor response": "MR",
    "minimale remission": "MR",
    "minimales ansprechen": "MR",
    "sd": "SD",
    "stable disease": "SD",
    "stabile erkrankung": "SD",
    "krankheitsstabilisierung": "SD",
    "pd": "PD",
    "progressive disease": "PD",
    "progression": "PD",
    "progress": "PD",
    "progrediente erkrankung": "PD",
    "krankheitsprogression": "PD",
    "krankheitsprogress": "PD",
    "responder": "responder",
    "ansprechen": "responder",
    "non-responder": "non-responder",
    "nonresponder": "non-responder",
    "kein ansprechen": "non-responder",
}
UNKNOWN_WORDS = ("unknown", "unbekannt", "na", "n/a", "n.a.", "nan", "not evaluable", "nicht beurteilbar", "ne", "-", "?")
YES_WORDS = {
    "1": True,
    "yes": True,
    "y": True,
    "true": True,
    "ja": True,
    "0": False,
    "no": False,
    "n": False,
    "false": False,
    "nein": False,
}
SEX_WORDS = {
    "m": "M",
    "male": "M",
    "männlich": "M",
    "f": "F",
    "female": "F",
    "w": "F",
    "weiblich": "F",
    "o": "O",
    "other": "O",
    "d": "O",
    "divers": "O",
}
SOURCE_WORDS = {
    "serology": "serology",
    "serologie": "serology",
    "impetus": "IMPeTUs",
    "my-rads": "MY-RADS",
    "myrads": "MY-RADS",
}

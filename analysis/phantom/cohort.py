"""An invented cohort: features and outcomes of 24 treatment cycles in 22 patients, with known effects or with none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.phantom.values import stream
from analysis.values import Concordance, Site, Tracer

PATIENTS, AGAIN = 22, 2  # so many patients, of whom so many are treated twice, as in the paper
GAPS = (67, 77)  # days between both therapies of a patient (the paper)
RESPONDERS, UNKNOWN = 11, 2
PLANTED_G = -0.9  # responders minus non-responders, in standard deviations
PLANTED_RATIO = 3.0  # event rate above the median over that below
RESPONSE_FEATURES = ("SUVmean[FDG extramedullary concordant]", "SUVmean[FDG medullary concordant]")
SURVIVAL_FEATURE = "TLG[FDG medullary concordant]"
MEDIAN_OS_DAYS = 198.0
CUT_DAYS = (240, 665)  # who is alive is last seen so long after therapy
COUNTS = {  # lesions of the paper: 1,352, of which 520 concordant; shares of the discordant by site
    "FDG medullary concordant": 12.0,
    "FDG extramedullary concordant": 9.0,
    "FDG medullary discordant": 2.5,
    "FDG extramedullary discordant": 4.6,
    "CXCR4 medullary concordant": 12.0,
    "CXCR4 extramedullary concordant": 9.0,
    "CXCR4 medullary discordant": 17.5,
    "CXCR4 extramedullary discordant": 10.0,
}
FIRST_THERAPY = date(2022, 3, 1)
CLINICAL_COLUMNS = (
    *("patient_id", "therapy_date", "sex", "age", "weight_kg", "height_cm", "disease_duration_months"),
    *("high_risk_cytogenetics", "b2m_mg_l", "m_protein_before_g_l", "m_protein_after_g_l", "response"),
    *("death_date", "progression_date", "last_contact_date"),
    *("mm_subtype", "prior_lines", "prior_hsct", "hsct", "radionuclide", "activity_gbq"),
)
Labels = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedCohort:
    """Both tables as CSV and what is true of them as JSON."""

    features_csv: str
    clinical_csv: str
    truth_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One treatment cycle. number: of the patient, from 1."""

    number: int
    therapy: date
    fdg: date
    pentixafor: date

    @property
    def patient_id(self) -> str:
        return f"COHORT-{self.number:03d}"


def invented_cohort(seed: int, *, null: bool = False) -> InventedCohort:
    """The cohort of a seed. null: the same draws without any effect, so that every finding in it is chance."""
    cycles = _cycles(stream(seed, "cycles"))
    responds = _responses(stream(seed, "response"), len(cycles))
    features = _features(stream(seed, "features"), responds, shift=0.0 if null else PLANTED_G)
    patient = np.array([cycle.number for cycle in cycles])
    burden = np.array([row[SURVIVAL_FEATURE] for row in features])
    high = burden > np.median(burden)
    high = np.array(
        [high[np.flatnonzero(patient == number)[0]] for number in patient]
    )  # one death each: the first cycle decides
    clinical = _clinical(stream(seed, "clinical"), cycles, responds, high, ratio=1.0 if null else PLANTED_RATIO)
    truth = {
        "seed": seed,
        "null": null,
        "cycles": len(cycles),
        "patients": PATIENTS,
        "response": {} if null else {name: {"hedges_g": PLANTED_G} for name in RESPONSE_FEATURES},
        "survival": {} if null else {SURVIVAL_FEATURE: {"rate_ratio_above_median": PLANTED_RATIO}},
        "note": "invented; no patient",
    }
    return InventedCohort(
        features_csv=_csv(["patient_id", "fdg_date", "pentixafor_date", "quality", *features[0]], _keyed(cycles, features)),
        clinical_csv=_csv(CLINICAL_COLUMNS, clinical),
        truth_json=json.dumps(truth, indent=1) + "\n",
    )


def _cycles(rng: np.random.Generator) -> list[_Cycle]:
    """Therapy days over two years, scans before them: at most 30 days apart, most of them 1 to 3."""
    found = []
    starts = np.sort(rng.integers(0, 730, PATIENTS))
    for number, start in enumerate(starts, start=1):
        first = FIRST_THERAPY + timedelta(days=int(start))
        again = [first + timedelta(days=GAPS[number - 1])] if number <= AGAIN else []
        for therapy in (first, *again):
            scan = therapy - timedelta(days=int(rng.integers(3, 21)))
            apart = int(np.clip(rng.geometric(0.35), 1, 27))
            fdg, pentixafor = (scan - timedelta(days=apart), scan)
            found.append(_Cycle(number=number, therapy=therapy, fdg=fdg, pentixafor=pentixafor))
    return found


def _responses(rng: np.random.Generator, n: int) -> Labels:
    """(n,) 1 and 0 in the paper's numbers, in random order; NaN for the unknown."""
    labels = np.array([1.0] * RESPONDERS + [0.0] * (n - RESPONDERS - UNKNOWN) + [np.nan] * UNKNOWN)
    return np.asarray(rng.permutation(labels))


def _features(rng: np.random.Generator, responds: Labels, *, shift: float) -> list[dict[str, float]]:
    """Every feature of features.csv. SUVmean is normal (standard deviation 1), burdens are log-normal, as lesion loads are."""
    rows: list[dict[str, float]] = []
    for answer in responds:
        row: dict[str, float] = {}
        for tracer, site, concordance in product(Tracer, Site, (Concordance.CONCORDANT, Concordance.DISCORDANT)):
            row |= _subset(rng, f"{tracer.bracket} {site} {concordance}", tracer.burden, shift if answer == 1 else 0.0)
        for tracer in Tracer:
            row[f"sDmax[{tracer.bracket}]"] = float(np.clip(rng.normal(0.35, 0.12), 0.05, None))
        for organ, means in {"spleen": (1.6, 6.0), "liver": (2.0, 1.7), "blood pool": (1.5, 1.8)}.items():
            for tracer, mean in zip(Tracer, means, strict=True):
                row[f"SUVmean[{tracer.bracket} {organ}]"] = float(mean * np.exp(rng.normal(0, 0.2)))
        rows.append(row)
    return [{name: round(value, 6) for name, value in row.items()} for row in rows]


def _subset(rng: np.random.Generator, name: str, burden: str, shift: float) -> dict[str, float]:
    """One subset of lesions: count, SUVmean, SUVmax, volume, and volume x SUVmean. Without a lesion there is no SUV."""
    count = int(rng.poisson(COUNTS[name] * np.exp(rng.normal(0, 0.4))))
    drawn_mean, drawn_peak, drawn_load = rng.normal(0, 1), rng.exponential(0.5), rng.normal(0, 0.9)
    if f"SUVmean[{name}]" not in RESPONSE_FEATURES:
        shift = 0.0
    else:
        count = max(count, 1)
    if count == 0:
        nothing = {f"SUVmean[{name}]": np.nan, f"SUVmax[{name}]": np.nan}
        return {**nothing, f"MTV[{name}]": 0.0, f"{burden}[{name}]": 0.0, f"Count[{name}]": 0.0}
    mean = float(np.clip(6.0 + drawn_mean + shift, 2.0, None))
    load = float(200.0 * np.exp(drawn_load))
    return {
        f"SUVmean[{name}]": mean,
        f"SUVmax[{name}]": mean * float(1.3 + drawn_peak),
        f"MTV[{name}]": load / mean,
        f"{burden}[{name}]": load,
        f"Count[{name}]": float(count),
    }


def _clinical(
    rng: np.random.Generator,
    cycles: Sequence[_Cycle],
    responds: Labels,
    high: npt.NDArray[np.bool_],
    *,
    ratio: float,
) -> list[dict[str, Any]]:
    """The clinical rows. Survival is exponential; its two rates have the ratio, and their mean the paper's median."""
    low_rate = np.log(2) / MEDIAN_OS_DAYS / ((1 + ratio) / 2)
    patients: dict[int, dict[str, Any]] = {}
    rows = []
    for cycle, answer, above in zip(cycles, responds, high, strict=True):
        if cycle.number not in patients:
            patients[cycle.number] = _person(rng, cycle, low_rate * (ratio if above else 1.0))
        rows.append(_row(rng, cycle, answer, patients[cycle.number]))
    return rows


def _person(rng: np.random.Generator, cycle: _Cycle, rate: float) -> dict[str, Any]:
    """What all cycles of one patient share; the second therapy is always lived to see."""
    least = GAPS[cycle.number - 1] + 14 if cycle.number <= AGAIN else 1
    lives = least + round(rng.exponential(1 / rate))
    seen = int(rng.integers(max(CUT_DAYS[0], least), CUT_DAYS[1]))
    sex = "MF"[int(rng.random() < 0.4)]
    return {
        "sex": sex,
        "height_cm": round(float(np.clip(rng.normal(177 if sex == "M" else 164, 7), 150, 200))),
        "age": round(float(np.clip(rng.normal(62, 9), 35, 84))),
        "death": cycle.therapy + timedelta(days=lives) if lives <= seen else None,
        "seen": cycle.therapy + timedelta(days=min(lives, seen)),
        "subtype": str(rng.choice(["IgG kappa", "IgG lambda", "IgA kappa", "light chain kappa", "light chain lambda"])),
        "risk": int(rng.random() < 0.45),
    }


def _row(rng: np.random.Generator, cycle: _Cycle, answer: float, person: Mapping[str, Any]) -> dict[str, Any]:
    before = round(float(np.exp(rng.normal(3.0, 0.5))), 1)
    left = {1.0: rng.uniform(0.05, 0.45), 0.0: rng.uniform(0.6, 1.4)}.get(float(answer), np.nan)
    end = (person["death"] or person["seen"]) - cycle.therapy
    progression = cycle.therapy + timedelta(days=int(end.days * rng.uniform(0.2, 1.0)))
    known = not np.isnan(answer)
    return {
        "patient_id": cycle.patient_id,
        "therapy_date": cycle.therapy.isoformat(),
        "sex": person["sex"],
        "age": person["age"],
        "weight_kg": round(float(np.clip(rng.normal(25.5, 3.5), 18, 40)) * (person["height_cm"] / 100) ** 2, 1),
        "height_cm": person["height_cm"],
        "disease_duration_months": int(rng.integers(6, 160)),
        "high_risk_cytogenetics": person["risk"],
        "b2m_mg_l": round(float(np.exp(rng.normal(1.3, 0.5))), 1),
        "m_protein_before_g_l": before if known else "",
        "m_protein_after_g_l": round(before * left, 2) if known else "",
        "response": "",
        "death_date": person["death"].isoformat() if person["death"] else "",
        "progression_date": progression.isoformat() if rng.random() < 0.7 else "",
        "last_contact_date": "" if person["death"] else person["seen"].isoformat(),
        "mm_subtype": person["subtype"],
        "prior_lines": int(rng.integers(2, 9)),
        "prior_hsct": int(rng.random() < 0.8),
        "hsct": int(rng.random() < 0.6),
        "radionuclide": str(rng.choice(["177Lu", "90Y"])),
        "activity_gbq": round(float(np.clip(rng.normal(6.5, 1.8), 2, 12)), 1),
    }


def _keyed(cycles: Sequence[_Cycle], features: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "patient_id": cycle.patient_id,
            "fdg_date": cycle.fdg.isoformat(),
            "pentixafor_date": cycle.pentixafor.isoformat(),
            "quality": "ok",
            **{name: "" if np.isnan(value) else value for name, value in row.items()},
        }
        for cycle, row in zip(cycles, features, strict=True)
    ]


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    stream_ = io.StringIO()
    writer = csv.DictWriter(stream_, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream_.getvalue()

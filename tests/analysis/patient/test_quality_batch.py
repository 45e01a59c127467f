"""A case against a batch: robust z by Iglewicz and Hoaglin and by R's mad(), planted outliers, and what a batch must hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from analysis.patient.quality_batch import BATCH_NAMES, TO_SIGMA, batch_findings, robust_z
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, Tracer, Verdict

SETTINGS = QualitySettings()
SAMPLE = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]
GE, SIEMENS = "GE, Discovery, OSEM", "SIEMENS, mCT, PSF"


def row(rng: np.random.Generator, scanner: str = GE, liver: float = 2.0) -> dict[str, Any]:
    """A case as a batch holds it: usual livers, spleens, noise, and volumes over decades."""
    words: dict[str, Any] = {}
    for tracer in Tracer:
        words |= {
            f"{tracer} liver SUVmean": rng.normal(liver, 0.25),
            f"{tracer} spleen SUVmean": rng.normal(1.8 if tracer is Tracer.FDG else 5.0, 0.4),
            f"{tracer} liver noise": rng.normal(0.10, 0.01),
            f"{tracer} lesion volume": float(np.exp(rng.normal(4.0, 1.0))),
            f"{tracer} scanner": scanner,
        }
    return words


def findings_of(case: dict[str, Any]) -> list[Finding]:
    return [Finding(name=n, value=v, limit="", verdict=Verdict.OK, message="Told.") for n, v in case.items()]


def told(case: dict[str, Any], rows: list[dict[str, Any]], settings: QualitySettings = SETTINGS) -> dict[str, Finding]:
    found = {f.name.removesuffix(" in batch"): f for f in batch_findings(findings_of(case), rows, settings)}
    assert all(f.message.endswith(".") and f.name.endswith(" in batch") for f in found.values())
    return found


def test_z_is_the_modified_z_of_iglewicz_and_hoaglin() -> None:
    """M = 0.6745 (x - median) / MAD (ASQC Basic References in Quality Control 16, 1993); here median 2.45 and MAD 0.15.

    Both high values are found, though they make the plain z of either less than 2.
    """
    for value in SAMPLE:
        assert robust_z(value, SAMPLE, 1e-9) == pytest.approx(0.6745 * (value - 2.45) / 0.15, rel=1e-4)
    assert [v for v in SAMPLE if abs(robust_z(v, SAMPLE, 1e-9)) > 3.5] == [8.2, 8.3]
    assert max(abs(np.array(SAMPLE) - np.mean(SAMPLE))) / np.std(SAMPLE, ddof=1) < 2.0
    assert pytest.approx(1 / 0.6745, rel=1e-4) == TO_SIGMA


def test_known_scale_of_a_known_sample() -> None:
    """R's documentation of mad(): mad(c(1:9)) is 2.9652."""
    assert robust_z(5 + 2.9652, list(range(1, 10)), 1e-9) == pytest.approx(1.0, rel=1e-6)


def test_identical_values_do_not_explode() -> None:
    assert robust_z(2.05, [2.0] * 20, 0.1) == pytest.approx(0.5)
    rows = [row(np.random.default_rng(1)) for _ in range(1)] * 12
    near = {**rows[0], "FDG liver SUVmean": rows[0]["FDG liver SUVmean"] * 1.05}
    assert told(near, rows)["FDG liver SUVmean"].verdict is Verdict.OK
    far = {**rows[0], "FDG liver SUVmean": rows[0]["FDG liver SUVmean"] * 1.3}
    assert told(far, rows)["FDG liver SUVmean"].verdict is Verdict.WARN


def test_cases_of_one_kind_are_seldom_called_unlike() -> None:
    """Of normal values 0.05 % lie beyond 3.5 standard deviations; with a scale from 30 cases about ten times as many."""
    rng = np.random.default_rng(5)
    rows = [row(rng) for _ in range(30)]
    found = [f for _ in range(200) for f in told(row(rng), rows).values()]
    assert {f.name for f in found} == {f"{name} in batch" for name in BATCH_NAMES}
    assert sum(f.verdict is Verdict.WARN for f in found) <= 0.02 * len(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FDG liver SUVmean", 4.0),
        ("PentixaFor liver SUVmean", 0.5),
        ("FDG spleen SUVmean", 6.0),
        ("PentixaFor spleen SUVmean", 1.0),
        ("FDG liver noise", 0.25),
        ("PentixaFor liver noise", 0.02),
        ("FDG lesion volume", 9000.0),
        ("PentixaFor lesion volume", 12000.0),
        ("FDG scanner", SIEMENS),
        ("PentixaFor scanner", SIEMENS),
    ],
)
def test_planted_outliers_are_found_and_nothing_else(name: str, value: Any) -> None:
    rng = np.random.default_rng(9)
    rows = [row(rng) for _ in range(25)]
    middle = {n: GE if n.endswith("scanner") else float(np.median([r[n] for r in rows])) for n in BATCH_NAMES}
    found = told({**middle, name: value}, rows)
    assert {n for n, f in found.items() if f.verdict is Verdict.WARN} == {name}
    assert "25 earlier cases" in found[name].message


def test_an_outlier_among_the_earlier_cases_hides_none() -> None:
    rng = np.random.default_rng(2)
    rows = [row(rng) for _ in range(12)] + [row(rng, liver=9.0) for _ in range(4)]
    assert told({**row(rng), "FDG liver SUVmean": 4.5}, rows)["FDG liver SUVmean"].verdict is Verdict.WARN


def test_cases_of_the_same_scanner_come_first() -> None:
    """A scanner on which all livers are 3.6 is compared with itself, not with the many where they are 2."""
    rng = np.random.default_rng(4)
    many = [row(rng) for _ in range(40)]
    own = [row(rng, SIEMENS, 3.6) for _ in range(8)]
    case = {**row(rng, SIEMENS, 3.6), "FDG liver SUVmean": 3.7}
    alone = told(case, many + own)["FDG liver SUVmean"]
    assert (alone.verdict, "8 earlier cases of the same scanner" in alone.message) == (Verdict.OK, True)
    among = told(case, many + own[:7])["FDG liver SUVmean"]
    assert (among.verdict, "47 earlier cases of all scanners" in among.message) == (Verdict.WARN, True)


def test_few_cases_say_so_and_none_say_nothing() -> None:
    rng = np.random.default_rng(6)
    rows = [row(rng) for _ in range(8)]
    assert batch_findings(findings_of(rows[0]), [], SETTINGS) == ()
    few = told({**rows[0], "FDG liver SUVmean": 99.0, "FDG scanner": SIEMENS}, rows[:7])
    assert {(f.verdict, f.value) for f in few.values()} == {(Verdict.OK, None)}
    assert few["FDG liver SUVmean"].message == "Only 7 earlier cases can be compared, 8 are needed."
    enough = told({**rows[0], "FDG liver SUVmean": 99.0}, rows)
    assert enough["FDG liver SUVmean"].verdict is Verdict.WARN
    assert told({**rows[0], "FDG liver SUVmean": 99.0}, rows[:4], QualitySettings(batch_min=4))["FDG liver SUVmean"].value > 3.5


def test_rows_with_gaps_and_undefined_values() -> None:
    rng = np.random.default_rng(7)
    rows = [row(rng) for _ in range(12)]
    gaps = [{**r, "FDG liver SUVmean": None, "FDG spleen SUVmean": math.nan} for r in rows[:6]] + rows[6:] + [{}]
    case = {**row(rng), "PentixaFor spleen SUVmean": None}
    found = told(case, gaps)
    assert "PentixaFor spleen SUVmean" not in found
    assert found["FDG liver SUVmean"].message.startswith("Only 6 earlier cases")


def test_no_lesion_at_all_is_a_volume_too() -> None:
    rng = np.random.default_rng(8)
    rows = [row(rng) for _ in range(20)]
    none = told({**row(rng), "FDG lesion volume": 0.0}, rows)["FDG lesion volume"]
    earlier = [math.log1p(r["FDG lesion volume"]) for r in rows]
    mad = float(np.median(np.abs(np.array(earlier) - np.median(earlier))))
    assert none.value == pytest.approx(-np.median(earlier) / max(1.4826 * mad, math.log(2)), abs=0.01)


def test_a_small_burden_among_large_ones_is_no_outlier() -> None:
    """Burdens of one batch are alike by chance; between patients they differ by factors."""
    rows = [{"FDG lesion volume": 88.0 + n} for n in range(9)]
    assert told({"FDG lesion volume": 11.3}, rows)["FDG lesion volume"].verdict is Verdict.OK
    assert told({"FDG lesion volume": 1500.0}, rows)["FDG lesion volume"].verdict is Verdict.WARN

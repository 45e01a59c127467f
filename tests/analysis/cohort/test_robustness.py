"""Which findings survive: the rule itself, and a cohort in which a planted difference hangs on one setting alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from clinical_tables import clinical

from analysis.cohort.pairs import PairFeatures, PairLesion
from analysis.cohort.rereading import Cuts, reread
from analysis.cohort.response_tests import response_rows
from analysis.cohort.robustness import Finding, Question, leading_findings, robustness_rows
from analysis.cohort.settings import CohortSettings
from analysis.cohort.table import join, tabulated
from analysis.cohort.values import ResponseRow, Rule

MTV = "MTV[FDG medullary concordant]"
MEASURED = {"min_overlap": 0.1, "min_bone_fraction": 0.1, "subset_mean": "volume"}


def finding(estimate: float, low: float, high: float, measure: str = "Hedges g") -> Finding:
    return Finding(feature="x", outcome="response", measure=measure, estimate=estimate, low=low, high=high, p=0.01, n=20)


@pytest.mark.parametrize(
    ("main", "other", "survives"),
    [
        (finding(-0.9, -1.7, -0.1), finding(-0.8, -1.6, -0.05), True),
        (finding(-0.9, -1.7, -0.1), finding(-0.7, -1.5, 0.1), False),
        (finding(-0.9, -1.7, -0.1), finding(0.9, 0.1, 1.7), False),
        (finding(-0.5, -1.3, 0.3), finding(-0.1, -0.9, 0.7), True),
        (finding(-0.5, -1.3, 0.3), finding(0.1, -0.7, 0.9), False),
        (finding(-0.5, -1.3, 0.3), finding(np.nan, np.nan, np.nan), False),
        (finding(3.0, 1.2, 8.0, "rate ratio"), finding(2.5, 1.01, 7.0, "rate ratio"), True),
        (finding(3.0, 1.2, 8.0, "rate ratio"), finding(2.5, 0.9, 7.0, "rate ratio"), False),
        (finding(3.0, 1.2, 8.0, "rate ratio"), finding(np.inf, 1.5, np.inf, "rate ratio"), True),
        (finding(0.3, 0.1, 0.8, "rate ratio"), finding(0.4, 0.2, 0.9, "rate ratio"), True),
    ],
)
def test_the_direction_stays_and_so_does_what_was_decided(main: Finding, other: Finding, survives: bool) -> None:
    assert main.survives(other) is survives


def pair_of(number: int, *, responds: bool) -> PairFeatures:
    """One large lesion that overlaps by 15 %, large only where there is no response, and a small one that overlaps by half."""
    volume = 10.0 + number % 4 + (0.0 if responds else 30.0)
    lesions = (
        PairLesion(tracer="FDG", bone_fraction=1.0, overlap=0.15, comparable=True, volume_ml=volume, suv_mean=5.0, suv_max=9.0),
        PairLesion(
            tracer="FDG", bone_fraction=1.0, overlap=0.5, comparable=True, volume_ml=5.0 + number % 3, suv_mean=5.0, suv_max=9.0
        ),
    )
    bare = PairFeatures(
        patient_id=f"P{number}",
        fdg_date=date(2024, 1, 1),
        pentixafor_date=date(2024, 1, 2),
        features={},
        lesions=lesions,
        settings=MEASURED,
    )
    return reread(bare, cuts=Cuts(overlap=0.1, bone=0.1))


def test_a_difference_in_lesions_of_little_overlap_falls_with_a_higher_limit(tmp_path: Path) -> None:
    rows = [f"P{n},2024-02-01,{'PR' if n % 2 else 'SD'}" for n in range(20)] + ["P20,2024-02-01,"]
    table = clinical(tmp_path, "\n".join(["patient_id,therapy_date,response", *rows]))
    settings = CohortSettings()
    joined = join([pair_of(n, responds=bool(n % 2)) for n in range(21)], table, settings)
    cohort = tabulated(joined, table, settings)
    leading = leading_findings(response_rows(cohort, Rule.COMPLETE), (), Rule.COMPLETE)
    assert MTV in {each.feature for each in leading}
    found = robustness_rows(Question(joined=joined, clinical=table, settings=settings, table=cohort), leading)
    of = {(row.setting, row.choice): row for row in found if row.feature == MTV}
    limit = "concordant above an overlap of"
    assert of[limit, "0.1"].chosen
    assert {choice for setting, choice in of if setting == limit} >= {"0.1", "0.2", "0.3"}
    assert of[limit, "0.1"].survives
    assert not of[limit, "0.2"].survives
    assert of["unknown response", "complete cases"].n == 20
    assert of["unknown response", "unknown = non-responder"].n == 21
    assert of["unknown response", "unknown = non-responder"].survives


def test_the_smallest_p_lead_and_undefined_ones_never_do() -> None:
    row = response_rows_of([0.001, 0.04, 0.2, 0.5, np.nan])
    assert [each.p for each in leading_findings(row, (), Rule.COMPLETE)] == [0.001, 0.04, 0.2]
    many = response_rows_of(list(np.linspace(0.001, 0.04, 20)))
    assert len(leading_findings(many, (), Rule.COMPLETE)) == 12


def response_rows_of(p: list[float]) -> list[ResponseRow]:
    bare = ResponseRow(rule=Rule.COMPLETE, feature="", unit="1", test="Welch", n_responder=5, n_nonresponder=5, hedges_g=1.0)
    return [replace(bare, feature=f"f{place}", p=value) for place, value in enumerate(p)]

"""Whole cohort results in memory: plausible, seeded, and made without duet's own statistics. The report is tried on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import product

import numpy as np
from scipy import stats

from analysis.cohort.report_values import Occasion
from analysis.cohort.values import (
    Calibration,
    CohortTable,
    Column,
    Curve,
    Endpoint,
    FloatArray,
    Folds,
    FollowUp,
    InfluenceRow,
    Kind,
    ModelRow,
    ResponseRow,
    Results,
    RobustnessRow,
    Rule,
    Split,
    SurvivalRow,
    Swarm,
    Target,
    TreeResults,
    TreeRow,
)

NAN = math.nan
TITLE, SITE = "Cohort <1> & more", 'Ward "B" <script>'
OCCASION = Occasion(title=TITLE, made_at=datetime(2026, 11, 30, 9, 5), version="0.1.0", site=SITE)
SUV, ML = "g/ml{SUVbw}", "ml"
SETTINGS = {
    "cohort": {
        "preset": "",
        "response_from": ["m_protein", "flc", "category"],
        "landmark_days": 60,
        "permutations": 1999,
        "resamples": 200,
        "repeats": 10,
        "relabelings": 200,
        "max_depth": 3,
        "seed": 1,
    },
    "measurement": {"segmentation": {"threshold": "fixed", "fdg_suv": 4.0}},
}
SOFTWARE = {
    "duet-node": "0.1.0",
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "lifelines": "0.30.3",
    "scikit-learn": "1.9.1",
    "shap": "0.51.0",
}


def image_features() -> list[tuple[str, str]]:
    """The paper's 35 features of images: name and UCUM unit."""
    named = []
    for tracer, site, class_ in product(("FDG", "CXCR4"), ("medullary", "extramedullary"), ("concordant", "discordant")):
        total = "TLG" if tracer == "FDG" else "TLC"
        for measure, unit in (("SUVmean", SUV), ("SUVmax", SUV), ("MTV", ML), (total, "g")):
            named.append((f"{measure}[{tracer} {site} {class_}]", unit))
    return [*named, ("sDmax[FDG]", "/m"), ("sDmax[CXCR4]", "/m"), ("SUVmean[CXCR4 spleen]", SUV)]


def columns(random: np.random.Generator, n: int) -> tuple[Column, ...]:
    """35 features of images with gaps, and seven of the clinical table."""
    made = []
    for place, (name, unit) in enumerate(image_features()):
        middle = 300.0 if unit in (ML, "g") else 6.0
        values = random.lognormal(math.log(middle), 0.7 if unit in (ML, "g") else 0.35, n)
        values[random.random(n) < 0.04 * (place % 4)] = NAN
        made.append(Column(name=name, values=values, unit=unit))
    made += [
        Column(name="sex", values=(random.random(n) < 0.6) * 1.0, kind=Kind.YES_NO, clinical=True, yes="male"),
        Column(name="age", values=random.normal(62, 8, n).round(), unit="a", clinical=True),
        Column(name="weight_kg", values=random.normal(76, 12, n).round(1), unit="kg", clinical=True),
        Column(name="bmi", values=random.normal(25, 3, n).round(1), unit="kg/m2", clinical=True),
        Column(name="disease_duration_months", values=random.gamma(3, 20, n).round(), unit="mo", clinical=True),
        Column(name="high_risk_cytogenetics", values=(random.random(n) < 0.4) * 1.0, kind=Kind.YES_NO, clinical=True),
        Column(
            name="b2m_mg_l", values=np.where(random.random(n) < 0.3, NAN, random.gamma(4, 1.2, n)), unit="mg/l", clinical=True
        ),
    ]
    return tuple(made)


def table_of(random: np.random.Generator, n: int, patients: Sequence[str], made: tuple[Column, ...]) -> CohortTable:
    """A table whose longer lives belong to lower values of the first column."""
    days = (random.exponential(260, n) * (1.4 - stats.rankdata(made[0].values) / n)).round() + 20
    event = random.random(n) < 0.75
    response = (random.random(n) < 0.5) * 1.0
    response[: max(1, n // 12)] = NAN
    kinds = random.choice(["IgG kappa", "IgG lambda", "IgA kappa", "light chain"], n)
    counts = {
        f"{tracer} {site} {class_}": random.poisson(6, n) * 1.0
        for tracer, site, class_ in product(("FDG", "CXCR4"), ("medullary", "extramedullary"), ("concordant", "discordant"))
    }
    counts["CXCR4 medullary discordant"][0] = NAN
    return CohortTable(
        cycles=tuple(f"{patient} 2024-{1 + i % 12:02d}-{5 + i % 20:02d}" for i, patient in enumerate(patients)),
        patients=tuple(patients),
        columns=made,
        response=response,
        follow_up={
            Endpoint.OS: FollowUp(days=days, event=event),
            Endpoint.PFS: FollowUp(days=(days * random.uniform(0.3, 1, n)).round(), event=event | (random.random(n) < 0.6)),
        },
        facts={
            "mm_subtype": tuple(str(kind) for kind in kinds),
            "prior_lines": tuple(str(int(lines)) for lines in random.integers(3, 9, n)),
            "prior_hsct": tuple(str(word) for word in random.choice(["autologous", "allogeneic", "none"], n)),
            "hsct": tuple(None if i < 2 else "autologous" for i in range(n)),
            "radionuclide": tuple(str(word) for word in random.choice(["Lu-177", "Y-90"], n)),
            "activity_gbq": tuple(f"{activity:.1f}" for activity in random.normal(7.2, 1.5, n)),
        },
        lesion_counts=counts,
        notes=(
            f"{patients[0]}: beta-2 microglobulin of 210 mg/l looks odd and was left as it is.",
            "2 pairs of scans without a cycle of therapy were left out.",
        ),
    )


def response_row(table: CohortTable, column: Column, rule: Rule) -> ResponseRow:
    """SciPy's Welch or Fisher test; Hedges g with its large-sample interval."""
    labels = table.labels(rule)
    known = ~np.isnan(column.values)
    yes, no = column.values[(labels == 1) & known], column.values[(labels == 0) & known]
    about = {"rule": rule, "feature": column.name, "unit": column.unit, "n_responder": yes.size, "n_nonresponder": no.size}
    if min(yes.size, no.size) < 2:
        return ResponseRow(**about, test="none", note="Fewer than two values in a group.")
    means = {"mean_responder": yes.mean(), "mean_nonresponder": no.mean(), "difference": yes.mean() - no.mean()}
    if column.kind is Kind.YES_NO:
        return ResponseRow(**about, **means, **odds(yes, no))
    welch = stats.ttest_ind(yes, no, equal_var=False)
    interval = welch.confidence_interval(0.95)
    n = yes.size + no.size
    pooled = math.sqrt(((yes.size - 1) * yes.var(ddof=1) + (no.size - 1) * no.var(ddof=1)) / (n - 2))
    g = (1 - 3 / (4 * (n - 2) - 1)) * means["difference"] / pooled
    half = 1.96 * math.sqrt(n / (yes.size * no.size) + g * g / (2 * n))
    bounds = {
        "difference_low": interval.low,
        "difference_high": interval.high,
        "hedges_g": g,
        "g_low": g - half,
        "g_high": g + half,
    }
    return ResponseRow(**about, **means, **bounds, test="Welch", p=float(welch.pvalue), q=min(1.0, float(welch.pvalue) * 6))


def odds(yes: FloatArray, no: FloatArray) -> dict[str, float | str]:
    a, b, c, d = yes.sum() + 0.5, no.sum() + 0.5, (1 - yes).sum() + 0.5, (1 - no).sum() + 0.5
    wide = 1.96 * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    p = float(stats.fisher_exact([[yes.sum(), no.sum()], [(1 - yes).sum(), (1 - no).sum()]]).pvalue)
    ratio = a * d / (b * c)
    bounds = {"odds_ratio": ratio, "or_low": ratio * math.exp(-wide), "or_high": ratio * math.exp(wide)}
    return {"test": "Fisher", "p": p, "q": min(1.0, p * 6), **bounds}


def curve_of(name: str, days: FloatArray, event: np.ndarray) -> Curve:
    """Product-limit estimate with Greenwood's log-log band, step by step."""
    steps, survival, low, high, risk, gathered = [0.0], [1.0], [NAN], [NAN], [days.size], 0.0
    for day in np.unique(days[event]):
        at_risk, died = int((days >= day).sum()), int(((days == day) & event).sum())
        survival.append(survival[-1] * (1 - died / at_risk))
        gathered += died / (at_risk * (at_risk - died)) if at_risk > died else NAN
        s = survival[-1]
        wide = 1.96 * math.sqrt(gathered) / abs(math.log(s)) if 0 < s < 1 and not math.isnan(gathered) else NAN
        low.append(s ** math.exp(wide) if not math.isnan(wide) else NAN)
        high.append(s ** math.exp(-wide) if not math.isnan(wide) else NAN)
        steps.append(float(day))
        risk.append(at_risk)
    return Curve(
        name=name,
        days=np.array(steps),
        survival=np.array(survival),
        low=np.array(low),
        high=np.array(high),
        at_risk=np.array(risk, dtype=np.int64),
        censored=np.sort(days[~event]),
        n=days.size,
        events=int(event.sum()),
    )


def split_of(table: CohortTable, column: Column, endpoint: Endpoint, landmark: float = 0.0) -> Split:
    """SciPy's log-rank test and a rate ratio with an interval of its logarithm."""
    follow = table.follow_up[endpoint]
    kept = follow.known & ~np.isnan(column.values) & (follow.days > landmark)
    days, event, values = follow.days[kept] - landmark, follow.event[kept], column.values[kept]
    cut = NAN if column.kind is Kind.YES_NO else float(np.median(values)) if values.size else NAN
    high = values > (0.5 if math.isnan(cut) else cut)
    about = {"feature": column.name, "unit": column.unit, "endpoint": endpoint, "landmark_days": landmark, "cut": cut}
    sizes = {"n_high": int(high.sum()), "n_low": int((~high).sum())}
    d1, d0 = int(event[high].sum()), int(event[~high].sum())
    if min(sizes.values()) == 0 or d1 + d0 == 0:
        why = "One group is empty." if min(sizes.values()) == 0 else "No event."
        return Split(row=SurvivalRow(**about, **sizes, events_high=d1, events_low=d0, note=why))
    ratio = (d1 / days[high].sum()) / (d0 / days[~high].sum()) if d0 else math.inf
    wide = 1.96 * math.sqrt(1 / d1 + 1 / d0) if d1 and d0 else NAN
    ends = (ratio * math.exp(-wide), ratio * math.exp(wide)) if d1 and d0 else (0.0, math.inf)
    test = stats.logrank(
        stats.CensoredData.right_censored(days[high], ~event[high]),
        stats.CensoredData.right_censored(days[~high], ~event[~high]),
    )
    p = float(test.pvalue)
    row = SurvivalRow(
        **about,
        **sizes,
        events_high=d1,
        events_low=d0,
        rate_ratio=ratio,
        rate_ratio_low=ends[0],
        rate_ratio_high=ends[1],
        rate_ratio_p=p,
        logrank_chi2=float(test.statistic**2),
        logrank_p=p,
        logrank_permuted_p=min(1.0, p * 1.1),
        q=min(1.0, p * 5),
        cox_hr=ratio,
        cox_low=ends[0],
        cox_high=ends[1],
        cox_p=p,
        firth_hr=ratio * 0.9 if d0 else 12.0,
        firth_low=ends[0] * 0.9,
        firth_high=ends[1] * 0.9,
        firth_p=p,
        cox_unit_hr=1.2,
        cox_unit_low=0.8,
        cox_unit_high=1.8,
        cox_unit_p=0.4,
        ph_p=0.5,
        rmst_horizon_days=365.0,
        rmst_difference_days=-40.0,
        rmst_low_days=-110.0,
        rmst_high_days=30.0,
        rmst_p=0.26,
        c_index=0.61,
        c_low=0.48,
        c_high=0.74,
        c_optimism=0.02,
        c_corrected=0.59,
    )
    curves = {"high": curve_of("high", days[high], event[high]), "low": curve_of("low", days[~high], event[~high])}
    return Split(row=row, **curves)


def trees_of(random: np.random.Generator, table: CohortTable) -> TreeResults:
    """Trees that found little: SHAP of three features, the rest unused."""
    names = tuple(column.name for column in table.columns)
    values = np.column_stack([column.values for column in table.columns])
    rows, models, swarms, calibrations, influence = [], [], [], [], []
    for target, folds in product(Target, Folds):
        weights = np.sort(random.gamma(0.4, 0.06, len(names)))[::-1].copy()
        weights[len(names) // 2 :] = 0.0
        shap = weights * (np.nan_to_num(stats.zscore(values, nan_policy="omit")) + random.normal(0, 0.5, values.shape))
        swarms.append(Swarm(target=target, folds=folds, features=names, shap=shap, values=values))
        rows += list(tree_rows(random, target, folds, names, np.abs(shap).mean(axis=0)))
        auc = float(random.uniform(0.42, 0.7))
        models.append(model_row(table, target, folds, auc))
        if target is not Target.OS:
            calibrations.append(calibration_of(target, folds))
        for patient in dict.fromkeys(table.patients):
            one = {
                "auc": auc + float(random.normal(0, 0.04)),
                "top_feature": names[0],
                "top_stays": bool(random.random() < 0.9),
            }
            influence.append(InfluenceRow(target=target, folds=folds, patient=patient, **one))
    return TreeResults(
        rows=tuple(rows),
        models=tuple(models),
        swarms=tuple(swarms),
        calibrations=tuple(calibrations),
        influence=tuple(influence),
    )


def tree_rows(
    random: np.random.Generator, target: Target, folds: Folds, names: Sequence[str], means: FloatArray
) -> Iterator[TreeRow]:
    ranks = (-means).argsort(kind="stable").argsort(kind="stable") + 1
    for name, mean, rank in zip(names, means, ranks, strict=True):
        used = int(random.integers(20, 50)) if mean > 0 else 0
        yield TreeRow(
            target=target,
            folds=folds,
            feature=name,
            mean_abs_shap=float(mean),
            rank=int(rank),
            sign=int(random.choice([-1, 1])) if used else 0,
            sign_agreement=float(random.uniform(0.55, 1.0)) if used else NAN,
            folds_used=used,
            folds_all=50,
            null_p=float(random.uniform(0.03, 0.9)) if used else NAN,
            shap_null_p=float(random.uniform(0.01, 0.9)) if used else NAN,
        )


def model_row(table: CohortTable, target: Target, folds: Folds, auc: float) -> ModelRow:
    recalibrated = {"balanced_accuracy": 0.52, "calibration_intercept": -0.1, "calibration_slope": 0.35, "brier": 0.29}
    return ModelRow(
        target=target,
        folds=folds,
        n=len(table) - 2,
        positives=len(table) // 2,
        left_out=2,
        auc=auc,
        auc_low=auc - 0.2,
        auc_high=min(1.0, auc + 0.2),
        null_p=0.31,
        null_low=0.29,
        null_high=0.71,
        **(recalibrated if target is not Target.OS else {}),
        relabelings=200,
        note="" if target is not Target.OS else "Harrell's C; no calibration for a time.",
    )


def calibration_of(target: Target, folds: Folds) -> Calibration:
    return Calibration(
        target=target,
        folds=folds,
        predicted=np.array([0.2, 0.45, 0.7]),
        observed=np.array([0.38, 0.5, 0.57]),
        low=np.array([0.14, 0.21, 0.18]),
        high=np.array([0.68, 0.79, 0.9]),
        rows=np.array([8, 8, 7], dtype=np.int64),
    )


def robustness_of(
    random: np.random.Generator, response: Sequence[ResponseRow], splits: Sequence[Split]
) -> Iterator[RobustnessRow]:
    """Every choice of six settings for the three leading features of each outcome."""
    choices = {
        "PET threshold": ["fixed SUV 4", "41 % of maximum", "liver", "blood pool"],
        "overlap": ["of the smaller", "of FDG", "of the union"],
        "concordant above": ["5 %", "10 %", "20 %"],
        "medullary from": ["5 %", "10 %", "50 %"],
        "SUVmean": ["volume-weighted", "mean of lesions"],
        "cycles": ["all", "first of each patient"],
    }
    found = [(r.feature, "response", "Hedges g", r.hedges_g, r.g_low, r.g_high, r.p) for r in leading(response)]
    for endpoint in Endpoint:
        own = [s.row for s in splits if s.row.endpoint is endpoint and s.row.landmark_days == 0]
        found += [
            (r.feature, str(endpoint), "rate ratio", r.rate_ratio, r.rate_ratio_low, r.rate_ratio_high, r.logrank_p)
            for r in sorted(own, key=lambda r: (math.isnan(r.logrank_p), r.logrank_p))[:3]
        ]
    for (feature, outcome, measure, value, low, high, p), (setting, options) in product(found, choices.items()):
        for place, choice in enumerate(options):
            chosen = place == (1 if len(options) == 3 else 0)
            factor = 1.0 if chosen else float(random.uniform(0.6, 1.1))
            about = {
                "setting": setting,
                "choice": choice,
                "chosen": chosen,
                "feature": feature,
                "outcome": outcome,
                "measure": measure,
            }
            numbers = {"estimate": value * factor, "low": low * factor, "high": high * factor, "p": p, "n": 24}
            yield RobustnessRow(**about, **numbers, survives=chosen or factor > 0.75)


def leading(response: Sequence[ResponseRow]) -> list[ResponseRow]:
    own = [row for row in response if row.rule is Rule.COMPLETE and row.test == "Welch"]
    return sorted(own, key=lambda row: row.p)[:3]


def results_of(seed: int, table: CohortTable, trees: bool = True) -> Results:
    """Every statistic of a table, with stand-ins for what no other package gives."""
    random = np.random.default_rng(seed)
    response = [response_row(table, column, rule) for rule in Rule for column in table.columns]
    splits = [split_of(table, column, endpoint) for endpoint in Endpoint for column in table.columns]
    splits += [split_of(table, column, Endpoint.OS, 60.0) for column in table.columns[:10]]
    return Results(
        table=table,
        response=tuple(response),
        splits=tuple(splits),
        trees=trees_of(random, table) if trees else TreeResults(),
        robustness=tuple(robustness_of(random, response, splits)) if trees else (),
        settings=SETTINGS if trees else {},
        software=SOFTWARE,
    )


@cache
def usual() -> Results:
    """24 cycles of 22 patients, 42 columns, as in the paper."""
    random = np.random.default_rng(22)
    patients = [f"P{1 + i:03d}" for i in range(22)]
    return results_of(22, table_of(random, 24, [*patients, "P004", "P009"], columns(random, 24)))


@cache
def small() -> Results:
    """Twelve cycles and eight columns: everything is in it, and it is quick to draw."""
    random = np.random.default_rng(12)
    made = columns(random, 12)
    patients = [f"S{i}x" for i in range(11)]
    return results_of(12, table_of(random, 12, [*patients, "S0x"], (*made[:4], *made[-4:])))


@cache
def tiny() -> Results:
    """Five cycles, no event, one responder, no trees, no facts, no lesion counts, no settings."""
    random = np.random.default_rng(5)
    made = columns(random, 5)
    days = np.array([40.0, 90.0, 130.0, NAN, 200.0])
    nothing = FollowUp(days=days, event=np.zeros(5, dtype=np.bool_))
    table = CohortTable(
        cycles=tuple(f"T{i}" for i in range(5)),
        patients=tuple("ABCDE"),
        columns=made,
        response=np.array([1.0, 0.0, 0.0, NAN, NAN]),
        follow_up={Endpoint.OS: nothing},
    )
    response = [response_row(table, column, rule) for rule in Rule for column in made]
    return Results(
        table=table,
        response=tuple(response),
        splits=tuple(split_of(table, column, Endpoint.OS) for column in made),
        software=SOFTWARE,
    )


@cache
def long_names() -> Results:
    """60 features with long names and Umlaute, names that markup would trip over, and long numbers of patients."""
    random = np.random.default_rng(60)
    n = 40
    sites = ("medullär", "extramedullär (Weichteilgewebe)", "paraossär <angrenzend> & unscharf")
    measures = ("SUVmean", "SUVmax", "MTV", "Gesamtläsionsglykolyse_TLG", "Oberflächenverhältnis")
    named = [
        f"{measure}[{tracer} {site} {class_}]"
        for measure, tracer, site, class_ in product(
            measures, ("FDG", "CXCR4"), sites, ("übereinstimmend", "nicht übereinstimmend")
        )
    ]
    made = tuple(Column(name=name, values=random.lognormal(3, 0.9, n), unit=ML) for name in named)
    patients = [f"KLINIKUM-GROẞHADERN/Hämatologie/2024-{i:05d}-Ä{i % 7}" for i in range(n - 5)]
    return results_of(60, table_of(random, n, patients + patients[:5], made))

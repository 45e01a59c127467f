"""The part on survival: curves of the leading splits, rate ratios of all features, and the trees for survival."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from analysis.cohort.figures_survival import kaplan_meier, rate_forest
from analysis.cohort.report_numbers import counted, interval, p_value
from analysis.cohort.report_response import parts
from analysis.cohort.report_rows import endpoints, leading_splits, splits, survival_family
from analysis.cohort.report_summary import family_sentence
from analysis.cohort.report_trees import tree_blocks
from analysis.cohort.report_values import Block, FigureBlock, Section, Sentences
from analysis.cohort.values import Endpoint, Results, Target

_WORDS = {
    Endpoint.OS: "Overall survival (death of any cause)",
    Endpoint.PFS: "Progression-free survival (progression or death)",
}


def survival_section(results: Results) -> Section:
    """Figure 4 of the paper, for this cohort."""
    blocks: list[Block] = []
    for endpoint in Endpoint:
        blocks += _endpoint(results, endpoint)
    blocks += _forests(results)
    blocks += tree_blocks(results, Target.OS)
    return Section(
        key="survival",
        title="Overall and progression-free survival (Figure 4 of the paper, for this cohort)",
        blocks=tuple(blocks),
    )


def _endpoint(results: Results, endpoint: Endpoint) -> Iterator[Block]:
    follow = results.table.follow_up.get(endpoint)
    if follow is None:
        yield Sentences(lines=(f"{_WORDS[endpoint]}: this cohort has no such follow-up.",))
        return
    known, events = int(follow.known.sum()), int(follow.event[follow.known].sum())
    counts = f"{_WORDS[endpoint]}: {counted(known, 'cycle')} with follow-up, {counted(events, 'event')}."
    found = survival_family(results, endpoint)
    if found.tests == 0:
        yield Sentences(lines=(f"{counts} No curves could be compared.",))
        return
    yield Sentences(lines=(counts, family_sentence("High against low", found)))
    leading = leading_splits(results, endpoint)
    drawn = tuple(split for split in leading if split.high is not None or split.low is not None)
    if drawn:
        yield FigureBlock(
            label="",
            name=f"{endpoint.lower()}-curves",
            title=f"{endpoint}: the {counted(len(drawn), 'split')} with the smallest log-rank p",
            alt="; ".join(
                f"{s.row.feature}: n/n {s.row.n_high}/{s.row.n_low}, log-rank p {p_value(s.row.logrank_p)}, rate ratio "
                f"{interval(s.row.rate_ratio, s.row.rate_ratio_low, s.row.rate_ratio_high)}"
                for s in drawn
            )
            + ".",
            shows=(
                "Kaplan-Meier curves of high (orange, dashed) and low (blue) values with 95 % bands, censored cycles as "
                "ticks, and numbers at risk."
            ),
            shows_not=(
                "It does not show a cut-off to use: the median belongs to this cohort, and taking the smallest of "
                f"{found.tests} p values is selection."
            ),
            draw=partial(kaplan_meier, drawn),
        )


def _forests(results: Results) -> Iterator[FigureBlock]:
    rows = {endpoint: {s.row.feature: s.row for s in splits(results, endpoint)} for endpoint in endpoints(results)}
    rows = {endpoint: known for endpoint, known in rows.items() if survival_family(results, endpoint).tests}
    names = [c.name for c in results.table.columns if any(c.name in known for known in rows.values())]
    pages = parts(len(names)) if names else ()
    for place, page in enumerate(pages):
        yield FigureBlock(
            label="",
            name="rate-ratios" + (f"-{place + 1}" if len(pages) > 1 else ""),
            title="Rate ratios of all features" + (f", part {place + 1} of {len(pages)}" if len(pages) > 1 else ""),
            alt=(
                f"Forest plot of rate ratios, high over low, for {counted(len(names[page]), 'feature')}; every number "
                "stands in the full tables."
            ),
            shows=(
                "Events per time at risk, high over low, with the exact 95 % interval, the log-rank p and its q; an arrow: "
                "the interval goes on."
            ),
            shows_not=(
                "It does not show independent effects: each feature stands alone, unadjusted, and no interval is widened "
                "for the number of features."
            ),
            draw=partial(rate_forest, names[page], rows),
        )

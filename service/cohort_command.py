"""`duet cohort`: the report of a cohort into a folder, or as a new version to the archive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from analysis.cohort.pairs import PairFeatures, read_pairs
from analysis.cohort.values import Endpoint, Results, Rule
from analysis.errors import BadSettings
from analysis.ports import Progress
from service.cohort_inputs import CohortSection, clinical_table, cohort_section, pairs_of_cases
from service.cohort_keeper import Shelf, make_now
from service.cohort_making import analysed, write_results
from service.cohorts import finished_cases
from service.config import Settings
from service.desk import journal_of, node_runs
from service.node_settings import destinations_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is named on the command line; None: as duet.toml has it."""

    clinical: Path | None = None
    features: Path | None = None
    preset: str = ""

    def section(self, settings: Settings) -> CohortSection:
        """[cohort] with what was named in its place. Raises BadSettings."""
        section = cohort_section(settings)
        if self.preset not in ("", "paper"):
            raise BadSettings(f'--preset: {self.preset!r} is not known; there is "paper".')
        clinical = self.clinical or section.clinical
        if clinical is None:
            raise BadSettings("No clinical table is named; give it with --clinical, or as clinical in [cohort].")
        return replace(section, clinical=clinical, preset=self.preset or section.preset)


def report_into(settings: Settings, asked: Asked, out: Path, progress: Progress) -> Sequence[str]:
    """Everything of the report into `out`; what was found, a sentence each. Raises Rejected, OSError."""
    section = asked.section(settings)
    assert section.clinical is not None  # noqa: S101  see Asked.section
    clinical = clinical_table(section.clinical)
    pairs = _pairs(settings, asked.features)
    results = analysed(pairs, clinical, section, progress)
    progress("Writing the report", 0.92)
    out.mkdir(parents=True, exist_ok=True)
    write_results(results, out, number=0, made_at=datetime.now(UTC))
    progress("Done", 1.0)
    return summary(results)


def _pairs(settings: Settings, features: Path | None) -> tuple[PairFeatures, ...]:
    if features is not None:
        if not features.exists():
            raise BadSettings(f"{features}: there is no such file or folder of features.")
        return read_pairs(features)
    with journal_of(settings) as journal:
        return pairs_of_cases(settings.node.data.absolute(), finished_cases(journal))


def summary(results: Results) -> tuple[str, ...]:
    """What a person at the terminal should know at once."""
    table = results.table
    tested = [row for row in results.response if row.rule is Rule.COMPLETE and row.test != "none"]
    lines = [f"{len(table)} treatment cycles of {len(set(table.patients))} patients, {len(table.columns)} features."]
    if tested:
        below, chance = sum(row.p < 0.05 for row in tested), 0.05 * len(tested)
        lines.append(f"Response: {below} of {len(tested)} features with p < .05, where chance alone gives about {chance:.1f}.")
    for endpoint in Endpoint:
        rows = [split.row for split in results.splits if split.row.endpoint is endpoint and split.row.landmark_days == 0]
        known = [row.logrank_p for row in rows if not math.isnan(row.logrank_p)]
        if known:
            below, chance = sum(p < 0.05 for p in known), 0.05 * len(known)
            lines.append(
                f"{endpoint}: {below} of {len(known)} features with p < .05, where chance alone gives about {chance:.1f}."
            )
    return (*lines, *table.notes)


def send_now(settings: Settings, asked: Asked, progress: Progress) -> str:
    """A new version of the report on its way to every destination; what follows in one sentence. Raises Rejected."""
    if asked.features is not None:
        raise BadSettings("--send reports the cases of the journal; leave --features out.")
    section = asked.section(settings)
    data = settings.node.data.absolute()
    names = [destination.name for destination in destinations_of(settings)]
    with journal_of(settings) as journal:
        version, new = make_now(journal, Shelf(data=data, section=section, destinations=names), progress)
    what = f"Version {version.version} of the cohort's report ({version.cycles} treatment cycles)"
    if not new:
        return f"{what} is the newest: no case, outcome or setting has changed since."
    if not names:
        return f"{what} lies in {data / version.folder}; no [[destination]] is set, so it stays there."
    return f"{what} is made; {'the node sends it now' if node_runs(data) else 'the next node that starts sends it'}."

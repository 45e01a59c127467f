"""How the commands show things on a terminal, and in plain lines where there is none."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analysis.errors import BadSettings
from analysis.ports import Progress as Tell
from service.casebook import StudyRow
from service.config import Settings
from service.desk import journal_of, node_runs
from service.destinations import Destination
from service.lines import plain
from service.overview import CaseView, CohortView, Overview, as_json, moment, overview, study_state
from service.postings import DeliveryCount
from service.tables import JobState
from service.undelivered import as_json as undelivered_as_json
from service.undelivered import lines as lines_of
from service.undelivered import undelivered

WIDTH = 100  # columns, also of a wider terminal: longer lines are hard to read
NARROWEST = 60
SHORT = 400  # characters of a sentence where all patients are listed
_INDENT = 13  # columns before what is said of a state
_COLOURS = {
    "held": "red",
    "on hold": "red",
    "rejected": "red",
    "parked": "magenta",
    "waiting": "yellow",
    "releasing": "cyan",
    "running": "cyan",
    "delivered": "green",
}
_FILLER = "\ue000"  # of the private use area; `plain` leaves none in a sentence


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """A bar on standard error that is told a sentence and the part done; one line for each sentence where it is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (SpinnerColumn(), BarColumn(bar_width=30), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda message, fraction: bar.update(task, description=message, completed=fraction)


class _Lines:
    """Says each sentence once."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, ""

    def __call__(self, message: str, fraction: float) -> None:
        if message != self._last:
            self._last = message
            self._console.print(f"{fraction:4.0%}  {message}", highlight=False, markup=False)


def show_overview(settings: Settings, patient_id: str | None, *, json: bool = False) -> None:
    """Print what the journal knows. Raises BadSettings where there is none, or it does not know the patient."""
    if patient_id is not None:  # a byte of another character set comes as a surrogate, which no database takes
        patient_id = patient_id.encode(errors="backslashreplace").decode()
    with journal_of(settings) as journal:
        known = overview(journal, patient_id)
    if patient_id is not None and not known.studies and not known.cases:
        raise BadSettings(f"The node has received nothing of a patient with the ID {patient_id!r}.")
    runs = node_runs(settings.node.data)
    if json:
        typer.echo(as_json(known, node_runs=runs))
        return
    if not runs:
        typer.echo(f"No node runs on {settings.node.data}; this is how it was left.")
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    named = "" if settings.source == Settings().source else f" --config {shlex.quote(settings.source)}"
    page = Page(whole=patient_id is not None, width=max(NARROWEST, min(WIDTH, width)), options=named)
    typer.echo("\n".join(page.lines(known)))


def show_undelivered(settings: Settings, patient_id: str | None, *, json: bool = False) -> None:
    """Print what destinations are owed. Raises BadSettings where there is no journal."""
    names = {destination.name for destination in settings.sections("destination", Destination)}
    with journal_of(settings) as journal:
        owed = undelivered(journal, names, patient_id)
    if json:
        typer.echo(undelivered_as_json(owed))
        return
    if not node_runs(settings.node.data):
        typer.echo(f"No node runs on {settings.node.data}; this is how it was left.")
    for what, sentence in lines_of(owed, time.time()):
        typer.echo(plain(what))
        if sentence:
            typer.echo(f"  {plain(sentence)}")
    typer.echo(
        f"{len(owed)} object(s) owed; duet resend has them tried now." if owed else "Nothing is owed to any destination."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How an overview is written. whole: every finding with value and limit, and no totals; options: of the next command."""

    whole: bool = False
    width: int = WIDTH
    options: str = ""

    def lines(self, known: Overview) -> Iterator[str]:
        """Everything, patient by patient."""
        entries: list[StudyRow | CaseView] = sorted((*known.studies, *known.cases), key=_patient)
        for patient_id, group in groupby(entries, key=_patient):
            yield typer.style(plain(patient_id) or "(no Patient ID)", bold=True)
            for entry in group:
                yield from self._study(entry) if isinstance(entry, StudyRow) else self._case(entry)
        if not self.whole:
            yield from self._totals(known)

    def _study(self, row: StudyRow) -> Iterator[str]:
        state, sentence = study_state(row)
        yield _stated(state, f"{row.tracer or 'unknown'} study of {_date(row.study_date)}, {row.instances} objects")
        yield from self._said(sentence if self.whole else _shortened(sentence, "duet status PATIENT"))

    def _case(self, case: CaseView) -> Iterator[str]:
        job, outcome = case.job, case.outcome
        verdict = f", quality {outcome.verdict}" if outcome is not None else ""
        yield _stated(case.state, f"case {job.id}, version {job.version}{verdict}")
        if outcome is None or job.failures or case.state not in ("on hold", "releasing", "delivered", "returned"):
            yield from self._said(job.sentence or job.progress)
        for finding in sorted(outcome.findings, key=_urgency) if outcome is not None else ():
            if self.whole or finding["verdict"] != "ok":
                yield from self._finding(finding)
        if case.state == "on hold":
            yield from self._said(f"Look at cases/{job.pair_uid}, then:")
            yield f'{" " * _INDENT}duet release {job.id}{self.options} --why "..."'  # whole, as it is copied
        if case.release is not None:
            given = case.release
            yield from self._said(f"Released by {given.released_by}, {moment(given.released_at)}: {given.why}")
        if job.state is JobState.DONE:
            yield from self._said(_deliveries(case.deliveries))

    def _finding(self, finding: Mapping[str, Any]) -> Iterator[str]:
        """Its verdict and sentence; on a whole page with name, value and limit before them."""
        number, limit = finding["value"], finding["limit"]
        value = "none" if number is None else f"{number:.4g}" if isinstance(number, int | float) else str(number)
        named = f"{finding['name']}: {value}{f' (limit {limit})' if limit else ''}. " if self.whole else ""
        yield from self._said(f"{finding['verdict']:<5}{named}{finding['message']}", hanging=5)

    def _cohort(self, cohort: CohortView) -> Iterator[str]:
        yield typer.style("Cohort", bold=True)
        if cohort.newest is not None:
            row = cohort.newest
            arrived = cohort.deliveries and all(count.delivered == count.total for count in cohort.deliveries)
            yield _stated(
                "delivered" if arrived else "returned", f"report of {row.cycles} treatment cycles, version {row.version}"
            )
            yield from self._said(f"Made {moment(row.made_at)}; {row.folder}. {_deliveries(cohort.deliveries)}")
        if cohort.refused:
            yield _stated("held", "no newer report can be made")
            yield from self._said(cohort.refused)

    def _totals(self, known: Overview) -> Iterator[str]:
        if known.cohort is not None:
            yield from self._cohort(known.cohort)
        for each in known.unused:
            yield _stated(each.state, f"{each.count} object(s), for instance {plain(each.example)}")
            yield from self._said(_shortened(each.sentence, "duet status --json"))
        held = sum(case.state == "on hold" for case in known.cases)
        if held:
            yield f"{held} case(s) on hold: nothing of them is sent until an operator releases them."
        if known.restored is not None:
            made, at = moment(known.restored.made_at), moment(known.restored.restored_at)
            yield f"Restored {at} from a backup of {made}; what came in between is to be sent again."
        parts = ", ".join(f"{count} {state}" for state, count in sorted(known.objects.items()))
        yield f"{sum(known.objects.values())} objects received{': ' if parts else ''}{parts}."

    def _said(self, sentence: str, hanging: int = 0) -> Iterator[str]:
        """A sentence below its state, wrapped; hanging: columns by which the lines after the first are set in further."""
        text = plain(sentence)
        width = self.width
        if not text.isascii():  # a Chinese or Japanese sign takes two columns: the filler, for the second one, may be cut off
            text, width = "".join(c + _FILLER * (cell_len(c) - 1) for c in text), width - 1
        further = " " * (_INDENT + hanging)
        lines = textwrap.wrap(text, width, initial_indent=" " * _INDENT, subsequent_indent=further, break_on_hyphens=False)
        for line in lines:
            yield line.replace(_FILLER, "")


def _urgency(finding: Mapping[str, Any]) -> int:
    return ("hold", "warn", "ok").index(finding["verdict"])


def _patient(entry: StudyRow | CaseView) -> str:
    return entry.patient_id if isinstance(entry, StudyRow) else entry.job.patient_id


def _stated(state: str, what: str) -> str:
    return f"  {typer.style(f'{state:<{_INDENT - 2}}', fg=_COLOURS.get(state))}{what}"


def _shortened(sentence: str, where: str) -> str:
    return sentence if len(sentence) <= SHORT else f"{sentence[:SHORT]} ... ({where} shows all)"


def _deliveries(counts: Sequence[DeliveryCount]) -> str:
    if not counts:
        return "No [[destination]] is set: the results stay in the case folder."
    return " ".join(f"{c.destination}: {c.delivered} of {c.total}{_committed(c)}. {c.sentence}".strip() for c in counts)


def _committed(count: DeliveryCount) -> str:
    """That a destination answers for objects, or that it has some and is yet to."""
    if count.stored > count.delivered:
        return f", {count.stored} stored, {count.committed} committed"
    return f", {count.committed} committed" if count.committed else ""


def _date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else "unknown date"

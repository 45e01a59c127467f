"""How the commands show things on a terminal, and in plain lines where there is none."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from analysis.errors import BadSettings
from analysis.ports import Progress as Tell
from service.config import Settings
from service.journal import journal_url, open_journal
from service.overview import Overview, overview


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


def show_overview(settings: Settings, patient_id: str | None) -> None:
    """Print what the journal knows. Raises BadSettings where there is none, or it does not know the patient."""
    node = settings.node
    url = journal_url(node.journal, node.data)
    if url.startswith("sqlite") and not (node.data / "journal.sqlite").exists() and not node.journal:
        raise BadSettings(f"No node has run on {node.data} yet; name its settings with --config, or start it with: duet serve.")
    journal = open_journal(node.journal, node.data)
    known = overview(journal, patient_id)
    journal.close()
    if patient_id is not None and not known.lines:
        raise BadSettings(f"The node has received nothing of a patient with the ID {patient_id}.")
    if not _node_runs(node.data):
        typer.echo(f"No node runs on {node.data}; this is how it was left.")
    _print(known, with_totals=patient_id is None)


def _node_runs(data: Path) -> bool:
    """Whether a node holds the lock of its data folder; True also where that cannot be found out from here."""
    try:
        with (data / "node.lock").open("rb") as lock:
            # Shared, and let go at once: other `duet status` do not disturb this one, nor this one a node that starts.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return not data.is_dir()
    except OSError:
        return True
    return False


def _print(known: Overview, *, with_totals: bool) -> None:
    console = Console()
    if console.is_terminal:
        console.print(_table(known))
    else:
        for line in known.lines:
            typer.echo("\t".join((plain(line.patient_id) or "-", plain(line.what), line.state, plain(line.sentence))))
    if with_totals:
        total = sum(known.objects.values())
        parts = ", ".join(f"{count} {state}" for state, count in sorted(known.objects.items()))
        typer.echo(f"{total} objects received{': ' if parts else ''}{parts}.")


def _table(known: Overview) -> Table:
    table = Table("Patient", "What", "State", "Why", box=None, header_style="bold")
    colours = {"held": "red", "rejected": "red", "waiting": "yellow", "delivered": "green", "running": "cyan"}
    for line in known.lines:
        # As Text: brackets in a sentence are no markup.
        cells = [Text(plain(words)) for words in (line.patient_id, line.what, line.state, line.sentence)]
        table.add_row(*cells, style=colours.get(line.state.split(":")[0], ""))
    return table


def plain(words: str) -> str:
    """Without control characters, which would shift columns or steer the terminal: a space stands in for each."""
    return "".join(c if c.isprintable() else " " for c in words)

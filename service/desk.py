"""What an operator does at the command line with a node's journal, whether the node runs or not."""

from __future__ import annotations

import fcntl
import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import BadSettings
from service import audit_events, postings, releases
from service.config import Settings
from service.destinations import Destination
from service.journal import Journal, journal_url, open_journal, telling_errors
from service.postings import Which


@contextmanager
def journal_of(settings: Settings) -> Iterator[Journal]:
    """The journal of a node. Raises BadSettings where no node has run, or the journal cannot be used."""
    node = settings.node
    url = journal_url(node.journal, node.data)
    if url.startswith("sqlite") and not (node.data / "journal.sqlite").exists() and not node.journal:
        raise BadSettings(f"No node has run on {node.data} yet; name its settings with --config, or start it with: duet serve.")
    with telling_errors(url):
        journal = open_journal(node.journal, node.data)
        try:
            yield journal
        finally:
            journal.close()


def node_runs(data: Path) -> bool:
    """Whether a node holds the lock of its data folder; True also where that cannot be found out from here."""
    try:
        with (data / "node.lock").open("rb") as lock:
            # Shared, and let go at once: other `duet status` do not disturb this one, and a node that starts tries again.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return not data.is_dir()
    except OSError:
        return True
    return False


def release_case(settings: Settings, case: str, *, by: str | None, why: str) -> str:
    """Release a held case, and what follows in one sentence. Raises BadSettings."""
    from service.node_settings import destinations_of  # loads the network, which `duet status` does without

    with journal_of(settings) as journal, audit_events.trail_of(settings):
        who = _operator() if by is None else by
        job = releases.release(journal, case, by=who, why=why, now=time.time())
        audit_events.released(settings.node.ae_title, who, job.patient_id, [job.fdg_study, job.pentixafor_study])
    if not destinations_of(settings):
        follows = "no [[destination]] is set, so its results stay in the case folder"
    elif node_runs(settings.node.data):
        follows = "the node now sends its results, with this release named in their reports"
    else:
        follows = "no node runs; the next one that starts sends its results, with this release named in their reports"
    return f"Case {job.id} is released: {follows}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """What an operator wants to have sent: of a case, to a destination, both, or everything; again: also what has arrived."""

    case: str | None = None
    destination: str | None = None
    everything: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        named = self.case is not None or self.destination is not None
        if named == self.everything:
            raise BadSettings("Say what is to be sent: a case, --destination NAME, or --all.")


def resend_now(settings: Settings, wish: Resend) -> str:
    """Make it due, and what follows in one sentence. Raises BadSettings."""
    names = [destination.name for destination in settings.sections("destination", Destination)]
    if wish.destination is not None and wish.destination not in names:
        raise BadSettings(f"{settings.source}: no [[destination]] is called {wish.destination!r} (known: {', '.join(names)}).")
    with journal_of(settings) as journal, audit_events.trail_of(settings):
        job = None if wish.case is None else releases.one_case(journal, wish.case)
        which = Which(job_id=None if job is None else job.id, destination=wish.destination)
        sent, asked = postings.resend(journal, which, time.time(), again=wish.again)
        if sent:
            about = (job.patient_id, [job.fdg_study, job.pentixafor_study]) if job is not None else ()
            audit_events.resent(settings.node.ae_title, wish.destination or "", *about)
    if not sent and not asked:
        return "Nothing of that is owed." if not wish.again else "Nothing of that was ever to be sent."
    parts = [f"{sent} object(s) are sent" if sent else "", f"{asked} object(s) are asked for commitment" if asked else ""]
    when = "now" if node_runs(settings.node.data) else "when the node starts"
    return f"{' and '.join(filter(None, parts))} {when}."


def _operator() -> str:
    """The operating system's user. Raises BadSettings where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        raise BadSettings("This user has no name on this machine; say who releases the case with --by.") from None

"""`duet restore`: a backup as a new data folder, there as a whole or not at all; what it does not hold is told to the operator.

A row whose file is not in the backup is marked as gone, so that a study that still needs its images says so in
`duet status`, and is taken in anew when it is sent again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, and_, or_, select, update
from sqlalchemy.engine import make_url

from analysis.errors import BadSettings
from analysis.ports import Progress
from service.arrivals import GONE, LOT
from service.backup import summary
from service.backup_archive import Manifest, read
from service.casebook import HELD_BY_QUALITY
from service.inbox import Inbox, sync_folder, sync_tree
from service.journal import HEAD, Journal, journal_url, named, telling_errors
from service.journal_copy import CopyError, run_postgresql
from service.journal_folder import take_restored
from service.restorations import Restoration, remember_restoration
from service.tables import InstanceState, JobState, StudyState, instances, jobs, studies
from service.worker import draft_beside

DUMP = "journal.pgdump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be restored, and where. journal: the address of an empty PostgreSQL database, for a backup of one."""

    backup: Path
    data: Path
    journal: str = ""


def restore(request: Request, progress: Progress) -> Sequence[str]:
    """The data folder of a node that goes on where the backup was made; what is there and what is not, in sentences.

    Raises BadSettings before anything is touched: the folder is not empty, a digest is wrong, the duet too old.
    """
    data = request.data.absolute()
    _require_empty(data)
    manifest = read(request.backup, tell=_Share(progress, "Checking digests", request.backup, 0.0))
    if manifest.revision > HEAD:
        raise BadSettings(
            f"{request.backup} is of a later duet ({manifest.duet}, revision {manifest.revision}); this one knows up to {HEAD}."
        )
    url = _database(request, manifest)
    data.parent.mkdir(parents=True, exist_ok=True)
    with draft_beside(data) as draft:
        draft.mkdir(mode=0o700)
        read(request.backup, lambda name: _created(draft / name), _Share(progress, "Restoring", request.backup, 0.5))
        restored = _take_stock(url or f"sqlite:///{draft / 'journal.sqlite'}", draft, manifest)
        sync_tree(draft)
        draft.rename(data)
        sync_folder(data.parent)
    progress("Done", 1.0)
    return _told(request, manifest, restored)


class _Share:
    """Tells how far a pass through the backup is; each is half of the work."""

    def __init__(self, progress: Progress, what: str, backup: Path, begun: float) -> None:
        self._progress, self._what, self._whole, self._begun = progress, what, max(backup.stat().st_size, 1), begun
        self._done = 0

    def __call__(self, size: int) -> None:
        self._done += size
        self._progress(self._what, self._begun + 0.5 * min(self._done / self._whole, 0.99))


def _require_empty(data: Path) -> None:
    """Raises BadSettings. A node that runs there has its lock and its journal in the folder."""
    if data.exists() and not (data.is_dir() and not any(data.iterdir())):
        raise BadSettings(f"{data} is not empty; a backup is restored only to a folder that is not there yet, or empty.")


def _created(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _database(request: Request, manifest: Manifest) -> str:
    """The PostgreSQL database that the journal goes to; empty where it is SQLite's file. Raises BadSettings."""
    dumped = DUMP in manifest.members
    if dumped != request.journal.startswith("postgresql"):
        kind = (
            "of PostgreSQL: name a new, empty database in [node] journal, and --config"
            if dumped
            else "of SQLite: leave [node] journal empty"
        )
        raise BadSettings(f"{request.backup}: its journal is {kind}.")
    if not dumped:
        return ""
    url = journal_url(request.journal, request.data)
    with telling_errors(url):
        journal = Journal(url)
        revision = journal.revision()
        journal.close()
    if revision is not None:
        raise BadSettings(f"The database {named(url)} holds a journal already; name a new, empty one.")
    if shutil.which("pg_restore") is None:
        raise BadSettings("pg_restore is not installed here, and the backup's journal is of PostgreSQL; nothing was restored.")
    return url


def _take_stock(url: str, draft: Path, manifest: Manifest) -> Restoration:
    """The journal is brought in line with the files that are there. Raises BadSettings."""
    if (draft / DUMP).exists():
        options = [
            "--single-transaction",
            "--exit-on-error",
            "--no-owner",
            f"--dbname={make_url(url).database}",
            str(draft / DUMP),
        ]
        try:
            run_postgresql("pg_restore", url, options)
        except CopyError as error:
            raise BadSettings(f"The journal was not restored to {named(url)}: {error}.") from None
        (draft / DUMP).unlink()
    present = set(Inbox(draft).files())
    folders = {path.name for path in (draft / "cases").glob("*")}
    with telling_errors(url):
        journal = Journal(url)
        with journal.writing() as connection:
            missing = mark_missing(connection, present)
            lost = [uid for uid in _with_results(connection) if uid not in folders]
        restored = Restoration(made_at=manifest.made_at, restored_at=time.time(), missing=missing, cases_lost=len(lost))
        remember_restoration(journal, restored)
        take_restored(journal, draft)
        journal.close()
    return restored


def _with_results(connection: Connection) -> list[str]:
    """Cases whose results should be there."""
    held = and_(jobs.c.state == JobState.HELD, jobs.c.reason == HELD_BY_QUALITY)
    return list(connection.execute(select(jobs.c.pair_uid).where(or_(jobs.c.state == JobState.DONE, held))).scalars())


def mark_missing(connection: Connection, present: set[str]) -> int:
    """Mark each row whose file is not there as gone, and what follows for its study; how many.

    A study of which every case is finished needs its images no more and only says so; any other is judged anew.
    """
    kept = instances.c.state.in_([InstanceState.NEW, InstanceState.FILED, InstanceState.IGNORED, InstanceState.REJECTED])
    query = select(instances.c.id, instances.c.path, instances.c.state, instances.c.study_instance_uid).where(kept)
    gone = [row for row in connection.execute(query) if row.path not in present]
    for lot in _lots([row.id for row in gone]):
        values = {"state": InstanceState.IGNORED, "sentence": GONE}
        connection.execute(update(instances).where(instances.c.id.in_(lot)).values(**values))
    concerned = {row.study_instance_uid for row in gone if row.state == InstanceState.FILED}
    needed = _needed(connection)
    for uid in concerned:
        mine = update(studies).where(studies.c.study_instance_uid == uid)
        over = and_(studies.c.state == StudyState.PAIRED, studies.c.instances == studies.c.settled_instances)
        sentence = "Its images are not in the backup that was restored; its finished case is kept."
        done = {"instances": 0, "settled_instances": 0, "sentence": sentence}
        if uid in needed or not connection.execute(mine.where(over).values(**done)).rowcount:
            connection.execute(mine.values(settled_instances=-1))
    return len(gone)


def _needed(connection: Connection) -> set[str]:
    """Studies with a case that is to be analysed yet."""
    unfinished = jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.HELD, JobState.PARKED])
    held = and_(jobs.c.state == JobState.HELD, jobs.c.reason == HELD_BY_QUALITY)
    rows = connection.execute(select(jobs.c.fdg_study, jobs.c.pentixafor_study).where(unfinished, ~held)).all()
    return {uid for row in rows for uid in row}


def _lots(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + LOT] for start in range(0, len(ids), LOT))


def _told(request: Request, manifest: Manifest, restored: Restoration) -> list[str]:
    lines: list[str] = [f"{request.data} is restored from {summary(request.backup, manifest)}"]
    if restored.missing:
        lines.append(
            f"{restored.missing} received objects are in the journal and not in the backup; studies that still need theirs "
            "say so in duet status once the node has started, and are to be sent again."
        )
    if restored.cases_lost:
        lines.append(f"The results of {restored.cases_lost} case(s) are in the journal and not in the backup.")
    lines.append("What came after the backup was made is not known here; its senders must send it again.")
    if (settings := request.data / "duet.toml").is_file():
        lines.append(f"The settings of that time lie in {settings}, without passwords; set [node] data to {request.data}.")
    return lines

"""`duet retrieve`: everything that a list names from one archive into the node, several studies at a time.

What was retrieved is remembered by the journal alone: a second run compares with it, and moves what is still missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

from analysis.errors import BadSettings
from analysis.ports import Progress
from service import audit_events, logs
from service.config import Settings
from service.desk import journal_of, node_runs
from service.inbox import Inbox
from service.journal import journal_url, open_journal
from service.journal_folder import require_own
from service.keeping import StoreHandler
from service.lines import plain
from service.node_settings import archives_of
from service.receiver import ReceiverSettings
from service.retrieval import Archive, ArchiveError, Method, StudyAnswer, Wanted
from service.retrieval_answers import studies
from service.retrieval_link import Link
from service.retrieval_list import day_of, read_list
from service.retrieval_study import Holdings, fetch
from service.retrieval_table import Row, write_table

T = TypeVar("T")
ASKING = 0.1  # the part of the bar that finding the studies takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is named on the command line. since, until: for rows without dates of their own."""

    patients: Path
    archive: str
    out: Path
    since: str = ""
    until: str = ""

    def wanted(self) -> tuple[Wanted, ...]:
        """The list. Raises BadSettings, OSError."""
        return read_list(self.patients, _day("--since", self.since), _day("--until", self.until))


def retrieve(settings: Settings, asked: Asked, progress: Progress) -> tuple[Row, ...]:
    """Find, move and compare; writes the table after each study. Raises BadSettings, OSError."""
    wanted = asked.wanted()
    archive = archive_named(settings, asked.archive)
    logs.to_standard_error()
    write_table(asked.out, ())
    with _crew(settings, archive) as crew:
        return _run(crew, wanted, asked.out, progress)


def archive_named(settings: Settings, name: str) -> Archive:
    """The [[archive]] of this name. Raises BadSettings."""
    archives = archives_of(settings)
    for archive in archives:
        if archive.name == name:
            return archive
    known = f"there are {', '.join(a.name for a in archives)}" if archives else f"{settings.source} has no [[archive]]"
    raise BadSettings(f"--from: no archive is called {name!r}; {known}.")


def _day(option: str, word: str) -> date | None:
    day = day_of(word) if word else None
    if word and day is None:
        raise BadSettings(f"{option}: {word!r} is no date; write it as 2026-03-31.")
    return day


@dataclass(slots=True, kw_only=True)
class _Crew:
    """Those who work at the same time, each on an association of its own."""

    archive: Archive
    ae_title: str
    holdings: Holdings
    store_handler: StoreHandler
    links: list[Link] = field(default_factory=list)

    def each(self, tasks: Iterable[Callable[[Link], T]]) -> Generator[T, None, None]:
        """What the tasks return, in the order in which they end; when this is left early, all are ended at once."""
        pool = ThreadPoolExecutor(self.archive.at_once)
        try:
            for done in as_completed([pool.submit(self._one, task) for task in tasks]):
                yield done.result()
        finally:
            for link in self.links:
                link.abandon()
            pool.shutdown(cancel_futures=True)
            self.links.clear()

    def _one(self, task: Callable[[Link], T]) -> T:
        with Link(self.archive, self.ae_title, self.store_handler) as link:
            self.links.append(link)
            return task(link)


@contextmanager
def _crew(settings: Settings, archive: Archive) -> Iterator[_Crew]:
    """C-MOVE needs the running node; C-GET keeps what comes itself, whether a node runs or not."""
    data, ae_title = settings.node.data.absolute(), settings.node.ae_title
    inbox = Inbox(data)
    if archive.method is Method.GET:
        inbox.make_folders()
        open_journal(settings.node.journal, data).close()
    with journal_of(settings) as journal, audit_events.trail_of(settings):
        require_own(journal, journal_url(settings.node.journal, data), data)
        if archive.method is Method.MOVE and not node_runs(data):
            raise BadSettings(
                f"No node runs on {data}, so nothing that {archive.name} moves could arrive; start it with duet serve, "
                'or set method = "get" in [[archive]].'
            )
        handler = StoreHandler(inbox, journal, settings.section("receiver", ReceiverSettings).free_gb)
        holdings = Holdings(journal=journal, data=data)
        yield _Crew(archive=archive, ae_title=ae_title, holdings=holdings, store_handler=handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one row of the list found. sentence: why nothing, or why perhaps not all."""

    wanted: Wanted
    studies: tuple[StudyAnswer, ...] = ()
    sentence: str = ""
    failed: bool = False


def _run(crew: _Crew, wanted: Sequence[Wanted], out: Path, progress: Progress) -> tuple[Row, ...]:
    """First all questions, then all studies; one that several rows name is brought once."""
    told: dict[Wanted, _Answer] = {}
    with closing(crew.each(partial(_ask, each) for each in wanted)) as ended:
        for answer in ended:
            told[answer.wanted] = answer
            progress(f"{crew.archive.name} is asked: {len(told)} of {len(wanted)}", ASKING * len(told) / len(wanted))
    answers = [told[each] for each in wanted]
    found = {study.study_uid: (answer.wanted, study) for answer in reversed(answers) for study in answer.studies}
    tally = _Tally(progress, len(found))
    rows: dict[str, Row | None] = {}
    with closing(crew.each(partial(_bring, *each, crew.holdings, tally) for each in found.values())) as brought:
        for uid, row in brought:
            rows[uid] = row
            tally.ended(uid, len(rows))
            write_table(out, tuple(_table(crew.archive, answers, rows)))
    table = tuple(_table(crew.archive, answers, rows))
    write_table(out, table)
    return table


def _ask(wanted: Wanted, link: Link) -> _Answer:
    try:
        found = studies(link, wanted)
    except ArchiveError as error:
        return _Answer(wanted=wanted, sentence=str(error), failed=True)
    if not found.studies and not found.doubt:
        when = " in these days" if wanted.first or wanted.last else ""
        others = f" {found.others} answer(s) did not bear what was asked for." if found.others else ""
        return _Answer(wanted=wanted, sentence=f"{link.archive.name} has no study of {wanted.label}{when}.{others}")
    return _Answer(wanted=wanted, studies=found.studies, sentence=found.doubt, failed=bool(found.doubt))


def _bring(wanted: Wanted, study: StudyAnswer, holdings: Holdings, tally: _Tally, link: Link) -> tuple[str, Row | None]:
    """The study's row; None where it has no PET."""
    try:
        fetched = fetch(link, study, holdings, lambda here, whole: tally.tell(study, here, whole))
    except ArchiveError as error:
        return study.study_uid, Row(wanted=wanted, study=study, sentence=str(error), failed=True)
    return study.study_uid, None if fetched is None else Row(wanted=wanted, study=study, fetched=fetched)


def _table(archive: Archive, answers: Sequence[_Answer], rows: Mapping[str, Row | None]) -> Iterator[Row]:
    """In the list's order, each study once; a row of the list without any PET says so."""
    shown: set[str] = set()
    for answer in answers:
        uids = [study.study_uid for study in answer.studies]
        for uid in uids:
            if uid not in shown and (row := rows.get(uid)) is not None:
                shown.add(uid)
                yield row
        if answer.sentence:
            yield Row(wanted=answer.wanted, sentence=answer.sentence, failed=answer.failed)
        elif all(uid in rows and rows[uid] is None for uid in uids):
            sentence = f"{archive.name} has {len(uids)} study(s) of {answer.wanted.label}, and none with a PET."
            yield Row(wanted=answer.wanted, sentence=sentence)


class _Tally:
    """How far all of it is."""

    def __init__(self, progress: Progress, studies: int) -> None:
        self._progress, self._studies = progress, studies
        self._parts: dict[str, float] = {}
        self._guard = threading.Lock()

    def tell(self, study: StudyAnswer, here: int, whole: int) -> None:
        """So many objects of a study are here."""
        self._say(study.study_uid, here / whole if whole else 1.0, f"{plain(study.patient_id)}: {here} of {whole} objects")

    def ended(self, study_uid: str, ended: int) -> None:
        self._say(study_uid, 1.0, f"{ended} of {self._studies} studies")

    def _say(self, study_uid: str, part: float, message: str) -> None:
        with self._guard:
            self._parts[study_uid] = part
            done = sum(self._parts.values()) / self._studies
            self._progress(message, ASKING + (1 - ASKING) * done)

"""Every state of a study, a case and a delivery, reached in a journal, and the whole sentence that is said of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from journals import add_association, add_case, add_study

from service import casebook, commitments, postings, releases
from service.casebook import Ruling
from service.commitments import Report, Request
from service.explain import Patience, when
from service.journal import Journal
from service.outcomes import Outcome
from service.overview import overview
from service.postings import Posting
from service.tables import Ending, JobState, StudyState, metadata

HELD = Outcome(verdict="hold", findings=({"name": "x", "verdict": "hold", "message": "Y."},), measures={})
Setup = Callable[[Journal], Any]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def journal_with(setup: Setup) -> Journal:
    """A journal in memory, in this state."""
    journal = Journal("sqlite://")
    with journal.writing() as connection:
        metadata.create_all(connection)
    setup(journal)
    return journal


def study(**words: Any) -> Setup:
    return lambda journal: add_study(journal, "1.1", **words)


def settled(state: StudyState, reason: str, sentence: str) -> Setup:
    """As intake does it."""

    def made(journal: Journal) -> None:
        add_study(journal, "1.1", settled_instances=0)
        ruling = Ruling(study_instance_uid="1.1", instances=10, state=state, reason=reason, sentence=sentence, tracer="FDG")
        casebook.settle(journal, [ruling], [], 1500.0)

    return made


def receiving(ending: Ending) -> Setup:
    def made(journal: Journal) -> None:
        add_study(journal, "1.1", settled_instances=4, last_association_id=add_association(journal, ending))

    return made


AT = "1970-01-01 00:16 UTC"  # 1000 s
STUDIES = {
    "receiving": (
        receiving(Ending.OPEN),
        f"Receiving: 10 objects so far from SCANNER (10.0.0.7), the last at {AT}; it is judged as soon as it shows to be "
        "whole, at the latest 30 s after the last object, with the patient's other studies.",
    ),
    "cut off": (
        receiving(Ending.BROKEN),
        f"Receiving: 10 objects so far from SCANNER (10.0.0.7), the last at {AT}; it is judged as soon as it shows to be "
        "whole, and, as its sender was cut off and may come back, at the latest 300 s after the last object, with the "
        "patient's other studies.",
    ),
    "found on disk": (
        study(instances=1, settled_instances=0),
        f"Receiving: 1 object so far, the last at {AT}; it is judged as soon as it shows to be whole, at the latest 30 s after "
        "the last object, with the patient's other studies.",
    ),
    "anew": (
        lambda journal: (study(state=StudyState.HELD)(journal), casebook.unsettle_all(journal)),
        "To be looked at anew, as an archive has counted it or the settings or duet itself have changed; 10 objects here.",
    ),
    "waiting": (
        settled(StudyState.WAITING, "", "Waits for a PentixaFor study of the same patient between A and B (30 days)."),
        f"Waiting since {AT} for a PentixaFor study of the same patient between A and B (30 days); it is paired by itself when "
        "that arrives.",
    ),
    "incomplete": (
        settled(StudyState.WAITING, "IncompleteSeries", "The CT has a gap at 12 mm; send its slices again."),
        f"Waiting for objects since {AT}: The CT has a gap at 12 mm; send its slices again.",
    ),
    "held": (
        settled(StudyState.HELD, "NoUsableCt", "There is no CT; send it."),
        f"Held since {AT}: There is no CT; send it.",
    ),
    "parked": (
        settled(StudyState.PARKED, "OSError", "duet itself failed (OSError: x); the log says where."),
        f"Parked since {AT}; mend the cause and restart the node to have it looked at again: duet itself failed (OSError: x); "
        "the log says where.",
    ),
    "paired": (
        lambda journal: (settled(StudyState.PAIRED, "", "")(journal), add_case(journal)),
        "Case 1 waits for its analysis since 1970-01-01 00:33 UTC, and is the next.",
    ),
    "paired, with a remark": (
        lambda journal: (settled(StudyState.PAIRED, "", "One slice came twice.")(journal), add_case(journal)),
        "Case 1 waits for its analysis since 1970-01-01 00:33 UTC, and is the next. One slice came twice.",
    ),
    "paired, its case withdrawn": (
        lambda journal: (settled(StudyState.PAIRED, "", "")(journal), add_case(journal, state=JobState.WITHDRAWN)),
        f"Paired; complete since {AT}.",
    ),
    "paired twice": (
        lambda journal: (
            settled(StudyState.PAIRED, "", "")(journal),
            add_case(journal, pair_uid="a", state=JobState.PARKED, sentence="Tried 5 times."),
            add_case(journal, pair_uid="b", fdg_study="1.3", pentixafor_study="1.1", state=JobState.RUNNING),
        ),
        "Case 2 is being analysed, entered at 1970-01-01 00:33 UTC: it has just begun.",
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_said_of_a_study(name: str) -> None:
    setup, expected = STUDIES[name]
    journal = journal_with(setup)
    assert overview(journal, patience=Patience()).said == {"1.1": expected}
    journal.close()


def running(journal: Journal) -> int:
    add_case(journal)
    job = casebook.claim(journal, 1e9)
    assert job is not None
    return job.id


def progressing(journal: Journal) -> None:
    casebook.report_progress(journal, running(journal), "Registering (40%)")


def behind(journal: Journal) -> None:
    """Case 3 is behind one that runs and one that waits; it is asked for as the last."""
    for uid in ("a", "b", "c"):
        add_case(journal, pair_uid=uid)
    casebook.claim(journal, 1e9)


def failed_once(journal: Journal) -> None:
    casebook.try_again(journal, running(journal), "duet itself failed (OSError: x); the log says where.", 9000.0)


def set_aside(state: JobState, reason: str, sentence: str) -> Setup:
    return lambda journal: casebook.set_aside(journal, running(journal), state, reason, sentence)


def on_hold(journal: Journal) -> int:
    number = running(journal)
    casebook.hold(journal, number, "Not delivered; look at cases/x first: Y.", HELD, 5000.0)
    return number


def released(journal: Journal) -> None:
    releases.release(journal, str(on_hold(journal)), by="Ann", why="seen", now=6000.0)


def release_failed(journal: Journal) -> None:
    released(journal)
    (due,) = releases.due(journal, 1e9)
    releases.postpone(journal, due.given, "duet itself failed (OSError: x); the log says where.", 7000.0)


def finished(*destinations: str) -> Setup:
    def made(journal: Journal) -> None:
        posted = [
            Posting(destination=name, sop_instance_uid=f"2.{k}", path=f"{k}.dcm") for name in destinations for k in range(2)
        ]
        casebook.finish(journal, running(journal), posted, 5000.0, HELD)

    return made


def ids(journal: Journal, destination: str = "pacs") -> list[int]:
    return [row.id for row in postings.owed(journal) if row.destination == destination]


def then(first: Setup, second: Setup) -> Setup:
    return lambda journal: (first(journal), second(journal))


def refused(journal: Journal) -> None:
    postings.postpone(journal, ids(journal), "pacs cannot be reached.", 9000.0)


def stored(*, ask: bool) -> Setup:
    return lambda journal: [postings.stored(journal, number, "", 6000.0, ask=ask) for number in ids(journal)]


def asked(journal: Journal) -> None:
    commitments.enter(journal, Request(transaction_uid="9", destination="pacs", asked_at=6500.0), ids(journal), 20000.0)


def reported(kept: tuple[str, ...], failed: dict[str, str]) -> Setup:
    def made(journal: Journal) -> None:
        commitments.settle(journal, Report(transaction_uid="9", committed=kept, failed=failed), 7000.0, lambda _: 60.0)

    return made


def never_kept(journal: Journal) -> None:
    """Stored and not answered for, as often as it is tried."""
    for _ in range(commitments.MOST_REFUSALS):
        stored(ask=True)(journal)
        with journal.writing() as connection:
            connection.exec_driver_sql("DELETE FROM commitments")
        asked(journal)
        reported((), {"2.0": "no such object", "2.1": "no such object"})(journal)


T, ENTERED = "1970-01-01 00:33 UTC", "since 1970-01-01 00:33 UTC"
DONE = "Case 1 was finished at 1970-01-01 01:23 UTC."
CASES = {
    "queued": (add_case, f"Case 1 waits for its analysis {ENTERED}, and is the next."),
    "behind": (behind, f"Case 3 waits for its analysis {ENTERED}, behind 2 other cases."),
    "failed once": (
        failed_once,
        "Case 1 was tried 1 time and is tried again at 1970-01-01 02:30 UTC: duet itself failed (OSError: x); the log says "
        "where.",
    ),
    "running": (running, f"Case 1 is being analysed, entered at {T}: it has just begun."),
    "progress": (progressing, f"Case 1 is being analysed, entered at {T}: Registering (40%)."),
    "held": (
        set_aside(JobState.HELD, "NotAPair", "They lie too far apart; ask the sender."),
        f"Case 1 is held {ENTERED} and nothing is sent of it: They lie too far apart; ask the sender.",
    ),
    "parked": (
        set_aside(JobState.PARKED, "OSError", "This was tried 5 times; mend the cause."),
        f"Case 1 is parked, entered at {T}: This was tried 5 times; mend the cause.",
    ),
    "withdrawn": (
        lambda journal: add_case(journal, state=JobState.WITHDRAWN, sentence="The studies have changed since."),
        "Case 1 is withdrawn: The studies have changed since.",
    ),
    "on hold": (
        on_hold,
        "Case 1 is on hold since 1970-01-01 01:23 UTC: nothing is sent of it before somebody has looked at it and released it.",
    ),
    "releasing": (
        released,
        "Case 1 was released at 1970-01-01 01:40 UTC and its reports are written anew to be sent.",
    ),
    "release failed": (
        release_failed,
        "Case 1 was released at 1970-01-01 01:40 UTC and its reports are written anew to be sent; it was tried 1 time: duet "
        "itself failed (OSError: x); the log says where.",
    ),
    "no destination": (
        finished(),
        f"{DONE} No [[destination]] is set: its results stay in cases/U.",
    ),
    "to be sent": (finished("pacs"), f"{DONE} pacs: 0 of 2. The others are sent next."),
    "refused": (
        then(finished("pacs"), refused),
        f"{DONE} pacs: 0 of 2. Tried 1 time in vain, next at 1970-01-01 02:30 UTC: pacs cannot be reached.",
    ),
    "stored": (
        then(finished("pacs"), stored(ask=True)),
        f"{DONE} pacs: 0 of 2, 2 stored, 0 committed. Its commitment is awaited, asked for next at 1970-01-01 01:40 UTC.",
    ),
    "asked": (
        then(then(finished("pacs"), stored(ask=True)), asked),
        f"{DONE} pacs: 0 of 2, 2 stored, 0 committed. Its commitment is awaited, asked for next at 1970-01-01 05:33 UTC.",
    ),
    "committed": (
        then(then(then(finished("pacs"), stored(ask=True)), asked), reported(("2.0", "2.1"), {})),
        f"{DONE} pacs: 2 of 2, 2 committed.",
    ),
    "delivered": (then(finished("pacs"), stored(ask=False)), f"{DONE} pacs: 2 of 2."),
    "not kept": (
        then(finished("pacs"), never_kept),
        f"{DONE} pacs: 0 of 2. 2 objects are not tried again before duet resend 1: It was stored 5 times and never answered "
        "for (no such object); look at the archive, then: duet resend.",
    ),
    "two destinations": (
        then(finished("pacs", "cloud"), stored(ask=False)),
        f"{DONE} cloud: 0 of 2. The others are sent next. pacs: 2 of 2.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_case(name: str) -> None:
    setup, expected = CASES[name]
    journal = journal_with(setup)
    case = overview(journal).cases[-1]
    assert case.said.replace(f"cases/{case.job.pair_uid}", "cases/U") == expected
    assert re.fullmatch(r"[A-Z].*\.", case.said)
    journal.close()


def test_every_state_of_a_case_and_of_a_study_is_in_the_tables() -> None:
    reached: set[str] = set()
    for setup, _ in (*STUDIES.values(), *CASES.values()):
        journal = journal_with(setup)
        known = overview(journal)
        reached |= {f"study {row.state}" for row in known.studies} | {f"case {case.state}" for case in known.cases}
        reached |= {f"delivery {row.state}" for row in postings.owed(journal)}
        journal.close()
    wanted = {f"study {state}" for state in StudyState if state is not StudyState.RECEIVING}  # whose row may say anything
    words = ("queued", "running", "held", "on hold", "releasing", "parked", "withdrawn", "returned", "delivered")
    wanted |= {f"case {word}" for word in words} | {f"delivery {state}" for state in postings.OWED}
    assert wanted - reached == set()


def test_a_moment_names_its_zone() -> None:
    assert when(0.0) == "1970-01-01 00:00 UTC"

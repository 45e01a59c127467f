"""What `duet status` prints: every word of a sentence within 100 columns, and nothing that steers a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from service.casebook import HELD_BY_QUALITY, JobRow, StudyRow
from service.outcomes import Outcome
from service.overview import CaseView, Overview, Unused, as_json
from service.postings import DeliveryCount
from service.releases import ReleaseRow
from service.render import SHORT, WIDTH, Page
from service.tables import JobState, StudyState

SENTENCE = "PT 'PET [/WB]' and [red]CT[/red]\tare\nhere\x1b[2J."
STUDY = StudyRow(
    study_instance_uid="1.2",
    patient_id="P\t1\n[b]",
    issuer="",
    study_date="20260310",
    tracer="FDG",
    state=StudyState.HELD,
    reason="NoUsablePet",
    sentence=SENTENCE,
    instances=2,
    settled_instances=2,
    last_received_at=0.0,
    cut_off=False,
)
JOB = JobRow(
    id=7,
    pair_uid="2.25.1234",
    patient_id="P2",
    fdg_study="1.3",
    pentixafor_study="1.4",
    version=2,
    state=JobState.HELD,
    reason=HELD_BY_QUALITY,
    sentence="Not delivered.",
    progress="",
    failures=0,
    next_try_at=0.0,
    batch_upto=0,
    inputs="",
)


def finding(name: str, verdict: str, message: str, value: Any = 159.0) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": "45 to 90 min", "verdict": verdict, "message": message}


FOUND = (
    finding("liver", "ok", "The liver is fine.", None),
    finding("noise", "warn", "The noise is high."),
    finding("uptake", "hold", "FDG was imaged 159 min after injection."),
)
CASE = CaseView(job=JOB, outcome=Outcome(verdict="hold", findings=FOUND, measures={}))
RELEASE = ReleaseRow(id=1, job_id=7, released_by="Müller", why="geprüft", released_at=0.0, withdrawn_at=None)


def shown(known: Overview, **page: Any) -> list[str]:
    return [Text.from_ansi(line).plain for line in Page(**page).lines(known)]


def test_what_came_from_outside_steers_no_terminal() -> None:
    lines = shown(Overview(studies=(STUDY,), objects={"filed": 2}))
    assert lines[0] == "P 1 [b]"
    assert lines[1].split(maxsplit=1) == ["held", "FDG study of 2026-03-10, 2 objects"]
    assert lines[2].strip() == "PT 'PET [/WB]' and [red]CT[/red] are here [2J."
    assert lines[3] == "2 objects received: 2 filed."


def test_a_case_on_hold_tells_why_and_how_it_is_released() -> None:
    text = "\n".join(shown(Overview(cases=(CASE,), objects={}), options=" --config 'my duet.toml'"))
    assert "on hold    case 7, version 2, quality hold" in text
    assert "hold FDG was imaged 159 min after injection." in text
    assert text.index("imaged 159") < text.index("The noise is high.")
    assert "The liver is fine." not in text
    assert "Look at cases/2.25.1234" in text
    assert "duet release 7 --config 'my duet.toml' --why" in text
    assert "1 case(s) on hold" in text


def test_one_patient_is_told_whole() -> None:
    text = "\n".join(shown(Overview(cases=(CASE,), objects={}), whole=True))
    assert "uptake: 159 (limit 45 to 90 min). FDG was imaged" in text
    assert "liver: none (limit 45 to 90 min). The liver is fine." in text


def test_a_released_case_tells_by_whom_and_why_until_and_after_it_has_arrived() -> None:
    pending = replace(CASE, release=RELEASE)
    assert "releasing  case 7" in "\n".join(shown(Overview(cases=(pending,), objects={})))
    done = replace(pending, job=replace(JOB, state=JobState.DONE, reason="", sentence=""))
    counts = (DeliveryCount(job_id=7, destination="pacs", delivered=6, total=6, sentence=""),)
    text = "\n".join(shown(Overview(cases=(replace(done, deliveries=counts),), objects={})))
    for words in ("delivered  case 7", "Released by Müller, 1970-01-01T00:00:00Z: geprüft", "pacs: 6 of 6.", "imaged 159 min"):
        assert words in text
    assert "duet release" not in text


@pytest.mark.parametrize("word", ["a sentence of some length ", "x" * 333, "確認済み", "é́"])
def test_no_line_is_wider_than_it_should_be_and_no_word_is_lost(word: str) -> None:
    told = word * 40
    for width in (60, WIDTH):
        lines = shown(Overview(studies=(replace(STUDY, sentence=told),), objects={}), width=width, whole=True)
        assert max(cell_len(line) for line in lines) <= width
        assert "".join("".join(lines[2:]).split()) == "".join(told.split())


def test_a_sentence_without_end_is_cut_in_the_list_and_whole_for_one_patient() -> None:
    known = Overview(studies=(replace(STUDY, sentence="no end " * 500),), objects={})
    assert sum(map(len, shown(known))) < 2 * SHORT
    assert "duet status PATIENT shows all" in " ".join(" ".join(shown(known)).split())
    assert sum(map(len, shown(known, whole=True))) > 3000


def test_json_has_the_same_facts_under_stable_keys() -> None:
    unused = Unused(state="ignored", sentence="Neither PET nor CT.", count=3, example="inbox/a.dcm")
    known = Overview(studies=(STUDY,), cases=(replace(CASE, release=RELEASE),), unused=(unused,), objects={"filed": 2})
    facts = json.loads(as_json(known, node_runs=True))
    assert set(facts) == {"node_runs", "objects", "studies", "cases", "unused", "cohort", "restored", "workers"}
    (case,) = facts["cases"]
    assert (case["number"], case["uid"], case["state"], case["verdict"]) == (7, "2.25.1234", "releasing", "hold")
    assert case["findings"] == list(FOUND)
    assert case["release"] == {"by": "Müller", "at": "1970-01-01T00:00:00Z", "why": "geprüft"}
    assert facts["studies"][0]["sentence"] == SENTENCE

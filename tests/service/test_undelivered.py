"""What destinations are owed, as an operator sees it, and how it is tried again at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deliveries import posted
from typer.testing import CliRunner

from analysis.errors import BadSettings
from service import commitments, postings
from service.cli import app
from service.commitments import Request
from service.config import Settings, load
from service.desk import Resend, resend_now
from service.tables import DeliveryState, deliveries
from service.undelivered import as_json, lines, undelivered


def config(folder: Any, *names: str) -> Path:
    path = folder.data.parent / "duet.toml"
    text = f'[node]\ndata = "{folder.data}"\n'
    text += "".join(f'[[destination]]\nname = "{name}"\nurl = "dicom://A@127.0.0.1:104"\n' for name in names)
    path.write_text(text)
    return Path(path)


def settings(folder: Any, *names: str) -> Settings:
    return load(config(folder, *names))


def rows(folder: Any) -> list[Any]:
    with folder.journal.reading() as connection:
        return list(connection.execute(deliveries.select().order_by(deliveries.c.id)))


def mixed(folder: Any, scan: Any) -> None:
    """One object failed three times, one is stored and asked for, one is there; the same for a destination that is gone."""
    posted(folder, scan, destinations=("pacs", "gone"))
    first, second, third, *_ = rows(folder)
    for _ in range(3):
        postings.postpone(folder.journal, [first.id], "pacs cannot be reached.", 1000.0 + 40)
    postings.stored(folder.journal, second.id, "", 500.0, ask=True)
    commitments.enter(
        folder.journal, Request(transaction_uid="1.9", destination="pacs", asked_at=501.0), [second.id], 1000.0 + 7200
    )
    postings.stored(folder.journal, third.id, "", 500.0, ask=False)


def test_every_object_that_is_owed_is_told_with_tries_next_try_and_last_words(folder: Any, scan: Any) -> None:
    mixed(folder, scan)
    told = list(lines(undelivered(folder.journal, {"pacs"}), 1000.0))
    names = "1.2.1.9.1.dcm, 1.2.1.9.2.dcm, 1.2.1.9.3.dcm"
    assert told == [
        (f"gone: case 1, {names}: not delivered, not tried again by itself", "No [[destination]] is called gone any more."),
        ("pacs: case 1, 1.2.1.9.1.dcm: not delivered, tried 3 times, next try in 40 s", "pacs cannot be reached."),
        (
            "pacs: case 1, 1.2.1.9.2.dcm: not committed, tried 1 time, next try in 2.0 h",
            "Stored; its commitment was asked for and has not come yet.",
        ),
    ]
    assert undelivered(folder.journal, {"pacs"}, "P2") == []


def test_json_has_the_same_facts(folder: Any, scan: Any) -> None:
    mixed(folder, scan)
    facts = json.loads(as_json(undelivered(folder.journal, {"pacs"})))["undelivered"]
    assert len(facts) == 5
    assert facts[3] == {
        "destination": "pacs",
        "case": 1,
        "object": "1.2.1.9.1.dcm",
        "sop_instance_uid": "1.2.1.9.1",
        "sent_as": None,
        "state": "pending",
        "failures": 3,
        "next_try_at": "1970-01-01T00:17:20Z",
        "sentence": "pacs cannot be reached.",
    }
    assert facts[0]["next_try_at"] is None


def test_what_is_owed_is_due_now_and_what_has_arrived_is_left(folder: Any, scan: Any) -> None:
    mixed(folder, scan)
    told = resend_now(settings(folder, "pacs"), Resend(destination="pacs"))
    assert told == "1 object(s) are sent and 1 object(s) are asked for commitment when the node starts."
    assert '"csd-code": "110106"' in (folder.data / "logs" / "audit.jsonl").read_text(), "the audit trail has who asked for it"
    first, second, third, *gone = rows(folder)
    assert (first.failures, first.state) == (0, "pending")
    assert first.next_try_at > 1000.0
    assert (second.state, second.asks) == ("stored", 0)
    assert third.state == DeliveryState.DELIVERED
    assert {row.next_try_at for row in gone} == {0.0}


def test_with_again_everything_is_sent_once_more(folder: Any, scan: Any) -> None:
    mixed(folder, scan)
    assert resend_now(settings(folder, "pacs"), Resend(case="1", destination="pacs", again=True)).startswith(
        "3 object(s) are sent "
    )
    assert [row.state for row in rows(folder)[:3]] == ["pending"] * 3
    assert [row.stored_at for row in rows(folder)[:3]] == [None] * 3


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({}, "Say what is to be sent"),
        ({"case": "1", "everything": True}, "Say what is to be sent"),
        ({"case": "77"}, "No case is called '77'"),
        ({"destination": "pax"}, r"no \[\[destination\]\] is called 'pax' \(known: pacs\)"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(folder: Any, scan: Any, wish: dict[str, Any], sentence: str) -> None:
    posted(folder, scan)
    with pytest.raises(BadSettings, match=sentence):
        resend_now(settings(folder, "pacs"), Resend(**wish))


def test_the_commands(folder: Any, scan: Any) -> None:
    mixed(folder, scan)
    path = str(config(folder, "pacs"))
    run = CliRunner().invoke(app, ["status", "--undelivered", "--config", path])
    assert run.exit_code == 0
    assert "pacs: case 1, 1.2.1.9.1.dcm: not delivered, tried 3 times, due now\n  pacs cannot be reached.\n" in run.stdout
    assert "5 object(s) owed; duet resend has them tried now." in run.stdout
    assert CliRunner().invoke(app, ["resend", "--all", "--again", "--config", path]).stdout.startswith("6 object(s) are sent ")
    with folder.journal.writing() as connection:
        connection.execute(deliveries.update().values(state="committed"))
    assert "Nothing is owed" in CliRunner().invoke(app, ["status", "--undelivered", "--config", path]).stdout
    assert CliRunner().invoke(app, ["resend", "1", "--config", path]).stdout == "Nothing of that is owed.\n"

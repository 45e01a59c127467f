"""What destinations still are to have or to answer for, object by object, and how an operator has it tried again now."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any

from service import postings
from service.journal import Journal
from service.overview import moment
from service.postings import DeliveryRow
from service.tables import DeliveryState

_WORDS = {
    DeliveryState.PENDING: "not delivered",
    DeliveryState.STORED: "not committed",
    DeliveryState.PARKED: "parked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """One object that a destination is owed. next_at: when it is tried next (UTC, seconds), None where an operator must act."""

    row: DeliveryRow
    orphaned: bool = False

    @property
    def state(self) -> str:
        """In an operator's words."""
        return _WORDS[self.row.state]

    @property
    def next_at(self) -> float | None:
        if self.orphaned or self.row.state is DeliveryState.PARKED:
            return None
        return self.row.ask_at if self.row.state is DeliveryState.STORED else self.row.next_try_at

    @property
    def failures(self) -> int:
        """How often it was tried in vain: sent, or asked for."""
        row = self.row
        return row.refusals if row.state is DeliveryState.PARKED else max(row.failures, row.asks, row.refusals)

    @property
    def sentence(self) -> str:
        """The last words on it."""
        if self.orphaned:
            return f"No [[destination]] is called {self.row.destination} any more. {self.row.sentence}".strip()
        waits = "Stored; its commitment was asked for and has not come yet."
        return self.row.sentence or (waits if self.row.state is DeliveryState.STORED and self.row.asks else "")

    @property
    def owner(self) -> str:
        """The case or the cohort's report that it belongs to."""
        return "the cohort's report" if self.row.job_id is None else f"case {self.row.job_id}"


def undelivered(journal: Journal, destinations: Collection[str], patient_id: str | None = None) -> list[Undelivered]:
    """Everything that is owed, by destination and case, each case in its order; destinations: the names that are set."""
    rows = postings.owed(journal, patient_id)
    return [Undelivered(row=row, orphaned=row.destination not in destinations) for row in rows]


def as_json(owed: Collection[Undelivered]) -> str:
    """For scripts; the keys stay as they are from version to version."""
    return json.dumps({"undelivered": [_facts(each) for each in owed]}, indent=1, ensure_ascii=False)


def _facts(each: Undelivered) -> Mapping[str, Any]:
    row = each.row
    return {
        "destination": row.destination,
        "case": row.job_id,
        "object": row.path,
        "sop_instance_uid": row.sop_instance_uid,
        "sent_as": row.sent_instance_uid,
        "state": str(row.state),
        "failures": each.failures,
        "next_try_at": None if each.next_at is None else moment(each.next_at),
        "sentence": each.sentence,
    }


def lines(owed: Collection[Undelivered], now: float) -> Iterator[tuple[str, str]]:
    """(what, its sentence) for each object that is owed; objects of one case with the same words share a line."""

    def alike(each: Undelivered) -> tuple[object, ...]:
        return each.row.destination, each.owner, each.state, each.failures, _when(each, now), each.sentence

    for (destination, owner, state, failures, when, sentence), group in groupby(owed, key=alike):
        names = ", ".join(PurePath(each.row.path).name for each in group)
        tried = f"tried {failures} time{'' if failures == 1 else 's'}, " if failures else ""
        yield f"{destination}: {owner}, {names}: {state}, {tried}{when}", str(sentence)


def _when(each: Undelivered, now: float) -> str:
    if each.next_at is None:
        return "not tried again by itself"
    seconds = each.next_at - now
    if seconds <= 1:
        return "due now"
    minutes = round(seconds / 60)
    span = f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f"next try in {span}"

"""What the journal knows of having been restored from a backup: what it cannot know is told as long as it matters."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from service.journal import Journal

FACT = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The last one. missing: objects with a row and without a file; cases_lost: cases without their results."""

    made_at: float
    restored_at: float
    missing: int
    cases_lost: int


def remember_restoration(journal: Journal, restored: Restoration) -> None:
    journal.remember(FACT, json.dumps(asdict(restored)))


def restoration_of(journal: Journal) -> Restoration | None:
    """None where the journal was never restored."""
    known = journal.fact(FACT)
    return None if known is None else Restoration(**json.loads(known))

"""What the journal knows of searches for the other half of a pair: when the archives were asked, and what they said."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from service.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The last search for one study's other half. answered: whether every archive has told and sent all that it has."""

    asked_at: float
    answered: bool
    sentence: str


def search_of(journal: Journal, study_instance_uid: str) -> Search | None:
    """The last one; None where none was made."""
    kept = journal.fact(_name(study_instance_uid))
    return None if kept is None else Search(**json.loads(kept))


def remember_search(journal: Journal, study_instance_uid: str, search: Search) -> None:
    facts = {"asked_at": search.asked_at, "answered": search.answered, "sentence": search.sentence}
    journal.remember(_name(study_instance_uid), json.dumps(facts))


def _name(study_instance_uid: str) -> str:
    """A fact's name has 64 characters, as many as a UID alone may have."""
    return f"missing half {hashlib.sha256(study_instance_uid.encode()).hexdigest()[:40]}"

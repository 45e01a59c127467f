"""Searches for a missing half are remembered by study, the last one of each."""

from __future__ import annotations

from typing import Any

from service.searches import Search, remember_search, search_of

LONGEST = "1." + "2" * 62


def test_the_last_search_of_each_study_is_kept(folder: Any) -> None:
    first, second = (Search(asked_at=at, answered=at > 1, sentence=f"Größe {at}") for at in (1.0, 2.5))
    assert search_of(folder.journal, LONGEST) is None
    remember_search(folder.journal, LONGEST, first)
    remember_search(folder.journal, LONGEST, second)
    remember_search(folder.journal, "1.3", first)
    assert (search_of(folder.journal, LONGEST), search_of(folder.journal, "1.3")) == (second, first)

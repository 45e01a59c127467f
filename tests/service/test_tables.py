"""No question that is asked each half second looks at every row, and any text can be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from polled import POLLED, plans, scans

from service.journal import Journal, open_journal
from service.tables import storable

SMALL = ("associations", "promises", "releases")  # an index would be no quicker


@pytest.mark.parametrize("ask", POLLED.values(), ids=POLLED)
def test_what_is_asked_again_and_again_goes_by_an_index(ask: Callable[[Journal], Any], tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)  # SQLite's own plan: https://www.sqlite.org/eqp.html
    found = plans(journal, ask)
    journal.close()
    assert found
    assert [line for line in scans(found) if not line.endswith(SMALL)] == []


def test_a_text_is_kept_as_it_is_where_a_database_takes_it() -> None:
    assert storable("Müller 漢字 \U0001f600\n") == "Müller 漢字 \U0001f600\n"
    assert storable("a\0b\ud800") == "a\ufffdb\ufffd"

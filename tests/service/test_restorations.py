"""That a journal was restored is remembered in it."""

from __future__ import annotations

from pathlib import Path

from service.journal import open_journal
from service.restorations import Restoration, remember_restoration, restoration_of


def test_the_last_restoration_is_known(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    assert restoration_of(journal) is None
    for made_at in (1.0, 2.0):
        remember_restoration(journal, Restoration(made_at=made_at, restored_at=3.0, missing=4, cases_lost=5))
    assert restoration_of(journal) == Restoration(made_at=2.0, restored_at=3.0, missing=4, cases_lost=5)
    journal.close()

"""What follows from archives' counts, and how the journal keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from service import intake
from service.intake import Rules
from service.tallies import Count, SeriesCount, Tally, objects_here, remember_tally, tally_of, to_be_counted

PET, CT = "1.2.1", "1.2.2"


def count(pet: int | None, ct: int | None, study: int | None = None) -> Count:
    counts = {PET: SeriesCount(modality="PT", objects=pet), CT: SeriesCount(modality="CT", objects=ct)}
    return Count(series=counts, study=study)


@pytest.mark.parametrize(
    ("told", "here", "short", "complete"),
    [
        (count(5, 7), {PET: 5, CT: 7}, False, True),
        (count(5, 7), {PET: 5, CT: 6}, True, False),
        (count(5, 7), {PET: 5}, False, False),  # the CT may come yet, or was never meant for this node
        (count(5, 7), {PET: 6, CT: 7}, False, True),  # an archive that lags behind
        (count(None, None), {PET: 5, CT: 7}, False, False),  # one that does not count
        (count(None, None, 12), {PET: 5, CT: 7}, False, True),
        (count(None, None, 13), {PET: 5, CT: 7}, True, False),
        (count(None, None, 13), {PET: 5}, False, False),
        (count(None, None, 12), {PET: 5, CT: 7, "1.2.3": 4}, False, True),
        (Count(series={PET: SeriesCount(modality="PT", objects=5)}), {PET: 5}, False, False),  # it has no CT itself
        (Count(), {PET: 5, CT: 7}, False, False),
    ],
)
def test_what_a_count_says(told: Count, here: dict[str, int], short: bool, complete: bool) -> None:
    tally = Tally(asked_at=1.0, told={"pacs": told})
    assert (bool(tally.shortage(here)), tally.complete(here)) == (short, "pacs" if complete else "")


def test_one_archive_that_has_more_outweighs_another(folder: Any) -> None:
    tally = Tally(asked_at=1.0, told={"old": count(5, 7), "new": count(5, 9)})
    assert tally.complete({PET: 5, CT: 7}) == ""
    assert "new counts more: 7 of the 9 objects of the CT series 1.2.2 have arrived" in tally.shortage({PET: 5, CT: 7})


def test_the_journal_gives_back_what_it_was_given(folder: Any) -> None:
    for tally in (
        Tally(asked_at=1.0, told={"pacs": count(5, None, 12), "other": Count()}, next_ask_at=61.0, asks=3, sentence="silent."),
        Tally(asked_at=2.0),
    ):
        remember_tally(folder.journal, "1.2.3", tally)
        assert tally_of(folder.journal, "1.2.3") == tally
    assert tally_of(folder.journal, "1.2.4") is None


def test_a_study_is_counted_when_nothing_comes_and_again_when_something_has_come(folder: Any, scan: Any) -> None:
    datasets = scan().datasets()
    uid = str(datasets[0].StudyInstanceUID)
    folder.receive(datasets[:9], now=100.0)
    intake.step(folder.journal, folder.data, Rules(), 100.0)
    assert to_be_counted(folder.journal, 109.0, 10.0) == []
    assert to_be_counted(folder.journal, 110.0, 10.0) == [uid]
    remember_tally(folder.journal, uid, Tally(asked_at=110.0))
    assert to_be_counted(folder.journal, 111.0, 10.0) == []
    folder.receive(datasets[8:], now=120.0)  # one of them for the second time
    intake.step(folder.journal, folder.data, Rules(), 120.0)
    assert to_be_counted(folder.journal, 130.0, 10.0) == [uid]
    assert sorted(objects_here(folder.journal, uid).values()) == [5, 5]
    remember_tally(folder.journal, uid, Tally(asked_at=130.0, next_ask_at=190.0))
    assert to_be_counted(folder.journal, 189.0, 10.0) == []
    assert to_be_counted(folder.journal, 190.0, 10.0) == [uid]

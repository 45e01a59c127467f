"""The node's keeper: a version after a quiet time, none without a change, a wrong table told until it is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cohort_cases import KnownCohort, add_case, known_cohort, rows_of

from service import cohorts
from service.cohort_keeper import Keeper, Shelf


@pytest.fixture
def cohort(tmp_path: Path) -> KnownCohort:
    return known_cohort(tmp_path, cycles=6)


def keeper_of(cohort: KnownCohort, quiet_s: float = 0.1) -> Keeper:
    shelf = Shelf(data=cohort.data, section=replace(cohort.section, quiet_s=quiet_s), destinations=["pacs"])
    return Keeper(journal=cohort.journal, shelf=shelf)


def run(keeper: Keeper, until: Callable[[], bool], seconds: float = 120.0) -> None:
    """Step as the node does, with its looks in quick succession."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "not in time"
        keeper._looked = 0.0
        keeper.step()
        time.sleep(0.05)


def versions(cohort: KnownCohort) -> int:
    newest = cohorts.newest(cohort.journal)
    return 0 if newest is None else newest.version


def looks(keeper: Keeper) -> None:
    """Twenty looks of the node, after which nothing is being made."""
    for _ in range(20):
        keeper._looked = 0.0
        keeper.step()
    assert keeper._child is None


def test_versions_come_as_cases_do_whatever_befalls_their_makers_and_the_table(cohort: KnownCohort) -> None:
    """One story, as each report costs ten seconds of a core."""
    keeper = keeper_of(cohort)

    # A child that is killed is a failure that is tried again.
    run(keeper, lambda: keeper._child is not None)
    assert keeper._child is not None
    keeper._child.process.kill()
    run(keeper, lambda: keeper._child is None)
    assert keeper._failures == 1
    assert versions(cohort) == 0
    keeper._again = 0.0
    run(keeper, lambda: versions(cohort) == 1)

    # Without a change there is no other version.
    looks(keeper)
    assert versions(cohort) == 1

    # A wrong table is told, and not tried again until it changes.
    assert cohort.section.clinical is not None
    good = cohort.section.clinical.read_text()
    cohort.section.clinical.write_text(good.replace("2022-", "2222-", 1))
    run(keeper, lambda: cohorts.refusal(cohort.journal) is not None)
    refused = cohorts.refusal(cohort.journal)
    assert refused is not None
    assert "row 2, column therapy_date" in refused.sentence
    looks(keeper)
    assert versions(cohort) == 1

    # A case is added and the table mended: a version of seven, and nothing is told any more.
    add_case(cohort.journal, cohort.data, "2.25.7", rows_of()[6])
    cohort.section.clinical.write_text(good)
    run(keeper, lambda: versions(cohort) == 2)
    newest = cohorts.newest(cohort.journal)
    assert newest is not None
    assert newest.cycles == 7
    assert cohorts.refusal(cohort.journal) is None


def test_nothing_is_begun_while_things_change(cohort: KnownCohort) -> None:
    keeper = keeper_of(cohort, quiet_s=1.0)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        assert cohort.section.clinical is not None
        with cohort.section.clinical.open("a") as table:
            table.write("\n")
        keeper._looked = 0.0
        keeper.step()
        assert keeper._child is None
        time.sleep(0.1)


def test_without_a_table_nothing_is_done(cohort: KnownCohort) -> None:
    shelf = Shelf(data=cohort.data, section=replace(cohort.section, clinical=None), destinations=[])
    keeper = Keeper(journal=cohort.journal, shelf=shelf)
    for _ in range(5):
        keeper._looked = 0.0
        keeper.step()
    assert keeper._child is None

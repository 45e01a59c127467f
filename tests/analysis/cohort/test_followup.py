"""Overall and progression-free survival from dates or durations; days counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from clinical_tables import clinical

from analysis.cohort.followup import follow_ups
from analysis.cohort.values import Endpoint


def test_dates_become_days_and_events(tmp_path: Path) -> None:
    table = clinical(
        tmp_path,
        """patient_id,therapy_date,death_date,progression_date,last_contact_date
        A,2024-02-01,2024-03-01,,2024-02-20
        B,2024-02-01,,2024-02-11,2024-05-01
        C,2024-02-01,,,2024-05-01
        D,2024-02-01,,,
        E,2024-02-01,2024-02-01,,""",
    )
    found = follow_ups(table.rows, table.columns)
    os, pfs = found[Endpoint.OS], found[Endpoint.PFS]
    assert os.days.tolist()[:3] == [29, 90, 90]
    assert os.event.tolist() == [True, False, False, False, True]
    assert math.isnan(os.days[3])
    assert os.days[4] == 0
    assert pfs.days.tolist()[:3] == [29, 10, 90]
    assert pfs.event.tolist() == [True, True, False, False, True]


def test_durations_stand_where_they_are_given(tmp_path: Path) -> None:
    table = clinical(
        tmp_path,
        """patient_id,therapy_date,os_days,os_event,pfs_days,pfs_event
        A,2024-02-01,200,1,120,1
        B,2024-02-01,300,0,,""",
    )
    found = follow_ups(table.rows, table.columns)
    assert found[Endpoint.OS].days.tolist() == [200, 300]
    assert found[Endpoint.OS].event.tolist() == [True, False]
    assert found[Endpoint.PFS].days[0] == 120
    assert math.isnan(found[Endpoint.PFS].days[1])


@pytest.mark.parametrize(
    ("head", "endpoints"),
    [("death_date", {Endpoint.OS}), ("age", set()), ("progression_date", {Endpoint.PFS}), ("last_contact_date", {Endpoint.OS})],
)
def test_an_endpoint_without_its_columns_is_absent(tmp_path: Path, head: str, endpoints: set[Endpoint]) -> None:
    table = clinical(tmp_path, f"patient_id,therapy_date,{head}\nA,2024-02-01,")
    assert set(follow_ups(table.rows, table.columns)) == endpoints

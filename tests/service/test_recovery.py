"""What a start finds: files without a row, in lots, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.values import Tracer
from service import arrivals, casebook, intake, recovery
from service.intake import Rules
from service.overview import overview
from service.readiness import IntakeSettings
from service.tables import InstanceState

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))


def step(folder: Any) -> None:
    intake.step(folder.journal, folder.data, RULES, 1000.0)


def both(scan: Any) -> list[Any]:
    return [*scan(tracer=Tracer.FDG).datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()]


@pytest.fixture(params=[500, 3], ids=["one lot", "many lots"], autouse=True)
def lot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "LOT", request.param)


def test_files_without_a_row_are_found_at_the_start(folder: Any, scan: Any, tmp_path: Path) -> None:
    datasets = both(scan)
    kept = folder.receive(datasets)
    lost = type(folder)(tmp_path)  # another folder with an empty journal
    for path in kept:
        (lost.data / path).write_bytes((folder.data / path).read_bytes())
    (lost.inbox.root / "00" / "notes.txt").write_text("no DICOM")
    assert recovery.recover(lost.journal, lost.inbox, 100.0) == len(datasets) + 1
    assert recovery.recover(lost.journal, lost.inbox, 100.0) == 0
    lost.receive(datasets)  # the sender, who got no answer, sends again
    step(lost)
    step(folder)
    assert [job.pair_uid for job in casebook.jobs_of(lost.journal)] == [
        job.pair_uid for job in casebook.jobs_of(folder.journal)
    ]
    assert any(line.state == InstanceState.REJECTED for line in overview(lost.journal).unused)

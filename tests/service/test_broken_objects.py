"""Broken objects over the network: the door answers each, stays open, and intake says of each what it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from corpus import synthetic
from mutations import broken
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage, PositronEmissionTomographyImageStorage, Verification

from service import intake
from service.intake import Rules
from service.readiness import IntakeSettings
from service.receiver import Receiver, ReceiverSettings

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
OBJECTS = 60


@pytest.fixture
def broken_files(tmp_path: Path) -> list[Path]:
    """As they lie on a sender's disk; those whose meta information is broken as well cannot be sent by anybody."""
    paths = []
    for base in synthetic(tmp_path / "made"):
        for name, content in list(base.files.items())[:: max(1, len(base.files) // 4)]:
            one = broken(content, f"door {base.name} {name}")
            if not any(change.startswith("bytes") for change in one.changes):
                paths.append(tmp_path / f"{len(paths)}.dcm")
                paths[-1].write_bytes(one.content)
    return paths[:OBJECTS]


def sent(port: int, paths: list[Path]) -> list[int]:
    """Statuses; the files' bytes go out as they are."""
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(Verification)
    for sop_class in (CTImageStorage, PositronEmissionTomographyImageStorage):
        for syntax in AllTransferSyntaxes:
            ae.add_requested_context(sop_class, syntax)
    assoc = ae.associate("127.0.0.1", port, ae_title="DUET")
    assert assoc.is_established
    statuses = [int(assoc.send_c_store(path).Status) for path in paths]
    assert assoc.send_c_echo().Status == 0
    assoc.release()
    return statuses


def test_the_door_and_intake_outlive_broken_objects(
    folder: Any, port: int, broken_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    door = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=port, free_gb=0), folder.inbox, folder.journal)
    door.start()
    try:
        statuses = sent(port, broken_files)
    finally:
        door.stop()
    assert len(statuses) >= 40
    assert set(statuses) == {0}
    rules = Rules(intake=IntakeSettings(silence_s=0, patience_s=1))
    intake.step(folder.journal, folder.data, rules, now=2e9)
    with sqlite3.connect(folder.data / "journal.sqlite") as journal:
        objects = journal.execute("select state, sentence from instances").fetchall()
        studies = journal.execute("select state, reason, sentence from studies").fetchall()
    assert "new" not in {state for state, _ in objects}
    assert all(sentence for state, sentence in objects if state == "rejected")
    own_faults = [row for row in (*objects, *studies) if "duet itself" in row[-1] or row[0] == "parked"]
    assert own_faults == []
    assert len(studies) > 3

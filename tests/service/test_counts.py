"""Counting from many threads at once, and what the door counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from service import keeping
from service.counts import BYTES, OBJECTS, Counts
from service.receiver import Receiver, ReceiverSettings


def test_no_thread_takes_anothers_count() -> None:
    counts = Counts()

    def add(_: int) -> None:
        for _ in range(2000):
            counts.add(OBJECTS, "stored")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert counts.of(OBJECTS) == {"stored": 16_000}
    assert counts.of(BYTES) == {}


@pytest.mark.parametrize("told", [(0.0, 0x0000, "stored"), (1e9, 0xA700, "refused")])
def test_the_door_counts_what_it_answers(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch, told: tuple[float, int, str]
) -> None:
    free_gb, status, outcome = told
    counts = Counts()
    monkeypatch.setattr(keeping, "COUNTS", counts)
    door = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=port, free_gb=free_gb), folder.inbox, folder.journal)
    assert not door.is_open
    door.start()
    assert door.is_open
    ae = AE()
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    assoc = ae.associate("127.0.0.1", port, ae_title="DUET")
    for ds in scan(slices=2, modalities=("CT",)).datasets():
        assert assoc.send_c_store(ds).Status == status
    assoc.release()
    door.stop()
    assert not door.is_open
    assert counts.of(OBJECTS) == {outcome: 2}
    written = sum(path.stat().st_size for path in folder.inbox.root.glob("*/*.dcm"))
    assert 0 <= sum(counts.of(BYTES).values()) <= written
    assert bool(counts.of(BYTES)) == (outcome == "stored")

"""What the door tells the journal, in its order, and again after an interruption."""

from __future__ import annotations

from typing import Any

from service import entries
from service.arrivals import Arrival
from service.entries import Association, End, Entry
from service.tables import Ending


def coming(sender: Association, number: int, at: float = 1.0) -> Entry:
    words = {"sop_class_uid": "1.2", "sop_instance_uid": f"1.2.{number}", "digest": "d", "path": f"inbox/{number}.dcm"}
    return Entry(association=sender, what=Arrival(received_at=at, **words))


def asked(folder: Any, query: str) -> list[Any]:
    with folder.journal.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_an_association_is_entered_with_its_first_object_and_ends_once(folder: Any) -> None:
    sender = Association(calling_ae="A TITLE OF MORE THAN SIXTEEN", address="10.0.0.1", opened_at=1.0)
    entries.write(folder.journal, [coming(sender, 1), coming(sender, 2)])
    entries.write(folder.journal, [coming(sender, 3), Entry(association=sender, what=End(ending=Ending.RELEASED, at=2.0))])
    entries.write(folder.journal, [Entry(association=sender, what=End(ending=Ending.BROKEN, at=3.0))])
    assert asked(folder, "SELECT id, calling_ae, ending, closed_at FROM associations") == [
        (sender.number, "A TITLE OF MORE ", "released", 2.0)
    ]
    assert asked(folder, "SELECT DISTINCT association_id FROM instances") == [(sender.number,)]


def test_written_again_nothing_is_doubled(folder: Any) -> None:
    """As where the second of two transactions failed, and all is tried again."""
    sender = Association(calling_ae="CT1", address="10.0.0.1", opened_at=1.0)
    lot = [coming(sender, 1), coming(sender, 1, at=2.0), coming(sender, 2)]
    for _ in range(2):
        entries.write(folder.journal, lot)
    assert asked(folder, "SELECT sop_instance_uid, received_at FROM instances ORDER BY id") == [("1.2.1", 2.0), ("1.2.2", 1.0)]
    assert asked(folder, "SELECT count(*) FROM associations") == [(1,)]

"""Who has seen what of a patient on the pages: the one place that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service import audit
from service.audit_events import Refusals
from service.lines import plain
from service.logs import logger

_refusals = Refusals("http")


def saw(user: str, address: str, object_key: str, patients: Mapping[str, Sequence[str]]) -> None:
    """A user has been shown something. object_key: a case's number or a page's name; patients: Patient ID > Study Instance
    UIDs, of whom that was: for the audit trail, and never for the log, which names nobody."""
    for patient_id, study_uids in patients.items():
        audit.seen(user, address, patient_id, study_uids)
    logger().info("patient data seen", user=plain(user)[:64], address=address, object=object_key)


def turned_away(address: str, why: str) -> None:
    """Somebody was not let in; the user's name that was tried may be a password, and is not kept."""
    _refusals.enter("pages", address, why)
    logger().warning("not let in to the pages", address=address, why=why)

"""Who has seen what of a patient on the pages: the one place that is told."""

from __future__ import annotations

from service.lines import plain
from service.logs import logger


def saw(user: str, address: str, object_key: str) -> None:
    """A user has been shown something of a patient. object_key: a case's number or a page's name, never a patient."""
    logger().info("patient data seen", user=plain(user)[:64], address=address, object=object_key)


def turned_away(address: str, why: str) -> None:
    """Somebody was not let in."""
    logger().warning("not let in to the pages", address=address, why=why)

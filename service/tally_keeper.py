"""Asks the archives how many objects a study has that arrives here, beside intake, which never waits for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from service import casebook
from service.journal import Journal
from service.logs import logger
from service.retrieval import Archive, ArchiveError
from service.retrieval_answers import counts
from service.retrieval_link import Link
from service.tallies import Count, Tally, objects_here, remember_tally, tally_of, to_be_counted
from service.worker import backoff

FIRST_AGAIN_S, LONGEST_AGAIN_S = 60.0, 3600.0
GIVEN_UP = 30  # asks of an archive that does not answer: about a day
ANSWER_S = 60.0  # an archive that is silent for so long is asked again later: nobody waits for its count


class TallyKeeper:
    """One study after the other, on an association for each archive."""

    def __init__(self, journal: Journal, archives: Sequence[Archive], ae_title: str, settle_s: float) -> None:
        self._journal, self._ae_title, self._settle_s = journal, ae_title, settle_s
        self._archives = [
            replace(archive, tries=1, timeout_s=min(archive.timeout_s, ANSWER_S), at_once=1) for archive in archives
        ]

    def step(self) -> None:
        """Ask about the study that has waited longest, where there is one."""
        now = time.time()
        for uid in to_be_counted(self._journal, now, self._settle_s)[:1]:
            self._ask(uid, now)

    def _ask(self, uid: str, now: float) -> None:
        before = tally_of(self._journal, uid)
        told: dict[str, Count] = {}
        silent: list[str] = []
        for archive in self._archives:
            try:
                with Link(archive, self._ae_title) as link:
                    told[archive.name] = counts(link, uid)
            except ArchiveError as error:
                silent.append(str(error))
        here = objects_here(self._journal, uid)
        tally = Tally(asked_at=now, told=told, sentence=" ".join(silent))
        short = tally.shortage(here)
        if short or silent:
            asks = before.asks + 1 if before is not None and before.next_ask_at is not None else 1
            again = now + backoff(asks - 1, FIRST_AGAIN_S, LONGEST_AGAIN_S)
            tally = replace(tally, asks=asks, next_ask_at=again if short or asks < GIVEN_UP else None)
        remember_tally(self._journal, uid, tally)
        logger().info("archives asked for a study's objects", short=bool(short), silent=len(silent))
        if short != (before.shortage(here) if before is not None else ""):
            casebook.unsettle(self._journal, uid)

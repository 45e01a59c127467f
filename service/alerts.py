"""Alerts: what an administrator is to know unasked. Each is told when it begins, again after repeat_h, and when it ends.

What holds and what is still to be told stands in the journal, so that a restart tells nothing twice. A sentence names cases by
their numbers and studies by their ids, never a patient.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy.exc import SQLAlchemyError

from service.alert_posts import CHANNELS, AlertSettings, Letter, post
from service.explain import counted, when
from service.logs import logger
from service.standings import Standings, standings
from service.traces import case_ids
from service.watched import Watched, faults

ALERTS_FACT = "alerts"
MOST_LETTERS = 200  # that wait for a channel; the oldest are given up first
FIRST_RETRY_S, LONGEST_RETRY_S = 10.0, 3600.0
NAMED = 5  # cases that a sentence names
KINDS = ("disk", "part", "queue", "undelivered", "held", "parked")
WITHOUT_JOURNAL = KINDS[:2]  # the others are unknown while it is away, which ends none of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is not as it should be. kind: a stable word; about: which of several, empty where there is one."""

    kind: str
    sentence: str
    about: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.about}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An alert that holds: since when, and when it was last told."""

    kind: str
    about: str
    sentence: str
    since: float
    told_at: float


def found_alerts(watched: Watched, settings: AlertSettings, now: float) -> tuple[list[Alert], bool]:
    """Everything that is not as it should be now, and whether the journal could be asked."""
    found = list(_of_disk(watched, settings))
    broken = [name for name in faults(watched) if name != "disk"]
    found += [Alert(kind="part", about=name, sentence=f"A part of the node does not work: {name}.") for name in broken]
    try:
        return found + list(_of_journal(watched, standings(watched.journal), settings, now)), True
    except SQLAlchemyError:
        return found, False


def _of_disk(watched: Watched, settings: AlertSettings) -> Iterator[Alert]:
    try:
        free = watched.free_bytes / 1e9
    except OSError:
        yield Alert(kind="disk", sentence="The disk of the data folder cannot be looked at.")
        return
    limit = max(settings.disk_gb, settings.disk_floors * watched.floor_gb)
    if free < limit:
        floor = f"below {watched.floor_gb:g} GB nothing is received"
        yield Alert(kind="disk", sentence=f"Little disk is free: {free:.1f} GB, less than {limit:g} GB; {floor}.")


def _of_journal(watched: Watched, known: Standings, settings: AlertSettings, now: float) -> Iterator[Alert]:
    since = known.queued_since
    if since is not None and now - since > settings.queue_h * 3600:
        waits = f"{counted(known.cases['queued'], 'case')} in the queue"
        yield Alert(kind="queue", sentence=f"A case waits for its analysis since {when(since)}; {waits}.")
    for destination, since in known.undelivered.items():
        if now - since > settings.undelivered_h * 3600:
            todo = "duet status --undelivered says why"
            sentence = f"{destination} is owed objects of a case that was finished at {when(since)}; {todo}."
            yield Alert(kind="undelivered", about=destination, sentence=sentence)
    held = sorted(number for number, since in known.held.items() if now - since > settings.held_h * 3600)
    if held:
        yield Alert(kind="held", sentence=f"Held for more than {settings.held_h:g} h: {_named(watched, held)}.")
    if known.parked:
        sentence = f"duet itself has failed on {_named(watched, known.parked)}; duet status says how."
        yield Alert(kind="parked", sentence=sentence)
    if count := known.studies["parked"]:
        sentence = f"duet itself has failed on {counted(count, 'study').replace('studys', 'studies')}; duet status says how."
        yield Alert(kind="parked", about="studies", sentence=sentence)


def _named(watched: Watched, numbers: Sequence[int]) -> str:
    """Cases by number with their studies' ids."""
    told = []
    for number in numbers[:NAMED]:
        studies = case_ids(watched.journal, number).get("study", ())
        told.append(f"case {number} (study {', '.join(studies) if isinstance(studies, list) else 'unknown'})")
    more = len(numbers) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


class Watchman:
    """Looks every every_s, tells what has changed, and sends what is to be told."""

    def __init__(self, watched: Watched, settings: AlertSettings, node: str) -> None:
        self._watched, self._settings, self._node = watched, settings, node
        self._holding: dict[str, Told] = {}
        self._letters: list[Letter] = []
        self._read = False
        self._next_look = 0.0

    def firing(self) -> Mapping[str, int]:
        """Kind > how many hold."""
        return dict.fromkeys(KINDS, 0) | Counter(told.kind for told in list(self._holding.values()))

    def step(self, now: float | None = None) -> None:
        """One look where it is time, and one try of every letter that is due."""
        now = time.time() if now is None else now
        if not self._read:
            self._remembered()
        if now >= self._next_look:
            self._next_look = now + self._settings.every_s
            self._look(now)
        self._send(now)

    def _look(self, now: float) -> None:
        alerts, journal_read = found_alerts(self._watched, self._settings, now)
        found = {alert.key: alert for alert in alerts}
        before = (dict(self._holding), list(self._letters))
        for key, alert in found.items():
            told = self._holding.get(key)
            if told is None:
                self._tell("begins", _told(alert, now, now), now)
            elif now - told.told_at >= self._settings.repeat_h * 3600:
                self._tell("holds", _told(alert, told.since, now), now)
            else:
                self._holding[key] = replace(told, sentence=alert.sentence)
        for key in set(self._holding) - set(found):
            if journal_read or self._holding[key].kind in WITHOUT_JOURNAL:
                self._tell("ends", replace(self._holding[key], told_at=now), now)
        if before != (self._holding, self._letters):
            self._remember()

    def _tell(self, event: str, told: Told, now: float) -> None:
        key = f"{told.kind} {told.about}".strip()
        if event == "ends":
            del self._holding[key]
        else:
            self._holding[key] = told
        log = logger().info if event == "ends" else logger().warning
        log(f"alert {event}", alert=told.kind, about=told.about, sentence=told.sentence)
        for channel in filter(self._settings.uses, CHANNELS):
            letter = Letter(
                channel=channel,
                node=self._node,
                alert=told.kind,
                about=told.about,
                event=event,
                sentence=told.sentence,
                since=told.since,
                at=now,
                next_try_at=now,
            )
            self._letters.append(letter)
        self._letters = self._letters[-MOST_LETTERS:]

    def _send(self, now: float) -> None:
        """In each channel one after the other, so that an end is never told before its beginning."""
        blocked: set[str] = set()
        left, changed = [], False
        for letter in self._letters:
            if letter.channel in blocked or letter.next_try_at > now:
                blocked.add(letter.channel)
                left.append(letter)
                continue
            changed = True
            failure = post(letter, self._settings)
            if failure:
                delay = min(FIRST_RETRY_S * 2.0 ** min(letter.tries, 20), LONGEST_RETRY_S)
                logger().warning("alert not told", channel=letter.channel, error=failure, again_in_s=delay)
                blocked.add(letter.channel)
                left.append(replace(letter, tries=letter.tries + 1, next_try_at=now + delay))
        self._letters = left
        if changed:
            self._remember()

    def _remember(self) -> None:
        facts = {"holding": _plain(self._holding.values()), "letters": _plain(self._letters)}
        try:
            self._watched.journal.remember(ALERTS_FACT, json.dumps(facts))
        except SQLAlchemyError as error:  # it is told all the same, and remembered with the next change
            logger().error("alerts not remembered", error=type(error).__name__)

    def _remembered(self) -> None:
        kept = self._watched.journal.fact(ALERTS_FACT)
        facts = json.loads(kept) if kept else {"holding": [], "letters": []}
        holding = [Told(**row) for row in facts["holding"]]
        self._holding = {f"{told.kind} {told.about}".strip(): told for told in holding}
        self._letters = [Letter(**row) for row in facts["letters"]]
        self._read = True


def _told(alert: Alert, since: float, now: float) -> Told:
    return Told(kind=alert.kind, about=alert.about, sentence=alert.sentence, since=since, told_at=now)


def _plain(values: Iterable[Told | Letter]) -> list[dict[str, object]]:
    return [asdict(value) for value in values]

"""One study from an archive into the node, compared object by object, and asked for again where something is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.arrivals import present
from service.journal import Journal
from service.logs import logger
from service.retrieval import ArchiveError, Contents, Level, Method, Outcome, StudyAnswer
from service.retrieval_answers import contents
from service.retrieval_link import UNKNOWN_DESTINATION, Link
from service.traces import study_id

LIST = 50  # objects that are named in one request
# What is asked for, one round after the other, while something is missing: each series, again, lists of objects, each object.
ROUNDS = (Level.SERIES, Level.SERIES, Level.IMAGE, Level.IMAGE)
FRUITLESS = 3  # requests for named objects without one that came, after which the round ends
LOOK_S = 0.2  # between two looks whether more has arrived

Tell = Callable[[int, int], None]  # objects that are here, objects of the study
Request = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Where objects arrive: the node's journal and its data folder."""

    journal: Journal
    data: Path

    def of(self, objects: frozenset[str]) -> frozenset[str]:
        """Those that are here."""
        return frozenset(present(self.journal, self.data, objects))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one study. objects: all that the archive has of PET and CT; had: those that were here before;
    missing: those that are not here now, with those that the archive counts and does not list."""

    study: StudyAnswer
    series: int = 0
    objects: int = 0
    had: int = 0
    moved: int = 0
    missing: int = 0
    sentence: str = ""

    @property
    def complete(self) -> bool:
        return self.missing == 0 and not self.sentence


def fetch(link: Link, study: StudyAnswer, holdings: Holdings, tell: Tell) -> Fetched | None:
    """Bring what is missing of a study's PET and CT; None where it has no PET. Raises ArchiveError."""
    if study.modalities and "PT" not in study.modalities:
        return None
    there = contents(link, study.study_uid)
    if not there.has_pet and not there.doubt:
        return None
    before = holdings.of(there.objects)
    here, sentence = _bring_all(link, study, there, holdings, tell)
    missing = len(there.objects - here) + there.unlisted
    named, moved = study_id(holdings.journal, study.study_uid), len(here - before)
    logger().info("study asked of an archive", study=named, archive=link.archive.name, moved=moved, missing=missing)
    if not missing:
        sentence = ""
    elif there.unlisted:
        lists = f"{link.archive.name} lists {there.unlisted} object(s) fewer than it counts; these cannot be compared."
        sentence = f"{sentence} {lists}".strip()
    return Fetched(
        study=study,
        series=len(there.series),
        objects=len(there.objects) + there.unlisted,
        had=len(before),
        moved=moved,
        missing=missing,
        sentence=f"{sentence} {there.doubt}".strip(),
    )


def _bring_all(link: Link, study: StudyAnswer, there: Contents, holdings: Holdings, tell: Tell) -> tuple[frozenset[str], str]:
    """Round after round; returns what is here at the end, and the archive's words where something is missing."""
    here, sentence = holdings.of(there.objects), ""
    watch = _now_and_then(lambda: tell(len(holdings.of(there.objects)), len(there.objects)))
    try:
        for number in range(len(ROUNDS)):
            requests = tuple(_requests(study.study_uid, there, here, number))
            if not requests:
                break
            outcomes = _one_round(link, requests, holdings, watch)
            here = _arrived(link, there, holdings, outcomes)
            tell(len(here), len(there.objects))
            sentence = _words(link, outcomes, here=len(here), missing=len(there.objects - here))
            unknown = any(each.code == UNKNOWN_DESTINATION for each in outcomes)
            if unknown or (not here and _elsewhere(link, outcomes)):
                break
    except ArchiveError as error:
        return holdings.of(there.objects), str(error)
    return here, sentence


def _one_round(link: Link, requests: Sequence[Request], holdings: Holdings, watch: Callable[[], None]) -> list[Outcome]:
    """One request after the other; an archive that sends no named object is not asked for a thousand others."""
    outcomes: list[Outcome] = []
    fruitless = 0
    for request in requests:
        named = request.get("SOPInstanceUID", [])
        level = Level.IMAGE if named else Level.SERIES
        outcomes.append(link.bring(level, request, watch))
        if outcomes[-1].code == UNKNOWN_DESTINATION:
            break
        brought = not named or _came(holdings, frozenset([named] if isinstance(named, str) else named))
        fruitless = 0 if brought else fruitless + 1
        if fruitless == FRUITLESS:
            break
    return outcomes


def _came(holdings: Holdings, named: frozenset[str]) -> bool:
    """Whether anything of it is here; what came by another association stands in the journal a moment later."""
    if not holdings.of(named):
        time.sleep(LOOK_S)
    return bool(holdings.of(named))


def _now_and_then(look: Callable[[], None]) -> Callable[[], None]:
    """Looks at most once a second, however often the archive says that it goes on."""
    last = time.monotonic()

    def watch() -> None:
        nonlocal last
        if time.monotonic() - last >= 1:
            look()
            last = time.monotonic()

    return watch


def _requests(study_uid: str, there: Contents, here: frozenset[str], number: int) -> Iterator[Request]:
    """What is asked for in a round."""
    for series in there.series:
        missing = sorted(series.objects - here)
        whole = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series.series_uid}
        if ROUNDS[number] is Level.SERIES:
            if missing or (series.unlisted and number == 0):
                yield whole
            continue
        at_once = LIST if number < len(ROUNDS) - 1 else 1
        for start in range(0, len(missing), at_once):
            named = missing[start : start + at_once]
            yield {**whole, "SOPInstanceUID": named if len(named) > 1 else named[0]}


def _arrived(link: Link, there: Contents, holdings: Holdings, outcomes: Sequence[Outcome]) -> frozenset[str]:
    """What is here; waits while more comes, for an archive may send from a queue after its last word."""
    here = holdings.of(there.objects)
    sent_by_others = link.archive.method is Method.MOVE and any(_may_still_come(each) for each in outcomes)
    end = time.monotonic() + link.archive.arrival_s
    while sent_by_others and here != there.objects and time.monotonic() < end:
        time.sleep(LOOK_S)
        now = holdings.of(there.objects)
        if now != here:
            here, end = now, time.monotonic() + link.archive.arrival_s
    return here


def _may_still_come(outcome: Outcome) -> bool:
    """After a success or a broken association; a refusal brings nothing more."""
    return outcome.code is None or not outcome.sentence


def _elsewhere(link: Link, outcomes: Sequence[Outcome]) -> bool:
    """Whether the archive says that it moved all, so that asking again is of no use."""
    return link.archive.method is Method.MOVE and all(each.code is not None and not each.sentence for each in outcomes)


def _words(link: Link, outcomes: Sequence[Outcome], *, here: int, missing: int) -> str:
    """Why something is missing after a round."""
    if not missing:
        return ""
    told = next((each.sentence for each in outcomes if each.sentence), "")
    if told:
        return told
    name = link.archive.name
    if not here and _elsewhere(link, outcomes):
        return (
            f"{name} says that it has sent the objects to {link.destination}, and none has arrived here; see which address it "
            "has for that AE title: they went elsewhere, or are still on their way."
        )
    return f"{name} says that it has sent all, and {missing} object(s) have not arrived."

"""The nouns of retrieval: an archive that may be asked, what is wanted of it, and what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path

from service.bounds import check_ae_title, check_not_negative, check_positive, dicom_address, unset_empty_paths
from service.tls import TlsSettings, Trust

IMAGES = ("PT", "CT")  # what is moved of a study
_UID = re.compile(r"[0-9.]{1,64}")
_WILD = set("*?\\")
_SUSPICIOUS = 50  # an archive that answers a multiple of it, 100 or more, may have stopped there


class ArchiveError(Exception):
    """An archive cannot be reached, or refuses to answer; the message is a sentence."""


class BrokenError(ArchiveError):
    """The association ended, or the archive fell silent, before a request was answered."""


class Method(StrEnum):
    """C-MOVE: the archive sends to the node's door; C-GET: over the association that asked for it."""

    MOVE = "move"
    GET = "get"


class Level(StrEnum):
    """QueryRetrieveLevel."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """[[archive]]. url: dicom(s)://AE_TITLE@host:port.

    method: "move" works with nearly every archive, but it must know the node; "get" needs no entry there. move_to: the AE
    title to which the archive is told to move; empty: the node's own. at_once: associations that work at the same time; more
    slow many archives down. timeout_s: silence on an association after which it is given up; an archive that reads tapes is
    silent for minutes. arrival_s: so long after the archive's last word objects may still arrive, where it sends from a
    queue. tries: how often a request is made on associations that break, after again_s, then twice as long each time.
    cap: answers at which the archive stops; 0: unknown, and a round number of them is not believed. ca_file: who vouches for
    its certificate (dicoms); empty: that of [tls]. tls: the node's own section [tls].
    """

    name: str
    url: str
    method: Method = Method.MOVE
    move_to: str = ""
    at_once: int = 2
    timeout_s: float = 300.0
    arrival_s: float = 10.0
    tries: int = 3
    again_s: float = 5.0
    cap: int = 0
    ca_file: Path | None = None
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __post_init__(self) -> None:
        unset_empty_paths(self)
        dicom_address(self.url)
        if self.ca_file and self.trust is None:
            raise ValueError("ca_file is for addresses with TLS, dicoms://AE_TITLE@host:port")
        if self.move_to:
            check_ae_title("move_to", self.move_to)
        check_positive(at_once=self.at_once, timeout_s=self.timeout_s, tries=self.tries)
        check_not_negative(arrival_s=self.arrival_s, again_s=self.again_s, cap=self.cap)

    @property
    def address(self) -> tuple[str, str, int]:
        """(AE title, host, port)."""
        return dicom_address(self.url)

    @property
    def trust(self) -> Trust | None:
        """How it is called by TLS; None where it is called without."""
        return Trust(tls=self.tls, ca_file=self.ca_file) if self.url.startswith("dicoms://") else None

    def suspects(self, answers: int) -> bool:
        """Whether so many answers may be not all."""
        return answers >= self.cap if self.cap else answers >= 2 * _SUSPICIOUS and answers % _SUSPICIOUS == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """[retrieval]. missing_half: when one tracer of a pair has arrived, ask the archives for the other, at most [pairing]
    max_days away; off, as a node should not query an archive unasked. ask_again_s: until it has come, or no longer can."""

    missing_half: bool = False
    ask_again_s: float = 21600.0

    def __post_init__(self) -> None:
        check_positive(ask_again_s=self.ask_again_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One row of a list: what a study must bear, one identifier or more, and the days between which it lies, both included."""

    patient_id: str = ""
    accession: str = ""
    study_uid: str = ""
    issuer: str = ""
    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if not (self.patient_id or self.accession or self.study_uid):
            raise ValueError("one of patient_id, accession and study_uid is to be given")
        if _WILD & set(self.patient_id + self.accession):
            raise ValueError(
                "patient_id or accession with *, ? or a backslash is a pattern to an archive and cannot be asked for"
            )
        if self.study_uid and not _UID.fullmatch(self.study_uid):
            raise ValueError(f"study_uid has digits and dots, at most 64, not {self.study_uid!r}")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(f"the window ends on {self.last}, before it begins on {self.first}")

    @property
    def label(self) -> str:
        """What the row asks for, in words for a person."""
        named = (("", self.patient_id), ("accession ", self.accession), ("study ", self.study_uid))
        return ", ".join(f"{kind}{word}" for kind, word in named if word)

    def holds(self, study: StudyAnswer) -> bool:
        """Whether an answer is what was asked for: an archive may ignore a key, and answer of other patients."""
        if self.patient_id and (study.patient_id != self.patient_id or _differ(self.issuer, study.issuer)):
            return False
        if self.accession and study.accession != self.accession:
            return False
        if self.study_uid and study.study_uid != self.study_uid:
            return False
        if self.first is None and self.last is None:
            return True
        day = dicom_date(study.study_date)
        return day is not None and (self.first or day) <= day <= (self.last or day)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAnswer:
    """What an archive says of a study; modalities is empty where it does not say."""

    study_uid: str
    patient_id: str = ""
    issuer: str = ""
    accession: str = ""
    study_date: str = ""
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The studies that were asked for, oldest first. others: answers that are not what was asked for, and were dropped;
    doubt: a sentence where there may be more."""

    studies: tuple[StudyAnswer, ...] = ()
    others: int = 0
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesAnswer:
    """A series and its objects. unlisted: how many more the archive counts than it lists."""

    series_uid: str
    modality: str
    objects: frozenset[str] = frozenset()
    unlisted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The PET and CT series of a study. doubt: a sentence where the archive may not have listed all."""

    series: tuple[SeriesAnswer, ...] = ()
    doubt: str = ""

    @property
    def objects(self) -> frozenset[str]:
        return frozenset().union(*(each.objects for each in self.series))

    @property
    def unlisted(self) -> int:
        return sum(each.unlisted for each in self.series)

    @property
    def has_pet(self) -> bool:
        return any(each.modality == "PT" for each in self.series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a C-MOVE or C-GET ended. code: the status, None where the association broke; sentence: what went wrong, or empty."""

    code: int | None
    completed: int = 0
    failed: int = 0
    sentence: str = ""


def dicom_date(text: str) -> date | None:
    """A DA as a date; None where it is none."""
    try:
        return date.fromisoformat(text) if len(text) == 8 and text.isascii() and text.isdigit() else None
    except ValueError:
        return None


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other

"""The nouns of headers: Instance, Series, Study, TracerStudy, DualTracerPair."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from pydicom import Dataset

from analysis.values import Tracer
from dicom_io.elements import text

# Positron Emission Tomography, Legacy Converted Enhanced PET and Enhanced PET Image Storage (PS3.4 B.5).
_PET_IMAGES = {f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("128", "128.1", "130")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """One received object: its file and its header. header: the dataset without pixel data, file meta included.

    frame: which frame of a multi-frame file it is (from 0), its header then in the form of a classic slice; None: the file.
    pixels_at: the byte of the file at which the pixel data element begins; None: not known.
    """

    path: Path
    header: Dataset = field(repr=False)
    frame: int | None = None
    pixels_at: int | None = None

    @property
    def sop_class_uid(self) -> str:
        return text(self.header, "SOPClassUID")

    @property
    def sop_instance_uid(self) -> str:
        return text(self.header, "SOPInstanceUID")

    @property
    def label(self) -> str:
        """How a sentence names it: "slice 12", or "frame 12 of instance 1" of a multi-frame object."""
        number = text(self.header, "InstanceNumber") or self.sop_instance_uid
        return f"slice {number}" if self.frame is None else f"frame {self.frame + 1} of instance {number}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Series:
    """The instances of one SeriesInstanceUID, in order of position along the slice normal, then of instance number."""

    instances: tuple[Instance, ...]

    @property
    def header(self) -> Dataset:
        """The header of the first instance, for what all instances share."""
        return self.instances[0].header

    @property
    def series_instance_uid(self) -> str:
        return text(self.header, "SeriesInstanceUID")

    @property
    def modality(self) -> str:
        """As written; of a PET image without one, as in excerpts of headers, PT."""
        return text(self.header, "Modality") or ("PT" if self.instances[0].sop_class_uid in _PET_IMAGES else "")

    @property
    def description(self) -> str:
        return text(self.header, "SeriesDescription")

    @property
    def frame_of_reference_uid(self) -> str:
        return text(self.header, "FrameOfReferenceUID")


T = TypeVar("T")


def once_a_series(work: Callable[[Series], T]) -> Callable[[Series], T]:
    """The same, asked once of each series: its headers never change. Forgotten with the series; what is raised is not kept."""
    known: WeakKeyDictionary[Series, T] = WeakKeyDictionary()

    @functools.wraps(work)
    def asked(series: Series) -> T:
        if series not in known:
            known[series] = work(series)
        return known[series]

    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientIdentity:
    """Who the header says it is; birth_date as YYYYMMDD or "", sex as the header writes it or ""."""

    patient_id: str
    issuer: str = ""
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    sex: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """All series of one StudyInstanceUID. started: StudyDate and StudyTime (naive local time of the scanner)."""

    patient: PatientIdentity
    series: tuple[Series, ...]
    started: datetime

    @property
    def study_instance_uid(self) -> str:
        return text(self.series[0].header, "StudyInstanceUID")

    @property
    def description(self) -> str:
        return next((d for s in self.series if (d := text(s.header, "StudyDescription"))), "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TracerStudy:
    """A study of which is known: the tracer, when it was injected, which PET to measure and which CT belongs to it."""

    study: Study
    tracer: Tracer
    injected: datetime
    pet: Series
    ct: Series
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DualTracerPair:
    """One patient's FDG and PentixaFor studies, close enough in time to be compared."""

    fdg: TracerStudy
    pentixafor: TracerStudy

    @property
    def gap(self) -> timedelta:
        """Time between the two injections, never negative."""
        return abs(self.pentixafor.injected - self.fdg.injected)

    @property
    def gap_days(self) -> int:
        """Calendar days between the two studies."""
        return abs((self.pentixafor.study.started.date() - self.fdg.study.started.date()).days)

    @property
    def patient(self) -> PatientIdentity:
        return self.fdg.study.patient

    @property
    def uid(self) -> str:
        """Derived from the set of SOP instance UIDs that are measured: the same images always give the same UID."""
        series = (self.fdg.pet, self.fdg.ct, self.pentixafor.pet, self.pentixafor.ct)
        return stable_uid(*sorted({i.sop_instance_uid for s in series for i in s.instances}))

    def study(self, tracer: Tracer) -> TracerStudy:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


def stable_uid(*parts: str) -> str:
    """A DICOM UID (2.25 root, RFC 4122 version 5 style) that depends on nothing but the given words."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=5).int}"

"""One job: read, analyse, write. Also the one place where any error is caught."""

from __future__ import annotations

import gc
import json
import shutil
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.errors import Rejected
from service.inbox import FULL, seal
from service.logs import logger
from service.outcomes import Outcome

if TYPE_CHECKING:
    from analysis.patient.pipeline import AnalysisSettings
    from analysis.ports import Progress
    from analysis.values import PatientAnalysis
    from dicom_io.derived import ObjectSettings
    from dicom_io.pairing import PairingSettings
    from dicom_io.studies import DualTracerPair
    from dicom_io.tracers import TracerRules

T = TypeVar("T")
BUSY = "Busy"  # the reason of a case that another process still computes
NO_ROOM = "NoRoom"  # the reason of what a full disk did not take


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something was not done. reason: a stable word; system: duet failed, not the data."""

    reason: str
    sentence: str
    system: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseJob:
    """What a worker needs for one case; the paths lie where node and workers both see them. batch: rows of earlier cases;
    ids: what its lines in the log are found by."""

    pair_uid: str
    fdg: tuple[Path, ...]
    pentixafor: tuple[Path, ...]
    folder: Path
    settings: AnalysisSettings
    tracers: TracerRules
    pairing: PairingSettings
    objects: ObjectSettings
    batch: tuple[Mapping[str, Any], ...] = ()
    ids: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How results are written and with what they are compared. batch: {finding name: value} of earlier cases."""

    objects: ObjectSettings
    nifti: bool = False
    batch: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What lies in a case folder. objects: to be delivered, in order; held: the quality findings that forbid it;
    released: whether its reports bear a release."""

    objects: tuple[Path, ...]
    held: tuple[str, ...] = ()
    released: bool = False
    outcome: Outcome = field(default=Outcome(verdict="ok", findings=(), measures={}))


def attempt(work: Callable[[], T]) -> T | Refusal:
    """The result, or why there is none. An error of the data is told; any other is duet's own, and is logged."""
    try:
        return work()
    except Rejected as error:
        return Refusal(reason=error.reason, sentence=str(error), system=False)
    except Exception as error:  # noqa: BLE001  the one place: whatever one case does, the node goes on
        # The message may quote a header, so the log has only where it happened; `duet status` shows the message.
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger().error("duet failed", error=type(error).__name__, where=frames)
        if _no_room(error):
            return Refusal(
                reason=NO_ROOM, sentence="The disk of the results is full; once there is room it goes on.", system=True
            )
        sentence = f"duet itself failed ({type(error).__name__}: {_words(error)}); the log says where."
        return Refusal(reason=type(error).__name__, sentence=sentence[:1000], system=True)


def _no_room(error: Exception) -> bool:
    if isinstance(error, shutil.Error):  # of many files, in words
        return any(f"[Errno {number}]" in str(error) for number in FULL)
    return isinstance(error, OSError) and error.errno in FULL


def _words(error: Exception) -> str:
    """What the error says; of a folder that could not be copied only what is said of its first file."""
    several = isinstance(error, shutil.Error) and isinstance(error.args[0], list)
    return str(error.args[0][0][-1] if several else error)


def backoff(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds to wait after so many earlier failures: doubled each time, up to the longest."""
    return min(first_s * 2.0 ** min(failures, 30), longest_s)


def run_case(job: CaseJob, progress: Progress) -> CaseResult:
    """The results of one case on disk, complete. A folder that is there was finished by an earlier run and is kept.

    Raises Rejected.
    """
    if not job.folder.is_dir():
        pair = read_pair(job)
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        with draft_beside(job.folder) as draft:
            write_pair(pair, job.settings, draft, progress=progress, wishes=Wishes(objects=job.objects, batch=job.batch))
            seal(draft, job.folder)
    return case_result(job.folder)


def clear_drafts(folder: Path) -> None:
    """Take away what a killed process left half written of the folder; only for whom nobody else writes it."""
    for draft in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def draft_beside(folder: Path) -> Iterator[Path]:
    """A name beside `folder`, to write under; what still has it at the end is half a case, on a disk that may be full."""
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_pair(job: CaseJob) -> DualTracerPair:
    """The job's files as the pair that intake saw."""
    from dicom_io.headers import group, read_instance
    from dicom_io.pairing import one_pair
    from dicom_io.tracers import recognise

    fdg, pentixafor = (
        [recognise(study, job.tracers) for study in group([read_instance(path) for path in paths])]
        for paths in (job.fdg, job.pentixafor)
    )
    pair = one_pair(fdg, pentixafor, job.pairing)
    if pair.uid != job.pair_uid:
        raise RuntimeError("the files of the case are no longer those that it was made of")
    return pair


def write_pair(
    pair: DualTracerPair,
    settings: AnalysisSettings,
    folder: Path,
    *,
    progress: Progress,
    wishes: Wishes,
) -> PatientAnalysis:
    """Analyse a pair and write everything that belongs to it. Raises Rejected."""
    from analysis.patient.pipeline import Beside, analyse
    from dicom_io.header_findings import header_findings
    from dicom_io.results import write_case
    from dicom_io.volumes import load

    progress("Reading both studies", 0.0)
    fdg, pentixafor = load(pair.fdg), load(pair.pentixafor)

    def within(message: str, fraction: float) -> None:
        progress(message if fraction < 1 else "Writing the results", 0.1 + 0.75 * fraction)

    beside = Beside(given=header_findings(pair), batch=wishes.batch)
    # The headers are a million objects that all stay: to walk through them again and again takes Python a tenth of its time.
    gc.freeze()
    try:
        analysis = analyse(fdg, pentixafor, settings, progress=within, beside=beside)
        write_case(folder, pair, analysis, nifti=wishes.nifti, objects=wishes.objects)
    finally:
        gc.unfreeze()
    progress("Done", 1.0)
    return analysis


def case_result(folder: Path) -> CaseResult:
    """What a finished case folder holds."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    held = tuple(finding["message"] for finding in results["quality"] if finding["verdict"] == "hold")
    # The writer names what is referred to before what refers to it.
    objects = tuple(folder / f"{name}.dcm" for name in results["objects"])
    return CaseResult(objects=objects, held=held, released="release" in results, outcome=_outcome(results))


def _outcome(results: Mapping[str, Any]) -> Outcome:
    from analysis.patient.quality_batch import BATCH_NAMES

    values = {finding["name"]: finding["value"] for finding in results["quality"]}
    measures = {name: values[name] for name in BATCH_NAMES if values.get(name) is not None}
    return Outcome(verdict=results["verdict"], findings=tuple(results["quality"]), measures=measures)

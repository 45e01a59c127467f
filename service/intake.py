"""Loose files > complete studies > pairs > jobs.

What is decided follows from the journal's rows, the received files and the clock that is handed in, so it can be repeated
after any interruption: an object is filed once, and a study is judged anew whenever it holds more than its judgement rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from analysis.errors import IdentityConflict, IncompleteSeries, NotDicom
from dicom_io.headers import differences, group, read_instance, same_patient_id
from dicom_io.pairing import Pairing, PairingSettings, pair
from dicom_io.slices import slice_grid
from dicom_io.studies import DualTracerPair, TracerStudy
from dicom_io.suv import suv_conversion
from dicom_io.tracers import TracerRules, recognise
from service import arrivals, casebook
from service.arrivals import Arrival, Filing, InstanceRow
from service.casebook import Case, Ruling, StudyRow
from service.inbox import Inbox, content_digest
from service.journal import Journal
from service.tables import InstanceState, StudyState
from service.worker import Refusal, attempt

IMAGES = ("PT", "CT")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """[intake]. A study is looked at after silence_s without a new object, or patience_s where its sender was cut off."""

    silence_s: float = 30.0
    patience_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All settings that intake decides by."""

    intake: IntakeSettings = field(default_factory=IntakeSettings)
    tracers: TracerRules = field(default_factory=TracerRules)
    pairing: PairingSettings = field(default_factory=PairingSettings)


def step(journal: Journal, data: Path, rules: Rules, now: float) -> None:
    """File what is new, and judge the patients of whom all has arrived."""
    while rows := arrivals.unread(journal):
        own = arrivals.own_results(journal, [row.sop_instance_uid for row in rows])
        arrivals.file(journal, [filing(row, data, own) for row in rows])
    for patient_id in ripe(casebook.unsettled(journal), now, rules.intake):
        judge(journal, data, patient_id, rules, now)


def recover(journal: Journal, inbox: Inbox, now: float) -> int:
    """Enter files that lie in the inbox without a row (written just before a kill, or put there by hand); returns how many."""
    lost = sorted(set(inbox.files()) - arrivals.recorded_paths(journal))
    for path in lost:
        arrivals.record(journal, found(inbox.data, path, now))
    return len(lost)


def found(data: Path, path: str, now: float) -> Arrival:
    """A file without a row as if it had just arrived; one that is no DICOM goes by its content alone."""
    content = (data / path).read_bytes()
    try:
        header = read_instance(data / path).header
    except NotDicom:
        return Arrival(sop_class_uid="", sop_instance_uid="", digest=content_digest("", content), path=path, received_at=now)
    start = 144 + header.file_meta.get("FileMetaInformationGroupLength", -144)
    return Arrival(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        digest=content_digest(str(header.file_meta.TransferSyntaxUID), content[start:]),
        path=path,
        received_at=now,
    )


def filing(row: InstanceRow, data: Path, own: set[str]) -> Filing:
    """Where an object belongs, from its header."""
    read = attempt(lambda: _read_filing(row, data, own))
    return Filing(row=row, state=InstanceState.REJECTED, sentence=read.sentence) if isinstance(read, Refusal) else read


def _read_filing(row: InstanceRow, data: Path, own: set[str]) -> Filing:
    instance = read_instance(data / row.path)
    modality = _text(instance.header, "Modality")
    state, sentence = _use(modality, row.sop_instance_uid in own)
    return Filing(
        row=row,
        state=state,
        sentence=sentence,
        study_instance_uid=_text(instance.header, "StudyInstanceUID"),
        series_instance_uid=_text(instance.header, "SeriesInstanceUID"),
        modality=modality[:16],
        patient_id=_text(instance.header, "PatientID"),
        issuer=_text(instance.header, "IssuerOfPatientID"),
        study_date=_text(instance.header, "StudyDate")[:8],
    )


def _use(modality: str, own: bool) -> tuple[InstanceState, str]:
    if own:
        return InstanceState.IGNORED, "A result of this node that came back; kept, not used."
    if modality not in IMAGES:
        return InstanceState.IGNORED, f"Neither PET nor CT (modality {modality or 'unknown'}); kept, not used."
    return InstanceState.FILED, ""


def ripe(unsettled: Iterable[StudyRow], now: float, settings: IntakeSettings) -> list[str]:
    """The Patient IDs of whom something is to be judged and nothing is still arriving."""
    quiet: dict[str, bool] = {}
    for study in unsettled:
        quiet[study.patient_id] = quiet.get(study.patient_id, True) and is_quiet(study, now, settings)
    return [patient_id for patient_id, all_quiet in quiet.items() if all_quiet]


def is_quiet(study: StudyRow, now: float, settings: IntakeSettings) -> bool:
    """Whether nothing has come for long enough; a clock that was set back does not hold a study up."""
    return abs(now - study.last_received_at) >= (settings.patience_s if study.cut_off else settings.silence_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One study after reading its headers. looked: what it is, or why it cannot be used."""

    row: StudyRow
    paths: dict[Path, str]
    looked: TracerStudy | Refusal


def judge(journal: Journal, data: Path, patient_id: str, rules: Rules, now: float) -> None:
    """Look at all studies of a patient together and write down what follows."""
    looked = [look(journal, data, row, rules) for row in casebook.studies_of(journal, patient_id)]
    usable = [study.looked for study in looked if isinstance(study.looked, TracerStudy)]
    paired = attempt(lambda: pair(usable, rules.pairing)) if usable else Pairing(pairs=(), waiting=())
    rulings = [ruling(study, paired, usable) for study in looked]
    paths = {path: name for study in looked for path, name in study.paths.items()}
    cases = [] if isinstance(paired, Refusal) else [case(each, paths) for each in paired.pairs]
    casebook.settle(journal, rulings, cases, now)


def look(journal: Journal, data: Path, row: StudyRow, rules: Rules) -> Looked:
    """Read all headers of one study and say what it is."""
    rows = arrivals.filed(journal, row.study_instance_uid)
    paths = {data / each.path: each.path for each in rows}
    looked = _two_contents(rows)
    if looked is None:
        return Looked(row=row, paths=paths, looked=attempt(lambda: _recognise(list(paths), rules)))
    return Looked(row=row, paths=paths, looked=looked)


def _two_contents(rows: Sequence[InstanceRow]) -> Refusal | None:
    """Why a study cannot be used of which an object came twice with different bytes."""
    twice = [uid for uid, count in Counter(row.sop_instance_uid for row in rows).items() if count > 1]
    if not twice:
        return None
    sentence = (
        f"{len(twice)} object(s) were received twice with different content (the first is {twice[0]}); "
        "both are kept, find out at the sender which one is right."
    )
    return Refusal(reason="TwoContents", sentence=sentence, system=False)


def _recognise(paths: Sequence[Path], rules: Rules) -> TracerStudy:
    """What the study is; raises Rejected also for what can be seen in the headers and would stop the analysis later."""
    instances = [read_instance(path) for path in paths]
    if not all(_text(instance.header, "PatientID") for instance in instances):
        raise IdentityConflict("The study has no Patient ID and cannot be assigned to anybody; correct it and send it again.")
    studies = group(instances)
    if len(studies) != 1:
        raise IdentityConflict("The objects of one Study Instance UID do not belong to one study and patient; ask the sender.")
    found = recognise(studies[0], rules.tracers)
    for series in (found.pet, found.ct):
        slice_grid(series)
    suv_conversion(found.pet)
    return found


def ruling(study: Looked, paired: Pairing | Refusal, usable: Sequence[TracerStudy]) -> Ruling:
    """The state of one study, and the sentence that `duet status` shows."""
    uid, count = study.row.study_instance_uid, len(study.paths)
    if isinstance(study.looked, Refusal):
        return _refused(uid, count, "", study.looked)
    tracer = study.looked.tracer
    if isinstance(paired, Refusal):
        return _refused(uid, count, tracer, paired)
    waiting = next((sentence for waiter, sentence in paired.waiting if waiter.study.study_instance_uid == uid), None)
    if waiting is not None and _doubtful(study.looked, usable):
        return _refused(uid, count, tracer, Refusal(reason=IdentityConflict.__name__, sentence=waiting, system=False))
    state = StudyState.PAIRED if waiting is None else StudyState.WAITING
    sentence = " ".join(study.looked.remarks) if waiting is None else waiting
    return Ruling(study_instance_uid=uid, instances=count, state=state, sentence=sentence, tracer=tracer)


def _doubtful(study: TracerStudy, others: Sequence[TracerStudy]) -> bool:
    """Whether another study of the other tracer bears the same Patient ID and describes another person."""
    mine = study.study.patient
    return any(
        other.tracer is not study.tracer
        and same_patient_id(mine, other.study.patient)
        and bool(differences(mine, other.study.patient))
        for other in others
    )


def _refused(uid: str, count: int, tracer: str, why: Refusal) -> Ruling:
    waits = why.reason == IncompleteSeries.__name__
    state = StudyState.PARKED if why.system else StudyState.WAITING if waits else StudyState.HELD
    return Ruling(study_instance_uid=uid, instances=count, state=state, reason=why.reason, sentence=why.sentence, tracer=tracer)


def case(pair: DualTracerPair, paths: dict[Path, str]) -> Case:
    """The pair as a job, with the files that are to be measured."""
    inputs = {
        name: [paths[instance.path] for instance in (*study.pet.instances, *study.ct.instances)]
        for name, study in (("fdg", pair.fdg), ("pentixafor", pair.pentixafor))
    }
    return Case(
        pair_uid=pair.uid,
        fdg_study=pair.fdg.study.study_instance_uid,
        pentixafor_study=pair.pentixafor.study.study_instance_uid,
        inputs=inputs,
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()

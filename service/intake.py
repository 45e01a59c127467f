"""Loose files > complete studies > pairs > jobs.

What is decided follows from the journal's rows, the received files and the clock that is handed in, so it can be repeated
after any interruption: an object is filed once, and a study is judged anew whenever it holds more than its judgement rests on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset

from analysis.errors import IdentityConflict, IncompleteSeries, NoUsableCt, NoUsablePet
from dicom_io.completeness import signs_of_completeness
from dicom_io.elements import text
from dicom_io.headers import differences, group, read_instance, same_patient_id
from dicom_io.pairing import Pairing, PairingSettings, pair
from dicom_io.studies import DualTracerPair, TracerStudy
from dicom_io.tracers import TracerRules, recognise
from service import arrivals, casebook, doubles
from service.arrivals import GONE, IMAGES, Filing, InstanceRow, Note
from service.casebook import Case, JobRow, Ruling, StudyRow
from service.deleted_studies import Absent, as_it_was, widowed, with_partner
from service.journal import Journal
from service.logs import logger
from service.priorities import EngineSettings
from service.readiness import IntakeSettings, Ready, quiet_s, readiness, sending
from service.retention_marks import DELETED, Deleted, deleted_of
from service.tables import InstanceState, StudyState
from service.tallies import objects_here, tally_of
from service.traces import pair_ids, study_id
from service.worker import Refusal, attempt

TWO_CONTENTS = "TwoContents"
LONGEST_ID = 64  # characters of a UID, and of the LO of a Patient ID and its issuer (PS3.5 6.2)
BY_SILENCE = "nothing more came for a while"
# What a study may be refused for because a part of it has not come yet.
_FOR_WANT_OF_IMAGES = (IncompleteSeries.__name__, NoUsableCt.__name__, NoUsablePet.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All settings that intake decides by. counted: whether archives are asked for the number of a study's objects."""

    intake: IntakeSettings = field(default_factory=IntakeSettings)
    tracers: TracerRules = field(default_factory=TracerRules)
    pairing: PairingSettings = field(default_factory=PairingSettings)
    engine: EngineSettings = field(default_factory=EngineSettings, repr=False)  # who goes first does not change a ruling
    counted: bool = False


def step(journal: Journal, data: Path, rules: Rules, now: float) -> None:
    """File what is new, and judge the patients of whom all has arrived."""
    while rows := arrivals.unread(journal):
        own = arrivals.own_results(journal, [row.sop_instance_uid for row in rows])
        arrivals.file(journal, [filing(row, data, own) for row in rows])
    for patient_id, readiness_of in ripe(journal, rules, now).items():
        judge(journal, data, patient_id, rules, Occasion(now=now, ready=readiness_of))


def filing(row: InstanceRow, data: Path, own: set[str]) -> Filing:
    """Where an object belongs, from its header."""
    if not (data / row.path).is_file():
        return Filing(row=row, state=InstanceState.IGNORED, sentence=GONE)
    read = attempt(lambda: _read_filing(row, data, own))
    return Filing(row=row, state=InstanceState.REJECTED, sentence=read.sentence) if isinstance(read, Refusal) else read


def _read_filing(row: InstanceRow, data: Path, own: set[str]) -> Filing:
    instance = read_instance(data / row.path)
    modality = text(instance.header, "Modality")
    state, sentence = _use(modality, row.sop_instance_uid in own)
    return Filing(
        row=row,
        state=state,
        sentence=sentence,
        study_instance_uid=_short(instance.header, "StudyInstanceUID"),
        series_instance_uid=_short(instance.header, "SeriesInstanceUID"),
        modality=modality[:16],
        patient_id=_short(instance.header, "PatientID"),
        issuer=_short(instance.header, "IssuerOfPatientID"),
        study_date=text(instance.header, "StudyDate")[:8],
    )


def _short(header: Dataset, keyword: str) -> str:
    """An identifier; two that differ beyond its end would be one in a journal that cut them. Raises IdentityConflict."""
    found = text(header, keyword)
    if len(found) > LONGEST_ID:
        raise IdentityConflict(
            f"{keyword} has {len(found)} characters, DICOM allows {LONGEST_ID}; correct it and send it again."
        )
    return found


def _use(modality: str, own: bool) -> tuple[InstanceState, str]:
    if own:
        return InstanceState.IGNORED, "A result of this node that came back; kept, not used."
    if modality not in IMAGES:
        return InstanceState.IGNORED, f"Neither PET nor CT (modality {modality or 'unknown'}); kept, not used."
    return InstanceState.FILED, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """When a patient's studies are judged, and what is known of those to which something has come, by Study Instance UID."""

    now: float
    ready: Mapping[str, Ready] = field(default_factory=dict)


def ripe(journal: Journal, rules: Rules, now: float) -> dict[str, dict[str, Ready]]:
    """The Patient IDs of whom something is to be judged and nothing is still arriving, with their studies' readiness."""
    found: dict[str, dict[str, Ready]] = defaultdict(dict)
    for study in casebook.unsettled(journal):
        found[study.patient_id][study.study_instance_uid] = _readiness(journal, study, rules, now)
    return {patient_id: ready for patient_id, ready in found.items() if Ready.NOT_YET not in ready.values()}


def _readiness(journal: Journal, row: StudyRow, rules: Rules, now: float) -> Ready:
    if quiet_s(row, now) < rules.intake.soonest_s:
        return Ready.NOT_YET
    ready = readiness(row, sending(journal, row), rules.intake, now)
    if ready is Ready.BY_EVIDENCE and rules.counted:  # before silence the archives have the first word
        tally = tally_of(journal, row.study_instance_uid)
        return ready if tally is not None and tally.asked_at >= row.last_received_at else Ready.NOT_YET
    return ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One study after reading its headers. looked: what its first versions are, or why they cannot be used; dispute: what
    an operator must decide before it makes a new case; evidence: what shows that it is whole, or that it is not; notes: what
    becomes of each file; deleted: what [retention] let go of it."""

    row: StudyRow
    paths: dict[Path, str]
    looked: TracerStudy | Refusal
    dispute: str = ""
    evidence: str = ""
    notes: tuple[Note, ...] = ()
    deleted: Deleted | None = None

    @property
    def filed(self) -> int:
        return sum(note.state is InstanceState.FILED for note in self.notes)


def judge(journal: Journal, data: Path, patient_id: str, rules: Rules, occasion: Occasion) -> None:
    """Look at all studies of a patient together and write down what follows; nothing, where it is open whether one is whole."""
    now = occasion.now
    looked = [look(journal, data, row, rules) for row in casebook.studies_of(journal, patient_id)]
    if unproven := [each.row for each in looked if _unproven(each, occasion)]:
        for row in unproven:
            casebook.remember_look(journal, row)
        return
    paths = {path: name for study in looked for path, name in study.paths.items()}
    jobs = casebook.jobs_of(journal, patient_id)
    finished = {job.pair_uid: job for job in jobs if job.finished}
    kept = _kept(looked, finished, paths, rules.pairing)
    absent = [Absent(row=each.row, deleted=each.deleted) for each in looked if each.deleted is not None and not each.paths]
    told = widowed(absent, finished.values())
    looked = [_widowed(each, told.get(each.row.study_instance_uid)) for each in looked]
    usable = [s.looked for s in looked if isinstance(s.looked, TracerStudy) and _usable(s, kept)]
    paired = _paired(usable, rules.pairing)
    cases = [] if isinstance(paired, Refusal) else [case(each, paths) for each in paired.pairs]
    remarks = _remarks(cases, finished)
    rulings = [ruling(study, paired, usable, remarks.get(study.row.study_instance_uid, "")) for study in looked]
    dates = {study.row.study_instance_uid: study.row.study_date for study in looked}
    rulings = [with_partner(each, absent, dates[each.study_instance_uid], rules.pairing.max_days) for each in rulings]
    _set_results_aside(data, cases, {job.pair_uid: job for job in jobs if not job.finished}, now)
    casebook.settle(journal, rulings, cases, now, rules.engine)
    _tell(journal, {study.row.study_instance_uid: study.row for study in looked}, rulings)
    for each in cases:
        if each.pair_uid not in {job.pair_uid for job in jobs}:
            logger().info("pair", case=each.pair_uid, study=pair_ids(journal, each.fdg_study, each.pentixafor_study))


def _tell(journal: Journal, before: Mapping[str, StudyRow], rulings: Sequence[Ruling]) -> None:
    """The log has each new judgement, by the study's id."""
    for each in rulings:
        row = before[each.study_instance_uid]
        if (row.state, row.reason, row.settled_instances) != (each.state, each.reason, each.instances):
            words = {"state": str(each.state), "reason": each.reason, "tracer": each.tracer, "objects": each.instances}
            logger().info("study judged", study=study_id(journal, each.study_instance_uid), **words)


def _unproven(study: Looked, occasion: Occasion) -> bool:
    return occasion.ready.get(study.row.study_instance_uid) is Ready.BY_EVIDENCE and not study.evidence


def _set_results_aside(data: Path, cases: Sequence[Case], unfinished: Mapping[str, JobRow], now: float) -> None:
    """Results of a withdrawn run that measured other files must not be taken for those of the case; they are kept beside."""
    for each in cases:
        folder = data / "cases" / each.pair_uid
        if each.pair_uid in unfinished and folder.is_dir() and _replaced(each, unfinished[each.pair_uid]):
            folder.rename(folder.with_name(f"{each.pair_uid}.withdrawn-{now:.0f}"))


def _paired(usable: Sequence[TracerStudy], settings: PairingSettings) -> Pairing | Refusal:
    return attempt(lambda: pair(usable, settings)) if usable else Pairing(pairs=(), waiting=())


def _usable(study: Looked, kept: set[str]) -> bool:
    return not study.dispute or study.row.study_instance_uid in kept


def _kept(
    looked: Sequence[Looked], finished: Mapping[str, JobRow], paths: dict[Path, str], settings: PairingSettings
) -> set[str]:
    """Disputed studies that are part of a finished case, made of the first versions: nobody takes that case back."""
    if not any(study.dispute for study in looked):
        return set()
    paired = _paired([study.looked for study in looked if isinstance(study.looked, TracerStudy)], settings)
    cases = [] if isinstance(paired, Refusal) else [case(each, paths) for each in paired.pairs]
    same = [each for each in cases if each.pair_uid in finished and not _replaced(each, finished[each.pair_uid])]
    return {uid for each in same for uid in (each.fdg_study, each.pentixafor_study)}


def _replaced(case: Case, job: JobRow) -> list[str]:
    """Files that a finished case was made from, and that are not those that would be measured now."""
    return sorted({path for name in case.inputs for path in job.paths(name)} - {p for ps in case.inputs.values() for p in ps})


def _remarks(cases: Sequence[Case], finished: Mapping[str, JobRow]) -> dict[str, str]:
    """By study: that its finished case rests on a file that has since been moved away."""
    found: dict[str, str] = {}
    for each in cases:
        if each.pair_uid in finished and (gone := _replaced(each, finished[each.pair_uid])):
            told = f"The finished case was made with {gone[0]}, which is no longer used; it stays and is not made anew."
            found |= {each.fdg_study: told, each.pentixafor_study: told}
    return found


def look(journal: Journal, data: Path, row: StudyRow, rules: Rules) -> Looked:
    """Read all headers of one study and say what it is."""
    rows = arrivals.images_of(journal, row.study_instance_uid)
    files = attempt(lambda: doubles.sort(rows, data))
    if isinstance(files, Refusal):
        return Looked(row=row, paths={}, looked=files, notes=_as_they_are(rows))
    paths = {data / each.path: each.path for each in files.used}
    found = attempt(lambda: _recognise(list(paths), rules))
    found, evidence = _wholeness(journal, row, found)
    deleted = deleted_of(journal, row.study_instance_uid)
    if deleted is not None and (deleted.half or isinstance(found, Refusal)):
        found = Refusal(reason=IncompleteSeries.__name__, sentence=deleted.sentence, system=False)
    open_ones = [each for each in files.disputes if isinstance(found, Refusal) or each.concerns(found)]
    dispute = doubles.sentence(open_ones) if open_ones else ""
    if dispute and isinstance(found, Refusal):
        found = replace(found, sentence=f"{found.sentence} Besides, {dispute}")
    notes = (*files.notes, *doubles.notes_on(files.disputes, open_ones))
    return Looked(row=row, paths=paths, looked=found, dispute=dispute, evidence=evidence, notes=notes, deleted=deleted)


def _wholeness(journal: Journal, row: StudyRow, found: TracerStudy | Refusal) -> tuple[TracerStudy | Refusal, str]:
    """The study, or that the archives have more of it; and what shows that it is whole, or is not, in words."""
    tally, here = tally_of(journal, row.study_instance_uid), objects_here(journal, row.study_instance_uid)
    short = tally.shortage(here) if tally is not None else ""
    if short and (isinstance(found, TracerStudy) or found.reason in _FOR_WANT_OF_IMAGES):
        return Refusal(reason=IncompleteSeries.__name__, sentence=short, system=False), short
    archive = tally.complete(here) if tally is not None else ""
    if archive:
        return found, f"{archive} has no more PET and CT of it"
    released = isinstance(found, TracerStudy) and sending(journal, row).released
    return found, signs_of_completeness(found) if released and isinstance(found, TracerStudy) else ""


def _as_they_are(rows: Sequence[InstanceRow]) -> tuple[Note, ...]:
    return tuple(Note(row=row, state=row.state, sentence=row.sentence) for row in rows)


def _recognise(paths: Sequence[Path], rules: Rules) -> TracerStudy:
    """What the study is; raises Rejected also for what can be seen in the headers and would stop the analysis later."""
    if not paths:
        raise IncompleteSeries(
            "No file of the study is in the inbox any more; put them back and restart the node, or send it again."
        )
    instances = [read_instance(path) for path in paths]
    if not all(text(instance.header, "PatientID") for instance in instances):
        raise IdentityConflict("The study has no Patient ID and cannot be assigned to anybody; correct it and send it again.")
    studies = group(instances)
    if len(studies) != 1:
        raise IdentityConflict("The objects of one Study Instance UID do not belong to one study and patient; ask the sender.")
    return recognise(studies[0], rules.tracers)


def ruling(study: Looked, paired: Pairing | Refusal, usable: Sequence[TracerStudy], remark: str = "") -> Ruling:
    """The state of one study, and the sentence that `duet status` shows. remark: on a finished case of it."""
    if study.deleted is not None and not study.paths:
        return as_it_was(study.row)
    if isinstance(study.looked, Refusal):
        return _refused(study, "", study.looked)
    tracer = study.looked.tracer
    if study.dispute:
        return _disputed(study, tracer, usable)
    if isinstance(paired, Refusal):
        return _refused(study, tracer, paired)
    uid = study.row.study_instance_uid
    waiting = next((sentence for waiter, sentence in paired.waiting if waiter.study.study_instance_uid == uid), None)
    if waiting is not None and _doubtful(study.looked, usable):
        return _refused(study, tracer, Refusal(reason=IdentityConflict.__name__, sentence=waiting, system=False))
    state = StudyState.PAIRED if waiting is None else StudyState.WAITING
    sentence = " ".join((*study.looked.remarks, *([remark] if remark else ()))) if waiting is None else waiting
    return Ruling(
        study_instance_uid=uid,
        instances=study.filed,
        state=state,
        sentence=sentence,
        tracer=tracer,
        notes=study.notes,
        evidence=study.evidence or BY_SILENCE,
    )


def _disputed(study: Looked, tracer: str, usable: Sequence[TracerStudy]) -> Ruling:
    kept = any(each is study.looked for each in usable)
    told = " The finished case was made with those received first, and stays as it is." if kept else ""
    return _refused(study, tracer, Refusal(reason=TWO_CONTENTS, sentence=study.dispute + told, system=False))


def _widowed(study: Looked, told: str | None) -> Looked:
    """A study that is not used, because its finished case's other half was deleted."""
    if told is None or isinstance(study.looked, Refusal):
        return study
    return replace(study, looked=Refusal(reason=DELETED, sentence=told, system=False))


def _doubtful(study: TracerStudy, others: Sequence[TracerStudy]) -> bool:
    """Whether another study of the other tracer bears the same Patient ID and describes another person."""
    mine = study.study.patient
    return any(
        other.tracer is not study.tracer
        and same_patient_id(mine, other.study.patient)
        and bool(differences(mine, other.study.patient))
        for other in others
    )


def _refused(study: Looked, tracer: str, why: Refusal) -> Ruling:
    waits = why.reason in (IncompleteSeries.__name__, DELETED)
    return Ruling(
        study_instance_uid=study.row.study_instance_uid,
        instances=study.filed,
        state=StudyState.PARKED if why.system else StudyState.WAITING if waits else StudyState.HELD,
        reason=why.reason,
        sentence=why.sentence,
        tracer=tracer,
        notes=study.notes,
        evidence="" if waits else study.evidence or BY_SILENCE,
    )


def case(pair: DualTracerPair, paths: dict[Path, str]) -> Case:
    """The pair as a job, with the files that are to be measured."""
    inputs = {
        name: list(dict.fromkeys(paths[instance.path] for instance in (*study.pet.instances, *study.ct.instances)))
        for name, study in (("fdg", pair.fdg), ("pentixafor", pair.pentixafor))
    }
    return Case(
        pair_uid=pair.uid,
        fdg_study=pair.fdg.study.study_instance_uid,
        pentixafor_study=pair.pentixafor.study.study_instance_uid,
        inputs=inputs,
    )

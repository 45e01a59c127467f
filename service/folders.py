"""The commands that work on folders, without a network: a pair of studies, a PET's SUV, phantoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import BadSettings, NotAPair, NotDicom, Rejected
from analysis.ports import Progress
from analysis.values import Concordance, PatientAnalysis, Verdict
from dicom_io.headers import group, read_folder
from dicom_io.inspection import save_nifti, suv_report
from dicom_io.pairing import one_pair
from dicom_io.studies import DualTracerPair, TracerStudy
from dicom_io.tracers import recognise
from dicom_io.volumes import read_pet
from service.config import Settings
from service.intake import Rules
from service.node_settings import analysis_of, objects_of, rules_of
from service.outfolder import replaced, require_writable
from service.suv_text import SuvText
from service.worker import Wishes, write_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysed:
    """What a person is told after an analysis: one summary, what the quality checks found odd, and why it is on hold."""

    summary: str
    findings: tuple[str, ...]
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Whom to tell how far the work is, and what was left out."""

    progress: Progress
    note: Callable[[str], None]


def analyse_folders(settings: Settings, folders: tuple[Path, Path], out: Path, tell: Telling, *, nifti: bool) -> Analysed:
    """Analyse the FDG and the PentixaFor study of two folders into `out`. Raises Rejected; `out` is then as it was."""
    require_writable(out)
    tell.progress("Reading headers", 0.0)
    rules = rules_of(settings)
    fdg, pentixafor = (_studies(folder, rules, tell) for folder in folders)
    _require_two_studies(fdg, pentixafor)
    pair = one_pair(fdg, pentixafor, rules.pairing)
    wishes = Wishes(objects=objects_of(settings), nifti=nifti)
    with replaced(out) as draft:
        analysis = write_pair(pair, analysis_of(settings), draft, progress=tell.progress, wishes=wishes)
    odd = [finding for finding in analysis.findings if finding.verdict is not Verdict.OK]
    return Analysed(
        summary=summary(pair, analysis),
        findings=tuple(f"{f.verdict}: {f.message}" for f in odd if f.verdict is not Verdict.HOLD),
        holds=tuple(f.message for f in odd if f.verdict is Verdict.HOLD),
    )


def _studies(folder: Path, rules: Rules, tell: Telling) -> list[TracerStudy]:
    """The usable studies in a folder; where there is none, the reason is raised: of one with a PET rather than without."""
    instances, unusable = read_folder(folder)
    for path, sentence in unusable:
        tell.note(f"{path} was not used: {sentence}")
    if not instances:
        reason = f" ({unusable[0][0].name}: {unusable[0][1].rstrip('.')})" if unusable else ""
        raise NotDicom(f"The folder {folder} holds no DICOM file{reason}.")
    found: list[TracerStudy] = []
    refused: list[tuple[bool, Rejected]] = []
    for study in group(instances):
        try:
            found.append(recognise(study, rules.tracers))
        except Rejected as error:
            refused.append((any(series.modality == "PT" for series in study.series), error))
    told = None if found else max(refused, key=lambda one: one[0])[1]
    for _, why in refused:
        if why is not told:
            tell.note(f"A study in {folder} was not used: {why}")
    if told is not None:
        raise told
    return found


def _require_two_studies(first: Sequence[TracerStudy], second: Sequence[TracerStudy]) -> None:
    """Raises NotAPair where both folders hold the same study or studies, and one tracer alone."""
    uids = [{s.study.study_instance_uid for s in studies} for studies in (first, second)]
    tracers = {s.tracer for s in (*first, *second)}
    if uids[0] == uids[1] and len(tracers) == 1:
        tracer = tracers.pop()
        raise NotAPair(
            f"Both folders hold the same {tracer} study; name the folder of the {tracer.other} study for one of them."
        )


def summary(pair: DualTracerPair, analysis: PatientAnalysis) -> str:
    """What was found, in a line for the person at the terminal."""
    counts = {tracer: f"{len(found.lesions)} {tracer} lesions" for tracer, found in sorted(analysis.lesions.items())}
    counts |= {tracer: f"{tracer} lesions NOT RUN" for tracer in analysis.not_run}
    concordant = sum(match.concordance is Concordance.CONCORDANT for match in analysis.matches)
    return f"{', '.join(counts.values())}; {concordant} sites on both tracers; {pair.gap_days} days between the studies."


def suv_of_folder(folder: Path, settings: Settings, nifti: Path | None) -> SuvText:
    """How the PET in a folder becomes SUV; writes the SUV volume where a file is named. Raises Rejected."""
    report = suv_report(folder, rules_of(settings).tracers)
    if nifti is not None:
        if not nifti.name.endswith((".nii", ".nii.gz")):
            raise BadSettings(f"{nifti}: the name of a NIfTI file ends in .nii or .nii.gz.")
        save_nifti(read_pet(report.pet), nifti)
    return SuvText(facts=report.as_dict())


def write_phantoms(out: Path, patients: int, seed: int, *, progress: Progress) -> list[Path]:
    """Digital patients as out/patient-001/{fdg,pentixafor,truth.json} and so on, with seeds counted up. Raises Rejected."""
    from analysis.phantom import PhantomSettings, make_patient
    from dicom_io.synthetic import write_patient

    folders = [out / f"patient-{number:03d}" for number in range(1, patients + 1)]
    taken = next((folder for folder in folders if folder.exists()), None)
    if taken is not None:
        raise BadSettings(f"The folder {taken} exists; name a new one.")
    for index, folder in enumerate(folders):
        progress(f"Patient {index + 1} of {patients}", index / patients)
        write_patient(make_patient(PhantomSettings(seed=seed + index)), folder)
    progress("Done", 1.0)
    return folders


def write_cohort(out: Path, seed: int) -> list[Path]:
    """An invented cohort with known effects and one without any: out/planted and out/null, each with both tables and truth.

    Raises BadSettings where one of the folders exists.
    """
    from analysis.phantom.cohort import invented_cohort

    folders = {out / name: invented_cohort(seed, null=name == "null") for name in ("planted", "null")}
    taken = next((folder for folder in folders if folder.exists()), None)
    if taken is not None:
        raise BadSettings(f"The folder {taken} exists; name a new one.")
    for folder, cohort in folders.items():
        folder.mkdir(parents=True)
        (folder / "features.csv").write_text(cohort.features_csv, encoding="utf-8")
        (folder / "clinical.csv").write_text(cohort.clinical_csv, encoding="utf-8")
        (folder / "truth.json").write_text(cohort.truth_json, encoding="utf-8")
    return list(folders)

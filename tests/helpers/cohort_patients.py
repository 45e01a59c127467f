"""Digital patients for a whole cohort, the trunk alone, so that a pair takes seconds; and a clinical table for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from nodes import Cut, cut

from analysis.phantom import Preset, make_patient
from analysis.phantom.values import PhantomSettings
from dicom_io.synthetic import PairSpec, write_patient

FIRST = datetime(2025, 3, 3, 10, 0)
GAP_DAYS = 2


def trunk(folder: Path, number: int) -> str:
    """Both studies of patient `number` below `folder`; returns the Patient ID. Patient n is scanned n weeks after FIRST."""
    patient = make_patient(PhantomSettings(seed=200 + number, noise=False, blur=False, lesions=8, preset=Preset.COARSE))
    truth = {**patient.truth, "patient_id": f"TRUNK-{number:02d}"}
    spec = PairSpec(fdg_started=FIRST + timedelta(weeks=number), days_apart=GAP_DAYS)
    write_patient(Cut(fdg=cut(patient.fdg, step=1), pentixafor=cut(patient.pentixafor, step=1), truth=truth), folder, spec)
    return str(truth["patient_id"])


def therapy(number: int) -> datetime:
    """A week after the later scan of patient `number`."""
    return FIRST + timedelta(weeks=number + 1, days=GAP_DAYS)


def clinical_csv(numbers: Sequence[int], path: Path) -> Path:
    """Outcomes of these patients: every second one responds, every third one dies after 100 days and a week for each number."""
    lines = ["patient_id,therapy_date,age,response,death_date,last_contact_date"]
    for number in numbers:
        day = therapy(number)
        end = (day + timedelta(days=100 + 7 * number)).date()
        dates = f"{end}," if number % 3 == 0 else f",{end}"
        lines.append(f"TRUNK-{number:02d},{day.date()},{50 + number},{'PR' if number % 2 else 'SD'},{dates}")
    draft = path.with_suffix(".new")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.rename(path)
    return path

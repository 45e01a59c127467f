"""What `duet suv` tells of a folder: which PET, which tracer, how it becomes SUV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import BadSettings, IncompleteSeries, NoUsablePet, UnknownTracer
from analysis.grids import to_image
from analysis.values import Tracer, Volume
from dicom_io.choice import choose_pet
from dicom_io.elements import text
from dicom_io.headers import group, read_folder
from dicom_io.nifti import write_image
from dicom_io.slices import slice_grid
from dicom_io.studies import Series, Study
from dicom_io.suv import SuvConversion, suv_conversion
from dicom_io.suv_times import started
from dicom_io.tracers import NO_RULES, TracerRules, identify

# Headers are published without their images: SUV factors can be told of them.
_BARE = "The files are headers without pixel data: the factor holds, and there is no image to measure."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuvReport:
    """One PET series and its way to SUV. tracer: None where it cannot be told, tracer_note says why or by what."""

    pet: Series
    tracer: Tracer | None
    tracer_note: str
    conversion: SuvConversion
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the order in which a person reads them."""
        c, header, begun = self.conversion, self.pet.header, started(self.pet)
        return {
            "series_description": self.pet.description,
            "series_instance_uid": self.pet.series_instance_uid,
            "instances": len(self.pet.instances),
            "manufacturer": text(header, "Manufacturer"),
            "model": text(header, "ManufacturerModelName"),
            "tracer": None if self.tracer is None else str(self.tracer),
            "tracer_note": self.tracer_note,
            "units": c.units,
            "decay_correction": c.decay_correction,
            "suv_factor": c.factor,
            "suv_factor_min": min(c.factors),
            "suv_factor_max": max(c.factors),
            "rule": c.rule,
            "reference_rule": c.reference_rule or None,
            "reference_time": None if c.reference_time is None else c.reference_time.isoformat(),
            "administered": None if c.administered is None else c.administered.isoformat(),
            "scan_started": None if begun is None else begun.isoformat(),
            "uptake_min": c.uptake_min,
            "dose_bq": c.dose_bq,
            "half_life_s": c.half_life_s,
            "weight_kg": c.weight_kg,
            "height_m": c.height_m,
            "sex": c.body.sex,
            "alternatives": [other.as_dict() for other in c.alternatives],
            "warnings": list(self.warnings),
        }


def suv_report(folder: Path, rules: TracerRules = NO_RULES) -> SuvReport:
    """How the PET in a folder becomes SUV: the one PET to be measured, or the only PET there is.

    Raises NoUsablePet, NotQuantifiable, IncompleteSeries, IdentityConflict: with the reason.
    """
    instances, unusable = read_folder(folder)
    bare = not any(series.modality == "PT" for study in group(instances) for series in study.series)
    if bare:
        instances, unusable = read_folder(folder, headers_alone=True)
    if not instances:
        raise NoUsablePet(f"The folder holds no DICOM file{_first_reason(unusable)}.")
    pet, remarks = _pet(group(instances))
    remarks = (*remarks, _BARE) if bare else remarks
    try:
        slice_grid(pet)
    except IncompleteSeries as error:  # the factor holds for the slices that are here
        remarks = (*remarks, str(error))
    conversion = suv_conversion(pet)
    tracer, note = _tracer(pet, rules)
    left_out = (f"{len(unusable)} files were not used{_first_reason(unusable)}.",) if unusable else ()
    return SuvReport(
        pet=pet, tracer=tracer, tracer_note=note, conversion=conversion, warnings=conversion.warnings + remarks + left_out
    )


def _pet(studies: Sequence[Study]) -> tuple[Series, tuple[str, ...]]:
    """The only PET series, else the one to be measured of the only study that has any."""
    pets = [s for study in studies for s in study.series if s.modality == "PT"]
    if len(pets) == 1:
        return pets[0], ()
    with_pet = [study for study in studies if any(s.modality == "PT" for s in study.series)]
    if len(with_pet) > 1:
        raise NoUsablePet(f"The folder holds PET series of {len(with_pet)} studies; name the folder of one.")
    if not with_pet:
        raise NoUsablePet("The folder holds no PET series.")
    chosen = choose_pet(with_pet[0])
    return chosen.series, chosen.remarks


def _tracer(pet: Series, rules: TracerRules) -> tuple[Tracer | None, str]:
    try:
        found = identify(pet, rules)
    except UnknownTracer as error:
        return None, str(error)
    return found.tracer, found.evidence


def _first_reason(unusable: Sequence[tuple[Path, str]]) -> str:
    return f" ({unusable[0][0].name}: {unusable[0][1].rstrip('.')})" if unusable else ""


def save_nifti(volume: Volume, file: Path) -> None:
    """Writes a volume as NIfTI (.nii or .nii.gz); positions are turned into NIfTI's RAS by the writer.

    Raises BadSettings where the file cannot be written; nothing is left of it then.
    """
    try:
        write_image(to_image(volume.grid, volume.values), file)
    except OSError as error:
        raise BadSettings(f"{file} cannot be written ({error.strerror or error}); name another file with --nifti.") from None

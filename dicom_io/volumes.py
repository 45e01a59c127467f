"""Slices to volumes on a regular grid: PET in SUV, CT in HU."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.errors import NotQuantifiable, UnusableImage
from analysis.values import PetCt, Unit, Volume
from dicom_io.elements import number, text
from dicom_io.pixels import stored_slices
from dicom_io.slices import SliceGrid, slice_grid
from dicom_io.studies import Instance, Series, TracerStudy
from dicom_io.suv import SuvConversion, suv_conversion
from dicom_io.suv_times import frame_duration_s, started

# Below air there is only padding outside the scanner's field of view.
AIR_HU = -1024.0


def read_pet(series: Series) -> Volume:
    """The PET in SUVbw; slice k is Series.instances[k].

    Raises IncompleteSeries, NotQuantifiable, UnusableImage.
    """
    return _pet(series, suv_conversion(series), slice_grid(series))


def read_ct(series: Series) -> Volume:
    """The CT in HU, padding below air set to air; slice k is Series.instances[k].

    Raises IncompleteSeries, UnusableImage.
    """
    return _ct(series, slice_grid(series))


def load(study: TracerStudy) -> PetCt:
    """PET and CT of a study with everything that quality checks and results need of the acquisition.

    Raises IncompleteSeries, NotQuantifiable, UnusableImage.
    """
    conversion = suv_conversion(study.pet)
    pet_slices, ct_slices = slice_grid(study.pet), slice_grid(study.ct)
    return PetCt(
        tracer=study.tracer,
        pet=_pet(study.pet, conversion, pet_slices),
        ct=_ct(study.ct, ct_slices),
        body=conversion.body,
        uptake_min=conversion.uptake_min,
        facts=_suv_facts(conversion) | _series_facts(study) | _geometry_facts(pet_slices, ct_slices),
    )


def _pet(series: Series, conversion: SuvConversion, slices: SliceGrid) -> Volume:
    values = np.empty(slices.grid.shape, np.float32)
    for k, stored in stored_slices(series):
        instance, factor = series.instances[k], conversion.factors[k]
        slope = number(instance.header, "RescaleSlope")
        if slope is None or slope <= 0:
            raise NotQuantifiable(
                f"{_slice(instance)} of the PET has no RescaleSlope above 0; correct the header at its source."
            )
        with np.errstate(over="ignore"):  # an absurd slope is told below
            values[k] = stored * np.float64(slope * factor)
        padding = number(instance.header, "PixelPaddingValue")
        if padding is not None:
            values[k][stored == padding] = 0.0
    if not np.isfinite(values).all():
        raise NotQuantifiable(
            "The PET has values that are no numbers (RescaleSlope or a value mapping); correct it at its source."
        )
    return Volume(grid=slices.grid, values=values, unit=Unit.SUV)


def _ct(series: Series, slices: SliceGrid) -> Volume:
    values = np.empty(slices.grid.shape, np.float32)
    for k, stored in stored_slices(series):
        instance = series.instances[k]
        slope, intercept = number(instance.header, "RescaleSlope"), number(instance.header, "RescaleIntercept")
        if slope is None or intercept is None or slope == 0:
            raise UnusableImage(
                f"{_slice(instance)} of the CT has no RescaleSlope and RescaleIntercept, so its values are not HU."
            )
        # Slice by slice while it is in the processor's memory: three walks through a whole CT take seconds.
        with np.errstate(over="ignore", invalid="ignore"):
            hu = np.multiply(stored, np.float32(slope), out=values[k], dtype=np.float32, casting="unsafe")
            hu += np.float32(intercept)
        if not np.isfinite(hu).all():
            raise UnusableImage(
                "The CT has values that are no numbers (RescaleSlope, RescaleIntercept); correct it at its source."
            )
        np.maximum(hu, AIR_HU, out=hu)
    return Volume(grid=slices.grid, values=values, unit=Unit.HU)


def _slice(instance: Instance) -> str:
    return instance.label.capitalize()


def _suv_facts(conversion: SuvConversion) -> dict[str, Any]:
    """suv_* and the amounts behind them; times in ISO 8601, scanner's local time."""
    return {
        "units": conversion.units,
        "decay_correction": conversion.decay_correction,
        "suv_rule": conversion.rule,
        "suv_factor": conversion.factor,
        "suv_reference_time": conversion.reference_time.isoformat() if conversion.reference_time else None,
        "suv_alternatives": [other.as_dict() for other in conversion.alternatives],
        "suv_warnings": conversion.warnings,
        "administered": conversion.administered.isoformat() if conversion.administered else None,
        "uptake_min": conversion.uptake_min,
        "dose_bq": conversion.dose_bq,
        "half_life_s": conversion.half_life_s,
        "weight_kg": conversion.weight_kg,
        "height_m": conversion.height_m,
    }


def _series_facts(study: TracerStudy) -> dict[str, Any]:
    pet, ct = study.pet, study.ct
    facts: dict[str, Any] = {
        "manufacturer": text(pet.header, "Manufacturer"),
        "model": text(pet.header, "ManufacturerModelName"),
        "station": text(pet.header, "StationName"),
        "software_versions": text(pet.header, "SoftwareVersions"),
        "reconstruction": text(pet.header, "ReconstructionMethod"),
        "frame_duration_s": frame_duration_s(pet.instances[0]) or None,
        "kvp": number(ct.header, "KVP"),
        "ct_kernel": text(ct.header, "ConvolutionKernel"),
        "study_instance_uid": study.study.study_instance_uid,
        "study_description": study.study.description,
        "study_started": study.study.started.isoformat(),
        "injected": study.injected.isoformat(),
        "remarks": study.remarks,
    }
    for label, series in (("pet", pet), ("ct", ct)):
        facts[f"{label}_series_instance_uid"] = series.series_instance_uid
        facts[f"{label}_series_description"] = series.description
        facts[f"{label}_frame_of_reference_uid"] = series.frame_of_reference_uid
        facts[f"{label}_slices"] = len(series.instances)
        begun = started(series)
        facts[f"{label}_started"] = None if begun is None else begun.isoformat()
    return facts


def _geometry_facts(pet: SliceGrid, ct: SliceGrid) -> dict[str, Any]:
    return {
        "pet_spacing_mm": pet.grid.spacing,
        "ct_spacing_mm": ct.grid.spacing,
        "pet_slice_irregularity_mm": pet.irregularity_mm,
        "ct_slice_irregularity_mm": ct.irregularity_mm,
    }

"""Slices to volumes on a regular grid: PET in SUV, CT in HU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, JPEGLSNearLossless

from analysis.errors import IncompleteSeries, NotQuantifiable, UnusableImage
from analysis.values import PetCt, Unit, Volume
from dicom_io.elements import number, require_content_fault, text
from dicom_io.headers import UNREADABLE
from dicom_io.slices import SliceGrid, slice_grid
from dicom_io.studies import Instance, Series, TracerStudy
from dicom_io.suv import SuvConversion, suv_conversion
from dicom_io.suv_times import frame_duration_s, started

# Below air there is only padding outside the scanner's field of view.
AIR_HU = -1024.0

# The plugin that is fastest on slices, where pydicom would ask another first.
_PLUGIN = {JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}


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
        with np.errstate(over="ignore", invalid="ignore"):
            values[k] = stored * np.float32(slope) + np.float32(intercept)
    if not np.isfinite(values).all():
        raise UnusableImage("The CT has values that are no numbers (RescaleSlope, RescaleIntercept); correct it at its source.")
    np.maximum(values, AIR_HU, out=values)
    return Volume(grid=slices.grid, values=values, unit=Unit.HU)


def stored_slices(series: Series) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """(k, decoded slice as stored) of every instance, file by file: each file is read once, a frame at a time.

    Raises IncompleteSeries: a slice is damaged, or no single grey slice.
    """
    files: dict[Path, dict[int | None, int]] = {}
    for k, instance in enumerate(series.instances):
        files.setdefault(instance.path, {})[instance.frame] = k
    for places in files.values():
        if None in places:
            k = places[None]
            yield k, stored_values(series.instances[k])
        else:
            wanted = [(series.instances[k], k) for k in places.values()]
            yield from _stored_frames(sorted(wanted, key=lambda one: one[0].frame or 0))


def _stored_frames(wanted: list[tuple[Instance, int]]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The same of the frames of one file. wanted: (instance, k), by frame."""
    left = iter(wanted)
    instance, k = next(left)
    try:
        for count, decoded in enumerate(_decoded_frames(instance)):
            if count == instance.frame:
                yield k, _one_grey_slice(instance, decoded)
                instance, k = next(left)
    except StopIteration:
        return
    except (*UNREADABLE, RuntimeError) as error:
        require_content_fault(error)
        raise _damaged(instance, error) from error
    raise _damaged(instance, None)


def stored_values(instance: Instance) -> npt.NDArray[Any]:
    """The decoded slice (rows, columns) as stored. Raises IncompleteSeries: it is damaged, or no single grey slice."""
    try:
        decoded = _decoded(instance)
    except (*UNREADABLE, RuntimeError, StopIteration) as error:  # the latter where more frames are announced than there are
        require_content_fault(error)
        raise _damaged(instance, error) from error
    return _one_grey_slice(instance, decoded)


def _damaged(instance: Instance, error: Exception | None) -> IncompleteSeries:
    syntax = instance.header.file_meta.TransferSyntaxUID
    detail = "" if not isinstance(error, NotImplementedError) else f" (compression {syntax.name} is not supported)"
    return IncompleteSeries(
        f"The pixel data of {instance.label} cannot be decoded{detail}: the file is damaged; send it again."
    )


def _one_grey_slice(instance: Instance, decoded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = number(instance.header, "Rows"), number(instance.header, "Columns")
    if decoded.shape != shape:
        raise IncompleteSeries(f"{_slice(instance)} decodes to {decoded.shape}, where one grey slice of {shape} was announced.")
    return decoded


def _decoded(instance: Instance) -> npt.NDArray[Any]:
    meta = instance.header.file_meta
    if meta.TransferSyntaxUID.is_encapsulated:
        return pixel_array(instance.path, decoding_plugin=_PLUGIN.get(meta.TransferSyntaxUID, ""))
    return _read(instance).pixel_array


def _decoded_frames(instance: Instance) -> Iterator[npt.NDArray[Any]]:
    """All frames of the instance's file, one at a time; a deflated file must be read as a whole."""
    syntax = instance.header.file_meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        return iter_pixels(_read(instance))
    return iter_pixels(instance.path, decoding_plugin=_PLUGIN.get(syntax, ""), transfer_syntax_uid=syntax)


def _read(instance: Instance) -> Dataset:
    """The whole dataset. A file that came without meta information has none; the header's was derived when it was read."""
    dataset = dcmread(instance.path, force=True)
    dataset.file_meta = instance.header.file_meta
    return dataset


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

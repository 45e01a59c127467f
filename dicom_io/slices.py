"""The geometry of a series from its headers: order along the normal, extent, and the regular grid of its slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from analysis.errors import IncompleteSeries
from analysis.values import FloatArray, Grid
from dicom_io.elements import number, numbers, text
from dicom_io.studies import Instance, Series, once_a_series

# Cosines are written with six digits, positions with at least two: finer differences are rounding.
COSINE_TOLERANCE = 1e-3
POSITION_TOLERANCE_MM = 0.1
# Beds joined by the scanner leave gaps of 3.19 and 3.29 mm among 3.27 mm; a tenth of a gap is more than that.
GAP_TOLERANCE = 0.1
# Distances of slices and pixels in mm that scanners make.
POSSIBLE_MM = (0.05, 50.0)
# Slices may lie beside the mean grid by at most this part of the spacing.
DRIFT_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGrid:
    """The grid of a series' slices; k follows Series.instances. irregularity_mm: largest distance of a slice from its place."""

    grid: Grid
    irregularity_mm: float


def orientation(instance: Instance) -> FloatArray | None:
    """(2, 3) direction cosines of increasing column and row index; None where they are absent or not orthonormal."""
    cosines = numbers(instance.header, "ImageOrientationPatient")
    if len(cosines) != 6:
        return None
    axes = np.array(cosines).reshape(2, 3)
    return axes if np.allclose(axes @ axes.T, np.eye(2), atol=1e-2) else None


def position(instance: Instance) -> FloatArray | None:
    """ImagePositionPatient in LPS mm, None where it is absent."""
    found = numbers(instance.header, "ImagePositionPatient")
    return np.array(found) if len(found) == 3 else None


def normal(instance: Instance) -> FloatArray | None:
    """Unit normal of the slice, the cross product of row and column direction."""
    axes = orientation(instance)
    return None if axes is None else np.asarray(np.cross(axes[0], axes[1]))


def order(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Instances by position along the slice normal, then by instance number, then by SOP instance UID."""
    by_number = sorted(instances, key=lambda i: (number(i.header, "InstanceNumber") or 0.0, i.sop_instance_uid, i.frame or 0))
    direction = next((n for i in by_number if (n := normal(i)) is not None), None)
    if direction is None:
        return tuple(by_number)
    places = {id(i): 0.0 if (p := position(i)) is None else round(float(p @ direction), 3) for i in by_number}
    return tuple(sorted(by_number, key=lambda i: places[id(i)]))


def extent(series: Series, along: FloatArray) -> tuple[float, float] | None:
    """Lowest and highest slice centre along a direction in mm, half a slice added at each end; None without positions."""
    places = sorted({round(float(p @ along), 3) for i in series.instances if (p := position(i)) is not None})
    if not places:
        return None
    thickness = number(series.header, "SliceThickness") or 0.0
    half = (float(np.median(np.diff(places))) if len(places) > 1 else thickness) / 2
    return places[0] - half, places[-1] + half


@once_a_series
def slice_grid(series: Series) -> SliceGrid:
    """The grid of a series whose slices are all there, once, and of one kind.

    Raises IncompleteSeries: slices are missing (named by position), doubled, mixed, sheared or irregular.
    """
    axes, first = orientation(series.instances[0]), position(series.instances[0])
    if axes is None or first is None:
        raise IncompleteSeries(
            f"{_name(series)} has no slice positions or orientations; images without geometry cannot be measured."
        )
    _require_one_kind(series)
    direction = np.asarray(np.cross(axes[0], axes[1]))
    points = np.array([position(i) for i in series.instances])
    _require_no_shear(series, points, direction)
    places = points @ direction
    spacing = _regular_spacing(series, places)
    _require_possible(series, (spacing, *numbers(series.header, "PixelSpacing")))
    _require_announced_count(series)
    expected = places[0] + spacing * np.arange(len(places))
    drift = float(np.abs(places - expected).max())
    if drift > DRIFT_TOLERANCE * spacing:
        raise IncompleteSeries(
            f"{_name(series)} has irregular gaps: a slice lies {drift:.1f} mm beside its place in a regular grid; "
            "send the series as it was reconstructed."
        )
    return SliceGrid(grid=_grid(series, axes, direction * spacing, first), irregularity_mm=drift)


def _grid(series: Series, axes: FloatArray, step: FloatArray, first: FloatArray) -> Grid:
    row_spacing, column_spacing = numbers(series.header, "PixelSpacing")
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = axes[1] * row_spacing
    affine[:3, 2] = axes[0] * column_spacing
    affine[:3, 3] = first
    rows, columns = number(series.header, "Rows"), number(series.header, "Columns")
    return Grid(shape=(len(series.instances), int(rows or 0), int(columns or 0)), affine=affine)


def _name(series: Series) -> str:
    return f"The {series.modality or 'image'} series {series.description or series.series_instance_uid!r}"


def _require_one_kind(series: Series) -> None:
    """Raises IncompleteSeries where slices differ in orientation, size, spacing or frame of reference."""
    header = series.header
    reference = orientation(series.instances[0])
    spacing = numbers(header, "PixelSpacing")
    if len(spacing) != 2 or min(spacing) <= 0 or not number(header, "Rows") or not number(header, "Columns"):
        raise IncompleteSeries(f"{_name(series)} has no valid Rows, Columns or PixelSpacing; correct the header at its source.")
    for instance in series.instances[1:]:
        found, other = orientation(instance), instance.header
        kinds = {
            "orientation": found is not None and reference is not None and _close(found, reference, atol=COSINE_TOLERANCE),
            "position": position(instance) is not None,
            "Rows": number(other, "Rows") == number(header, "Rows"),
            "Columns": number(other, "Columns") == number(header, "Columns"),
            "PixelSpacing": _close(numbers(other, "PixelSpacing") or (0.0, 0.0), spacing, rtol=1e-3),
            "frame of reference": text(other, "FrameOfReferenceUID") == text(header, "FrameOfReferenceUID"),
        }
        differing = [name for name, same in kinds.items() if not same]
        if differing:
            raise IncompleteSeries(
                f"{_name(series)} is mixed: instance {_number(instance)} differs from the first slice in "
                f"{', '.join(differing)}; send the parts as series of their own."
            )


def _close(found: npt.ArrayLike, wanted: npt.ArrayLike, *, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """As np.allclose, which is asked only where the two are not the same."""
    return np.array_equal(found, wanted) or bool(np.allclose(found, wanted, rtol=rtol, atol=atol))


def _number(instance: Instance) -> str:
    return instance.label.removeprefix("slice ")


def _require_no_shear(series: Series, points: FloatArray, direction: FloatArray) -> None:
    """Raises IncompleteSeries where slices are shifted within their plane (a tilted gantry)."""
    offsets = points - points[0]
    within = offsets - np.outer(offsets @ direction, direction)
    shift = float(np.linalg.norm(within, axis=1).max())
    if shift > 1.0:
        raise IncompleteSeries(
            f"{_name(series)} has slices shifted against each other by {shift:.1f} mm within their plane (tilted gantry); "
            "it must be resampled to upright slices first."
        )


def _require_possible(series: Series, spacing: tuple[float, ...]) -> None:
    if not all(POSSIBLE_MM[0] <= each <= POSSIBLE_MM[1] for each in spacing):
        raise IncompleteSeries(
            f"{_name(series)} has voxels of {' x '.join(f'{each:g}' for each in spacing)} mm, which no scanner makes; "
            "correct the header at its source."
        )


def _regular_spacing(series: Series, places: FloatArray) -> float:
    """Mean gap in mm. places: sorted, mm along the normal. Raises IncompleteSeries: doubled, missing or irregular slices."""
    gaps = np.diff(places)
    if not len(gaps):
        thickness = number(series.header, "SliceThickness") or 0.0
        if thickness <= 0:
            raise IncompleteSeries(f"{_name(series)} is a single slice without a thickness; send the whole series.")
        return thickness
    real = gaps[gaps > POSITION_TOLERANCE_MM]
    if len(real) < len(gaps):
        raise IncompleteSeries(_doubled(series, places[1:][gaps <= POSITION_TOLERANCE_MM]))
    usual = float(np.median(real))
    wide = np.flatnonzero(gaps > 1.5 * usual)
    if len(wide):
        raise IncompleteSeries(_missing(series, places, wide, usual))
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(float(gaps[worst]) - usual) > GAP_TOLERANCE * usual:
        raise IncompleteSeries(
            f"{_name(series)} has irregular gaps: {gaps[worst]:.2f} mm after the slice at {places[worst]:.1f} mm, "
            f"{usual:.2f} mm elsewhere; send the series as it was reconstructed."
        )
    return float((places[-1] - places[0]) / len(gaps))


def _listed(places: Sequence[float]) -> str:
    shown = ", ".join(f"{place:.1f}" for place in places[:5])
    return f"{shown} mm" if len(places) <= 5 else f"{shown} mm and {len(places) - 5} more places"


def _doubled(series: Series, places: FloatArray) -> str:
    distinct = sorted({round(float(place), 1) for place in places})
    return (
        f"{_name(series)} has more than one slice at {_listed(distinct)}; it may hold several phases or was sent twice "
        "in two forms, and must be sorted out at its source."
    )


def _missing(series: Series, places: FloatArray, wide: npt.NDArray[np.intp], usual: float) -> str:
    lost: list[float] = []
    for index in wide:
        count = round(float(places[index + 1] - places[index]) / usual) - 1
        lost.extend(float(places[index]) + usual * (step + 1) for step in range(max(count, 1)))
    plural = "slice is" if len(lost) == 1 else "slices are"
    return f"{_name(series)} is incomplete: {len(lost)} {plural} missing at {_listed(lost)}; send the series again."


def _require_announced_count(series: Series) -> None:
    """A PET says how many slices it has, so that missing ends are found too; a multi-frame object its parts and places."""
    for part in {text(i.header, "ConcatenationUID") for i in series.instances if i.frame is not None} - {""}:
        members = [i for i in series.instances if text(i.header, "ConcatenationUID") == part]
        _require_parts(series, len({i.sop_instance_uid for i in members}), members[0].header)
    _require_places(series)
    announced = number(series.header, "NumberOfSlices")
    if series.modality == "PT" and announced is not None and len(series.instances) < announced:
        raise IncompleteSeries(
            f"{_name(series)} is incomplete: {len(series.instances)} of the {announced:.0f} slices that its header "
            "announces are here; send the series again."
        )


def _require_parts(series: Series, count: int, header: Dataset) -> None:
    total = number(header, "InConcatenationTotalNumber")
    if total is not None and count < total:
        raise IncompleteSeries(
            f"{_name(series)} is incomplete: {count} of the {total:.0f} parts of its concatenation are here; send it again."
        )


def _require_places(series: Series) -> None:
    """Places in a stack count from 1 (PS3.3 C.7.6.16.2.2.4), so a higher number than there are frames tells of missing ones."""
    stacks: dict[str, set[float]] = {}
    for instance in series.instances:
        place = number(instance.header, "InStackPositionNumber") if instance.frame is not None else None
        if place is not None:
            stacks.setdefault(text(instance.header, "StackID"), set()).add(place)
    for places in stacks.values():
        if max(places) > len(places):
            raise IncompleteSeries(
                f"{_name(series)} is incomplete: {len(places)} frames of a stack of at least {max(places):.0f} are here; "
                "send the series again."
            )

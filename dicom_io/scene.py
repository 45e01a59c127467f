"""A pair's analysis as the scene that the fusion pictures show, whatever the grids of its images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, binary_opening, label

from analysis.grids import inverse, resample, to_itk_transform
from analysis.values import BoolArray, FloatArray, Grid, Labelmap, LesionMatch, PatientAnalysis, PetCt, Tracer, Transform
from dicom_io.fusion import BONE_FULL, FAINTEST, FULL_SCALE, Class, Scene, Spot, class_of

STEP_MM = 2.5
LARGEST_SCENE = 24_000_000  # voxels; a larger body is drawn on a coarser grid
COARSE_MM = 8.0
BODY_SUV = 0.2  # what the body exceeds on either tracer, and the air around it does not
BONE_HU = (150.0, 900.0)
MARGIN_MM = 15.0
LEAST_ROWS = 4  # a thinner sheet is not worth another CT
COVERED = 16  # a bit beside those of Class: the voxel lies in the tracer's scan


def build_scene(analysis: PatientAnalysis) -> Scene:
    """Both PETs, the bones and the lesions on one upright grid; FDG is warped by the analysis' transform.

    The scene holds the body as far as either tracer was scanned: what one scan alone covers is shown, and known as such.
    """
    grid = _fitting(analysis)
    volumes: dict[str, npt.NDArray[Any]] = {}
    lesions = np.zeros(grid.shape, np.uint8)
    covered: dict[Tracer, BoolArray] = {}
    warps = {tracer: _warp(analysis, tracer) for tracer in Tracer}
    for tracer, warp in warps.items():
        study = analysis.aligned.study(tracer)
        suv = resample(study.pet.grid, study.pet.values, grid, transform=warp)
        volumes[tracer.value] = (np.clip(suv / FULL_SCALE[tracer], 0, 1) * 65535).astype(np.uint16)
        classes = lesion_classes(analysis, tracer)
        seen = resample(classes.grid, (classes.labels + COVERED).astype(np.uint8), grid, transform=warp, nearest=True)
        covered[tracer] = seen >= COVERED
        lesions |= seen % COVERED
    body = _body(*(volumes[t.value] > 65535 * BODY_SUV / FULL_SCALE[t] for t in Tracer), rounds=2)
    rows = {t: _rows(covered[t], body) for t in Tracer}
    volumes["bone"] = _bone(analysis, grid, rows, warps[Tracer.FDG]) * body
    volumes["lesions"] = lesions
    return _scene(grid, volumes, rows, spots(analysis))


def _scene(grid: Grid, volumes: dict[str, npt.NDArray[Any]], rows: dict[Tracer, BoolArray], found: tuple[Spot, ...]) -> Scene:
    """The columns in which there is anything to see."""
    flat = {name: volume.reshape(grid.shape[0], -1) for name, volume in volumes.items()}
    shown = np.maximum(flat["FDG"].max(axis=0), flat["PentixaFor"].max(axis=0)) > FAINTEST
    shown |= flat["lesions"].any(axis=0) | (flat["bone"].max(axis=0) > 0)
    kept = np.flatnonzero(shown)
    _, nj, ni = grid.shape
    step = grid.spacing[0]
    places = np.stack([kept % ni - (ni - 1) / 2, kept // ni - (nj - 1) / 2], axis=1) * step
    middle = grid.to_world([0, (nj - 1) / 2, (ni - 1) / 2])
    return Scene(
        columns={name: np.ascontiguousarray(volume[:, kept].T) for name, volume in flat.items()},
        places=places,
        axis=(float(middle[0]), float(middle[1])),
        top=float(grid.to_world([grid.shape[0] - 0.5, 0, 0])[2]),
        step_mm=step,
        covered=rows,
        spots=found,
    )


def _warp(analysis: PatientAnalysis, tracer: Tracer) -> sitk.Transform | None:
    return to_itk_transform(analysis.aligned.transform) if tracer is Tracer.FDG else None


def _rows(covered: BoolArray, body: BoolArray) -> BoolArray:
    """Which rows the scan reaches: those where it holds most of the body, or of the row where there is no body."""
    inside = np.where(body.any(axis=(1, 2), keepdims=True), body, True)
    return np.asarray((covered & inside).sum(axis=(1, 2)) > 0.5 * inside.sum(axis=(1, 2)))


def _bone(
    analysis: PatientAnalysis, grid: Grid, rows: dict[Tracer, BoolArray], warp: sitk.Transform | None
) -> npt.NDArray[np.uint16]:
    """Dense bone in 0..BONE_FULL from the PentixaFor CT, and from the FDG CT (by `warp`) in the rows that only FDG reaches."""
    bone = _dense(analysis.aligned.pentixafor, grid, None)
    alone = np.flatnonzero(rows[Tracer.FDG] & ~rows[Tracer.PENTIXAFOR])
    if alone.size >= LEAST_ROWS:
        first, last = int(alone[0]), int(alone[-1]) + 1
        other = _dense(analysis.aligned.fdg, _levels(grid, first, last), warp)
        bone[alone] = other[alone - first]
    return bone


def _dense(study: PetCt, grid: Grid, warp: sitk.Transform | None) -> npt.NDArray[np.uint16]:
    low, high = BONE_HU
    hounsfield = resample(study.ct.grid, study.ct.values, grid, transform=warp, outside=-1000.0)
    return (np.clip((hounsfield - low) / (high - low), 0, 1) * BONE_FULL).astype(np.uint16)


def _levels(grid: Grid, first: int, last: int) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([first, 0, 0])
    return Grid(shape=(last - first, grid.shape[1], grid.shape[2]), affine=affine)


def _body(first: BoolArray, second: BoolArray, *, rounds: int) -> BoolArray:
    """The largest thing with uptake on either tracer, a little wider: without the table, whose rails look like bone."""
    seen = binary_opening(first | second, iterations=rounds)
    parts, count = label(seen)
    if count == 0:
        return np.ones(seen.shape, np.bool_)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = np.isin(parts, np.flatnonzero(sizes >= 0.02 * sizes.max()))  # arms that touch nothing are body, too
    return np.asarray(binary_dilation(large, iterations=rounds + 1))


def lesion_classes(analysis: PatientAnalysis, tracer: Tracer) -> Labelmap:
    """The tracer's lesions on its PET grid, by Class instead of by number."""
    found = analysis.lesions[tracer]
    lookup = np.zeros(len(found.lesions) + 1, np.int32)
    for match in analysis.matches:
        for number in match.labels(tracer):
            lookup[number] = class_of(match)
    return Labelmap(grid=found.labelmap.grid, labels=lookup[found.labelmap.labels])


def spots(analysis: PatientAnalysis) -> tuple[Spot, ...]:
    """Every site of disease at the middle of its lesions, the largest first."""
    places = {t: _centroids(analysis, t) for t in Tracer}
    found = [_spot(analysis, match, places) for match in analysis.matches]
    return tuple(sorted(found, key=lambda spot: -spot.volume_ml))


def _centroids(analysis: PatientAnalysis, tracer: Tracer) -> FloatArray:
    """(n, 3) centroids of the tracer's lesions in the PentixaFor frame, LPS mm."""
    points = np.array([x.centroid_mm for x in analysis.lesions[tracer].lesions]).reshape(-1, 3)
    return inverse(analysis.aligned.transform, points) if tracer is Tracer.FDG and len(points) else points


def _spot(analysis: PatientAnalysis, match: LesionMatch, places: dict[Tracer, FloatArray]) -> Spot:
    lesions = [(t, label) for t in Tracer for label in match.labels(t)]
    volumes = np.array([analysis.lesions[t].lesions[label - 1].volume_ml for t, label in lesions])
    middle = np.average([places[t][label - 1] for t, label in lesions], axis=0, weights=np.maximum(volumes, 1e-6))
    return Spot(
        name=_shown_name(analysis, match),
        kind=class_of(match),
        at=(float(middle[0]), float(middle[1]), float(middle[2])),
        volume_ml=float(volumes.sum()),
    )


def _shown_name(analysis: PatientAnalysis, match: LesionMatch) -> str:
    """M4 for a site on both tracers, else the lesion's own F2 or P7, as in lesions.csv and the reports; ? where uncertain."""
    ids = [analysis.lesions[t].lesions[label - 1].id for t in Tracer for label in match.labels(t)]
    name = match.name if class_of(match) is Class.CONCORDANT or len(ids) > 1 else ids[0]
    return name if match.certain else f"{name}?"


def _fitting(analysis: PatientAnalysis) -> Grid:
    """An upright grid around the body as far as either tracer was scanned, not much finer than the PET deserves."""
    coarse = _upright(*_extent(analysis), COARSE_MM)
    seen: dict[Tracer, BoolArray] = {}
    scanned = np.zeros(coarse.shape, np.bool_)
    for tracer in Tracer:
        pet = analysis.aligned.study(tracer).pet
        warp = Transform(rigid=analysis.aligned.transform.rigid) if tracer is Tracer.FDG else None  # near enough for a box
        seen[tracer] = resample(pet.grid, pet.values, coarse, transform=warp) > BODY_SUV
        scanned |= resample(pet.grid, np.ones(pet.grid.shape, np.uint8), coarse, transform=warp, nearest=True) > 0
    body = _body(*seen.values(), rounds=1) & scanned
    if not body.any():
        body = scanned
    index = np.argwhere(body)
    low, high = coarse.to_world(index.min(axis=0) - 0.5), coarse.to_world(index.max(axis=0) + 0.5)
    margin = np.array([MARGIN_MM, MARGIN_MM, 0.0])
    finest = max(STEP_MM, min(analysis.aligned.pentixafor.pet.grid.spacing) / 2)
    return _upright(low - margin, high + margin, finest)


def _extent(analysis: PatientAnalysis) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner (x, y, z) of both PETs in the PentixaFor frame, LPS mm; FDG by the rigid part alone."""
    corners = [_corners(analysis.aligned.pentixafor)]
    back = np.linalg.inv(analysis.aligned.transform.rigid)
    corners.append(_corners(analysis.aligned.fdg) @ back[:3, :3].T + back[:3, 3])
    every = np.concatenate(corners)
    return every.min(axis=0), every.max(axis=0)


def _corners(study: PetCt) -> FloatArray:
    grid = study.pet.grid
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    return grid.to_world(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)


def _upright(low: FloatArray, high: FloatArray, finest: float) -> Grid:
    """A cubic upright grid over the box from low to high (x, y, z)."""
    extent = np.maximum(high - low, 1.0)
    step = max(finest, float(np.cbrt(np.prod(extent) / LARGEST_SCENE)))
    shape = [max(1, math.ceil(n)) for n in extent[::-1] / step]
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * step
    affine[:3, 3] = low + step / 2
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)

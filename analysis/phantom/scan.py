"""The phantom in the scanner: tissue turned into PET (SUV) and CT (HU), with blur, noise and a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from analysis.phantom.body import TISSUES
from analysis.phantom.field import Field, PartArray, field_of, numbered
from analysis.phantom.lesions import Ball
from analysis.phantom.shapes import Ellipsoid
from analysis.phantom.values import FIELD_Z, TRUNCATED_Z, Patient, Preset, stream
from analysis.values import BoolArray, FloatArray, Grid, Labelmap, PetCt, Tracer, Unit, Volume

FWHM_TO_SIGMA = 1.0 / 2.354820045
# Slice distance and pixel size in mm: PET and CT of scan one, PET and CT of scan two.
SPACINGS: dict[Preset, tuple[tuple[float, float], ...]] = {
    Preset.COARSE: ((6.5, 6.5), (6.0, 5.0), (6.0, 6.1), (5.5, 5.2)),
    Preset.SMALL: ((4.5, 4.5), (4.0, 3.0), (5.0, 4.07), (3.6, 3.3)),
    Preset.FULL: ((3.27, 2.73), (3.27, 1.37), (3.0, 4.07), (3.0, 1.52)),
}
PET_FWHM_MM = 6.0
CT_NOISE_HU = 12.0
PET_NOISE = 0.015  # variance over SUV: 9 % in the liver of FDG


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The patient table in scanner coordinates (mm): a curved shell of carbon fibre around foam."""

    top: float
    centre: float
    half_width: float = 205.0
    thick: float = 28.0
    curve: float = 2.2e-4

    def draw(self, hu: FloatArray, grid: Grid, air: BoolArray) -> None:
        """Put the table into the air of a CT, in place."""
        y = grid.affine[1, 3] + grid.affine[1, 1] * np.arange(grid.shape[1])[:, None]
        x = grid.affine[0, 3] + grid.affine[0, 2] * np.arange(grid.shape[2])[None, :] - self.centre
        depth = y - (self.top - self.curve * x * x)
        whole = (depth >= 0) & (depth <= self.thick) & (np.abs(x) <= self.half_width)
        foam = (depth >= 3) & (depth <= self.thick - 3) & (np.abs(x) <= self.half_width - 3)
        section = np.where(foam, np.float32(-940), np.float32(-120))
        np.copyto(hu, section[None], where=whole[None] & air)


def blurred(suv: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """The PET's point spread: a Gaussian of the given full width at half maximum."""
    sigma = [fwhm_mm * FWHM_TO_SIGMA / s for s in grid.spacing]
    return np.asarray(gaussian_filter(suv, sigma, mode="nearest", truncate=3.0))


def counted(suv: FloatArray, grid: Grid, rng: np.random.Generator, level: float) -> FloatArray:
    """Poisson-like noise: variance = level x SUV, with the grain of a reconstructed image; never below zero."""
    sigma = [4.0 * FWHM_TO_SIGMA / s for s in grid.spacing]
    grain = gaussian_filter(rng.standard_normal(suv.shape, dtype=np.float32), sigma, mode="wrap", truncate=3.0)
    grain *= np.sqrt(level * suv) / grain.std()
    return np.asarray(np.maximum(suv + grain, 0.0))


def softened(hu: FloatArray) -> FloatArray:
    """The CT's point spread, less than a voxel wide."""
    for axis in range(3):
        hu = gaussian_filter1d(hu, 0.45, axis=axis, mode="nearest", radius=1)
    return hu


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """One tracer's scan and what is known of its voxels; ct_organs lies on the CT's grid, the other labels on the PET's."""

    study: PetCt
    lesions: Labelmap
    organs: Labelmap
    ct_organs: Labelmap


class Scanner:
    """Makes one tracer's scan of a patient."""

    def __init__(self, patient: Patient, tracer: Tracer) -> None:
        self._patient, self._tracer = patient, tracer
        self._shown = tracer.other if patient.swapped else tracer
        self._motion = patient.motion if tracer is Tracer.PENTIXAFOR else None
        self._regions = sorted({p.region for p in patient.parts})

    def scan(self) -> Scan:
        patient, tracer = self._patient, self._tracer
        pet_mm, ct_mm = SPACINGS[patient.settings.preset][2 * (tracer is Tracer.PENTIXAFOR) :][:2]
        pet, lesions, organs = self._pet(self._grid(*pet_mm))
        ct, ct_organs = self._ct(self._grid(*ct_mm))
        uptake = round(float(stream(patient.settings.seed, f"uptake {tracer}").uniform(55, 68)), 1)
        study = PetCt(
            tracer=tracer, pet=pet, ct=ct, body=patient.body, uptake_min=uptake, facts={"phantom": patient.settings.seed}
        )
        return Scan(study=study, lesions=lesions, organs=organs, ct_organs=ct_organs)

    def _grid(self, slice_mm: float, pixel_mm: float) -> Grid:
        """A grid over the whole body width and the field's length, its corner at a crooked place."""
        patient = self._patient
        wide, front, back = 250 + patient.fat_mm, -126 - patient.fat_mm, 158 + patient.fat_mm
        ends = TRUNCATED_Z if self._motion and patient.truncated else FIELD_Z
        axis = patient.frame.to_fdg([(0, (front + back) / 2, z) for z in np.linspace(*ends, 7)])
        axis = self._motion.to_pentixafor(axis) if self._motion else axis
        half = np.array([wide, (back - front) / 2, 0.0]) * patient.frame.scale
        low, high = axis.min(axis=0) - half, axis.max(axis=0) + half
        spacing = np.array([slice_mm, pixel_mm, pixel_mm])
        shape = np.ceil((high - low)[::-1] / spacing).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
        affine[:3, 3] = np.round(low + spacing[::-1] / 2, 3)
        return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)

    def _pet(self, grid: Grid) -> tuple[Volume, Labelmap, Labelmap]:
        settings = self._patient.settings
        field_ = field_of(grid, self._patient.frame, self._motion)
        parts = field_.paint(numbered(self._patient.parts))
        shades = [0.0] + [getattr(TISSUES[p.tissue], self._shown.name.lower()) for p in self._patient.parts]
        suv = np.array(shades, np.float32)[parts]
        labels = np.zeros(grid.shape, np.int32)
        for lesion in self._patient.lesions:
            if ball := lesion.balls.get(self._shown):
                window, mask = field_.inside(self._solid(ball))
                np.copyto(labels[window], lesion.number, where=mask)
                np.copyto(suv[window], np.float32(ball.suv), where=mask)
        if settings.blur:
            suv = blurred(suv, grid, PET_FWHM_MM)
        if settings.noise:
            suv = counted(suv, grid, stream(self._patient.settings.seed, f"pet {self._tracer}"), PET_NOISE)
        names = {x.number: f"lesion {x.number}" for x in self._patient.lesions if self._shown in x.balls}
        return (
            Volume(grid=grid, values=suv, unit=Unit.SUV),
            Labelmap(grid=grid, labels=labels, names=names),
            self._named(grid, parts),
        )

    def _ct(self, grid: Grid) -> tuple[Volume, Labelmap]:
        """HU, whole numbers as scanners store them."""
        settings = self._patient.settings
        field_ = field_of(grid, self._patient.frame, self._motion)
        parts = field_.paint(numbered(self._patient.parts))
        hu = np.array([-1000.0] + [TISSUES[p.tissue].hu for p in self._patient.parts], np.float32)[parts]
        self._masses(hu, field_)
        self._table().draw(hu, grid, parts == 0)
        if settings.blur:
            hu = softened(hu)
        if settings.noise:
            rng = stream(settings.seed, f"ct {self._tracer}")
            hu += np.float32(CT_NOISE_HU) * rng.standard_normal(hu.shape, dtype=np.float32)
        np.clip(np.rint(hu), -1024, 3071, out=hu)
        return Volume(grid=grid, values=hu, unit=Unit.HU), self._named(grid, parts)

    def _masses(self, hu: FloatArray, field_: Field) -> None:
        """Lesions show on CT as soft tissue, except within bone."""
        for lesion in self._patient.lesions:
            window, mask = field_.inside(self._solid(lesion.any_ball))
            np.copyto(hu[window], np.float32(45), where=mask & (hu[window] < 100))

    def _solid(self, ball: Ball) -> Ellipsoid:
        centre = self._patient.frame.to_body(np.array(ball.centre))
        radius = ball.radius / self._patient.frame.scale
        return Ellipsoid(centre=(centre[0], centre[1], centre[2]), radii=(radius, radius, radius))

    def _table(self) -> Table:
        patient = self._patient
        back = patient.frame.to_fdg([(0, 122 + patient.fat_mm, z) for z in (-150, 60, 220, 340)])
        spots = self._motion.to_pentixafor(back) if self._motion else back
        offset = 17.0 if self._motion else -6.0
        return Table(top=float(spots[:, 1].max()), centre=offset, curve=3.0e-4 if self._motion else 2.0e-4)

    def _named(self, grid: Grid, parts: PartArray) -> Labelmap:
        number = {region: n for n, region in enumerate(self._regions, start=1)}
        table = np.array([0] + [number[p.region] for p in self._patient.parts], np.int32)
        return Labelmap(grid=grid, labels=table[parts], names={n: region for region, n in number.items()})

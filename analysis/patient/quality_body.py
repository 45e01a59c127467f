"""Where the patient lies in one study, as CT and PET each show it: what balance, coverage and truncation are read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.grids import resample
from analysis.patient.registration_body import SKIN_HU, CoarseCt, coarse_ct, upright
from analysis.values import BoolArray, FloatArray, Grid, PetCt

STEP_MM = 6.0
# SUV of a patient's outline on PET: air holds none, fat and lung about 0.3 (docs/METHOD.md 6).
OUTLINE_SUV = 0.15
# So much of a body's rim on the edge of the CT's field is no chance contact.
CONTACT_MM = 25.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenBody:
    """What both images of a study say of the body.

    weight_kg: the header's. mass_kg: body mass on CT within the PET's field. activity_kg: sum of SUV x volume over the PET,
    which over the weight is the part of the injected activity that the field holds. covered, axial: the part of the PET's
    body that lies in the CT's field, and in its axial range. outline_dice: of the body on PET and on CT, NaN without PET
    outline. truncation: the part of the CT's slices (within the PET) whose body reaches the edge of the CT's field.
    """

    weight_kg: float
    mass_kg: float
    activity_kg: float
    covered: float
    axial: float
    outline_dice: float
    truncation: float

    @property
    def mass_share(self) -> float:
        """Body mass in the field over the header's weight."""
        return self.mass_kg / self.weight_kg

    @property
    def activity_share(self) -> float:
        """Activity in the field over the activity injected, both at one time: sum of SUV x volume / weight."""
        return self.activity_kg / self.weight_kg

    @property
    def mean_suv(self) -> float:
        """SUV over the body mass in the field: 1 for activity spread evenly over the whole body."""
        return self.activity_kg / self.mass_kg if self.mass_kg > 0 else float("nan")


def seen_body(study: PetCt) -> SeenBody:
    """Measures the body on grids of about 6 mm. Raises UnusableImage where CT shows none."""
    ct = coarse_ct(study.ct, study.tracer, STEP_MM)
    inside = resample(study.pet.grid, np.ones(study.pet.grid.shape, dtype=bool), ct.grid, nearest=True)
    grid, outline = _outline(study)
    covered, axial = _coverage(grid.to_world(np.argwhere(outline)), study.ct.grid, ct)
    return SeenBody(
        weight_kg=study.body.weight_kg,
        mass_kg=float(density(ct.hu)[ct.body & inside].sum(dtype=np.float64)) * ct.grid.voxel_ml / 1000.0,
        activity_kg=float(study.pet.values.sum(dtype=np.float64)) * study.pet.grid.voxel_ml / 1000.0,
        covered=covered,
        axial=axial,
        outline_dice=_dice(resample(grid, outline, ct.grid, nearest=True), ct.body, inside & ct.seen),
        truncation=_truncation(ct, inside),
    )


def density(hu: FloatArray) -> FloatArray:
    """g/ml of tissue from HU: water 1, air 0; bone is a little overestimated (Schneider 1996: 1.5 g/ml at 800 HU)."""
    return np.clip(1.0 + hu / np.where(hu > 100, 1600.0, 1000.0), 0.0, 2.0)


def _outline(study: PetCt) -> tuple[Grid, BoolArray]:
    """The patient on PET, on a grid of its own: the largest connected part above air, holes filled slice by slice."""
    grid = upright(study.pet.grid, STEP_MM)
    sigma = [0.5 * STEP_MM / s for s in study.pet.grid.spacing]
    smooth = ndimage.gaussian_filter(study.pet.values, sigma, mode="nearest", truncate=2.0)
    labels, count = ndimage.label(resample(study.pet.grid, smooth, grid) > OUTLINE_SUV)
    if count == 0:
        return grid, np.zeros(grid.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    return grid, np.asarray(ndimage.binary_fill_holes(labels == sizes.argmax(), structure=in_plane))


def _coverage(places: FloatArray, native: Grid, ct: CoarseCt) -> tuple[float, float]:
    """The part of the PET's body (n, 3) that the CT measured, and the part within its slices; 1 where PET shows no body."""
    if not len(places):
        return 1.0, 1.0
    slices = native.to_index(places)[:, 0]
    axial = (slices >= -0.5) & (slices <= native.shape[0] - 0.5)
    index = np.rint(ct.grid.to_index(places)).astype(int)
    on_grid = ((index >= 0) & (index < ct.grid.shape)).all(axis=1)
    # A voxel at the very edge is half unmeasured on the coarse grid.
    near = ndimage.binary_dilation(ct.seen)
    measured = np.zeros(len(places), dtype=bool)
    measured[on_grid] = near[tuple(index[on_grid].T)]
    return float((native.contains(places) & measured).mean()), float(axial.mean())


def _dice(pet: BoolArray, body: BoolArray, both: BoolArray) -> float:
    """Dice of the body on PET and on CT where both measured; NaN where PET shows none."""
    pet, body = pet & both, body & both
    return 2.0 * float((pet & body).sum()) / float(pet.sum() + body.sum()) if pet.any() else float("nan")


def _truncation(ct: CoarseCt, inside: BoolArray) -> float:
    """The part of the slices with a body whose body lies on the edge of what CT measured, on at least 25 mm."""
    rim = ct.seen & ~ndimage.binary_erosion(ct.seen, structure=ndimage.generate_binary_structure(2, 1)[None])
    body = ct.body & inside
    rows = body.any(axis=(1, 2))
    tissue = ct.body & rim & inside & (ct.hu > SKIN_HU)  # the mask's closing may reach the edge where the body does not
    touching = tissue.sum(axis=(1, 2)) * ct.step_mm >= CONTACT_MM
    return float(touching[rows].mean()) if rows.any() else 0.0

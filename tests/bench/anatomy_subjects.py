"""Subjects with known anatomy for `bench_anatomy`: the shared real CT with TotalSegmentator's labels, digital patients, and
what can befall them (contrast, metal, noise, thick slices, missing organs, cropped fields)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import grid_of, resample
from analysis.phantom import PhantomSettings, make_patient
from analysis.phantom.body import TISSUES
from analysis.segmenters.morphology import closing, dilate, erode
from analysis.values import (
    AlignedPair,
    Body,
    BoolArray,
    FloatArray,
    Grid,
    LabelArray,
    PetCt,
    RegistrationQuality,
    Tracer,
    Transform,
    Unit,
    Volume,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
EXACT = RegistrationQuality(method="rigid", bone_dice=1.0, bone_dice_rigid=1.0, body_dice=1.0, error_mm=1.0)
FWHM_MM = 6.0

# TotalSegmentator's `total` task, version 2: label > name, for what is used here.
VERTEBRAE = [f"L{n}" for n in range(5, 0, -1)] + [f"T{n}" for n in range(12, 0, -1)] + [f"C{n}" for n in range(7, 0, -1)]
TOTAL = {
    1: "spleen", 2: "kidney_right", 3: "kidney_left", 4: "gallbladder", 5: "liver", 6: "stomach", 7: "pancreas",
    8: "adrenal_gland_right", 9: "adrenal_gland_left", 10: "lung_left", 11: "lung_left", 12: "lung_right",
    13: "lung_right", 14: "lung_right", 15: "esophagus", 16: "trachea", 17: "thyroid_gland", 18: "small_bowel",
    19: "duodenum", 20: "colon", 21: "urinary_bladder", 22: "prostate", 25: "sacrum", 26: "sacrum",
    **{27 + n: f"vertebrae_{name}" for n, name in enumerate(VERTEBRAE)},
    51: "heart", 52: "aorta", 53: "pulmonary_vein", 63: "inferior_vena_cava", 64: "portal_vein",
    65: "iliac_artery_left", 66: "iliac_artery_right", 67: "iliac_vena_left", 68: "iliac_vena_right",
    69: "humerus_left", 70: "humerus_right", 71: "scapula_left", 72: "scapula_right", 73: "clavicula_left",
    74: "clavicula_right", 75: "femur_left", 76: "femur_right", 77: "hip_left", 78: "hip_right", 79: "spinal_cord",
    **dict.fromkeys(range(80, 90), "muscle"), 90: "brain", 91: "skull",
    **{91 + n: f"rib_left_{n}" for n in range(1, 13)}, **{103 + n: f"rib_right_{n}" for n in range(1, 13)},
    116: "sternum", 117: "costal_cartilages",
}  # fmt: skip
BONES = ("sacrum", "vertebrae_", "humerus_", "scapula_", "clavicula_", "femur_", "hip_", "skull", "rib_", "sternum")
FOREARM = ("radius_", "ulna_", "tibia_")  # bones of the phantom that TotalSegmentator's `total` has no label for
VESSELS = ("aorta", "inferior_vena_cava", "portal_vein", "iliac_", "heart")
BOWEL = ("colon", "small_bowel", "duodenum", "stomach")
# Region of the labels > tissue of METHOD.md 6 whose uptake it takes; muscle for all others.
UPTAKE = {"small_bowel": "bowel", "colon": "bowel", "duodenum": "bowel", "urinary_bladder": "bladder", "trachea": "airway"}
WHOLE = ("liver", "spleen", "stomach", "brain", "heart", "aorta")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A CT (HU) with its labels on one grid. gone: regions that were taken out. petless: both PETs are constant."""

    name: str
    grid: Grid
    hu: FloatArray
    labels: LabelArray
    names: Mapping[int, str]
    petless: bool = False
    gone: tuple[str, ...] = ()

    def mask(self, *starts: str) -> BoolArray:
        """Where a region lies whose name begins with one of these."""
        return np.isin(self.labels, [n for n, name in self.names.items() if name.startswith(starts)])

    def skeleton(self, radius_mm: float = 4.0) -> BoolArray:
        """SCIENCE's skeleton: the union of the bones, closed."""
        return closing(self.grid, self.mask(*BONES), radius_mm)

    def pair(self) -> AlignedPair:
        """Both tracers over the same CT; PentixaFor's PET lies 3 mm beside, as registration leaves it."""
        ct = Volume(grid=self.grid, values=self.hu.astype(np.float32), unit=Unit.HU)
        body = Body(weight_kg=75.0, height_m=1.75)
        pets = {t: Volume(grid=self.grid, values=self.suv(t), unit=Unit.SUV) for t in Tracer}
        studies = {t: PetCt(tracer=t, pet=pets[t], ct=ct, body=body) for t in Tracer}
        shift = np.eye(4)
        shift[:3, 3] = (2.0, -2.0, 1.0)
        return AlignedPair(
            fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR], transform=Transform(rigid=shift), quality=EXACT
        )

    def suv(self, tracer: Tracer) -> FloatArray:
        """The usual uptake of METHOD.md 6 in each region, blurred by 6 mm, with noise; constant where petless."""
        if self.petless:
            return np.ones(self.grid.shape, np.float32)
        key = tracer.name.lower()
        smooth = ndimage.gaussian_filter(self.hu, 0.7)
        usual = {name: getattr(tissue, key) for name, tissue in TISSUES.items()}
        suv = np.where(smooth > -400, np.where(smooth > -30, usual["soft"], usual["fat"]), 0.05).astype(np.float32)
        for number, name in self.names.items():
            tissue = UPTAKE.get(name, name.split("_")[0] if name.startswith(("kidney", "lung", "adrenal")) else name)
            tissue = "marrow" if name.startswith(BONES) else tissue
            if tissue in usual:
                suv[self.labels == number] = usual[tissue]
        blurred = ndimage.gaussian_filter(suv, [FWHM_MM / 2.3548 / s for s in self.grid.spacing])
        grain = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(suv.shape, dtype=np.float32), 0.7)
        return np.maximum(blurred + grain / grain.std() * np.sqrt(0.015 * blurred), 0.0).astype(np.float32)


def real_ct() -> Subject | None:
    """The shared torso CT with its labels; None where it is absent."""
    if not (SHARED / "ct_truth").is_dir():
        return None
    image, truth = (
        sitk.DICOMOrient(sitk.ReadImage(str(SHARED / "ct_truth" / f"{name}.nii.gz")), "LPS") for name in ("ct", "labels")
    )
    hu = np.clip(sitk.GetArrayFromImage(image).astype(np.float32), -1024, 3071)
    return Subject(
        name="real CT", grid=grid_of(image), hu=hu, labels=sitk.GetArrayFromImage(truth).astype(np.int32), names=TOTAL
    )


def phantom(seed: int) -> Subject:
    """A digital patient without lesions, whole body."""
    patient = make_patient(PhantomSettings(seed=seed, lesions=0))
    organs = patient.ct_organs[Tracer.FDG]
    return Subject(
        name=f"phantom {seed}", grid=organs.grid, hu=patient.fdg.ct.values.copy(), labels=organs.labels, names=organs.names
    )


def noisy(subject: Subject) -> Subject:
    """Low dose: 45 HU more noise, with grain."""
    grain = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(subject.hu.shape), 0.6)
    return replace(subject, hu=np.clip(subject.hu + 45 * grain / grain.std(), -1024, 3071))


def arterial(subject: Subject) -> Subject:
    """Contrast in arteries and renal cortex: aorta 350, kidneys 200, spleen 130, liver and veins a little."""
    return _enhanced(subject, {"aorta": 310, "iliac_artery": 300, "heart": 220, "kidney": 170, "spleen": 80, "liver": 20})


def venous(subject: Subject) -> Subject:
    """Portal venous contrast: vessels 170, kidneys 210, liver 110, spleen 120; 6 % of it in all soft tissue."""
    more = {"aorta": 125, "inferior_vena_cava": 120, "portal_vein": 130, "iliac_": 110, "heart": 110, "kidney": 180}
    return _enhanced(subject, {**more, "spleen": 70, "liver": 55, "pancreas": 60, "muscle": 15})


def _enhanced(subject: Subject, more: Mapping[str, float]) -> Subject:
    hu = subject.hu.copy()
    for start, add in more.items():
        here = subject.mask(start) & (subject.hu > -30) & (subject.hu < 150)
        hu[here] += add
    return replace(subject, hu=hu)


def oral(subject: Subject) -> Subject:
    """Bowel and stomach filled with contrast of 150 to 500 HU."""
    rng = np.random.default_rng(3)
    strength = ndimage.gaussian_filter(rng.standard_normal(subject.hu.shape), 12)
    strength = 150 + 350 * (strength - strength.min()) / np.ptp(strength)
    inside = erode(subject.grid, subject.mask(*BOWEL), 2.5) & (subject.hu > -150)
    return replace(subject, hu=np.where(inside, strength, subject.hu).astype(np.float32))


def thick(subject: Subject) -> Subject:
    """Slices of 5 mm."""
    n = max(1, round(5.0 / subject.grid.spacing[0] * 2) / 2)
    shape = (int(subject.grid.shape[0] / n), *subject.grid.shape[1:])
    affine = subject.grid.affine.copy()
    affine[:3, 0] *= n
    grid = Grid(shape=shape, affine=affine)
    smooth = ndimage.uniform_filter1d(subject.hu, max(1, round(n)), axis=0)
    labels = resample(subject.grid, subject.labels, grid, nearest=True)
    return replace(subject, grid=grid, hu=resample(subject.grid, smooth, grid, outside=-1024.0), labels=labels)


def flipped(subject: Subject) -> Subject:
    """Stored from the feet, and with every axis the other way round."""
    affine = subject.grid.affine.copy()
    last = np.array(subject.grid.shape) - 1
    affine[:3, 3] = subject.grid.to_world(last)
    affine[:3, :3] *= -1
    turned = (slice(None, None, -1),) * 3
    return replace(
        subject,
        grid=Grid(shape=subject.grid.shape, affine=affine),
        hu=subject.hu[turned].copy(),
        labels=subject.labels[turned].copy(),
    )


def scaled(factor: float) -> Callable[[Subject], Subject]:
    """A smaller or larger patient."""

    def change(subject: Subject) -> Subject:
        affine = subject.grid.affine.copy()
        affine[:3] *= factor
        return replace(subject, grid=Grid(shape=subject.grid.shape, affine=affine))

    return change


def cropped(low: float, high: float) -> Callable[[Subject], Subject]:
    """The part of the field between two heights, as parts of its length."""

    def change(subject: Subject) -> Subject:
        n = subject.grid.shape[0]
        rows = slice(round(low * n), round(high * n))
        affine = subject.grid.affine.copy()
        affine[:3, 3] = subject.grid.to_world((rows.start, 0, 0))
        grid = Grid(shape=(rows.stop - rows.start, *subject.grid.shape[1:]), affine=affine)
        return replace(subject, grid=grid, hu=subject.hu[rows].copy(), labels=subject.labels[rows].copy())

    return change


def osteopenic(subject: Subject) -> Subject:
    """Bone of 60 % its density."""
    bone = subject.mask(*BONES) & (subject.hu > 0)
    return replace(subject, hu=np.where(bone, subject.hu * 0.6, subject.hu))


def sclerotic(subject: Subject) -> Subject:
    """Marrow 250 HU denser in patches."""
    rng = np.random.default_rng(4)
    patches = ndimage.gaussian_filter(rng.standard_normal(subject.hu.shape), 4) > 0
    return replace(subject, hu=np.where(subject.mask(*BONES) & patches, np.minimum(subject.hu + 250, 1500), subject.hu))


def lytic(subject: Subject) -> Subject:
    """Sixty holes of 6 to 14 mm radius in bone, filled with tissue of 45 HU."""
    rng = np.random.default_rng(5)
    bone = subject.mask(*BONES)
    index = np.argwhere(bone)
    hu = subject.hu.copy()
    for centre in index[rng.integers(len(index), size=60)]:
        seed = np.zeros(subject.grid.shape, dtype=bool)
        seed[tuple(centre)] = True
        hole = dilate(subject.grid, seed, float(rng.uniform(6, 14))) & bone
        hu[hole] = 45 + 15 * rng.standard_normal(int(hole.sum()))
    return replace(subject, hu=hu)


def metal(subject: Subject) -> Subject:
    """A hip prosthesis at the right with streaks from it, and fillings in the teeth's place where there is a skull."""
    hu = subject.hu.copy()
    femur = subject.mask("femur_right")
    if not femur.any():
        return replace(subject, hu=hu)
    rows = np.flatnonzero(femur.any(axis=(1, 2)))
    top = rows[-1] if subject.grid.affine[2, 0] > 0 else rows[0]
    k, j, i = np.nonzero(femur & (np.abs(np.arange(femur.shape[0]) - top) < 100 / subject.grid.spacing[0])[:, None, None])
    implant = np.zeros_like(femur)
    implant[k, j, i] = True
    implant = erode(subject.grid, implant, 6.0)
    hu[implant] = 3000
    angle_j, angle_i = np.indices(femur.shape[1:])
    for row in np.flatnonzero(implant.any(axis=(1, 2))):
        cj, ci = np.argwhere(implant[row]).mean(axis=0)
        away = np.hypot(angle_j - cj, angle_i - ci) * subject.grid.spacing[1] + 10
        rays = np.sin(9 * np.arctan2(angle_j - cj, angle_i - ci))
        body = subject.hu[row] > -300
        hu[row] += np.where(body & ~implant[row], 12000 * rays / away * (np.abs(rays) > 0.6), 0)
    return replace(subject, hu=np.clip(hu, -1024, 3071))


def blanket(subject: Subject) -> Subject:
    """Cushions and a blanket around the body: -850 to -250 HU, 25 mm wide, touching it in front."""
    body = ndimage.binary_fill_holes(subject.hu > -300)
    ring = dilate(subject.grid, body, 25.0) & ~dilate(subject.grid, body, 6.0)
    folds = ndimage.gaussian_filter(np.random.default_rng(6).standard_normal(subject.hu.shape), 2)
    folds = -600 + 350 * folds / np.abs(folds).max()
    front = subject.grid.to_world(np.argwhere(body).mean(axis=0))[1]
    y = subject.grid.to_world(np.stack([np.zeros(body.shape[1]), np.arange(body.shape[1]), np.zeros(body.shape[1])], -1))[:, 1]
    contact = dilate(subject.grid, body, 12.0) & ~body & (y < front)[None, :, None]
    return replace(subject, hu=np.where(ring | contact, np.maximum(folds, subject.hu), subject.hu).astype(np.float32))


def without(*regions: str) -> Callable[[Subject], Subject]:
    """Organs taken out, fat in their place."""

    def change(subject: Subject) -> Subject:
        mask = dilate(subject.grid, subject.mask(*regions), 3.0) & (subject.mask(*regions) | (subject.labels == 0))
        hu = np.where(mask, -95 + 12 * np.random.default_rng(7).standard_normal(mask.shape), subject.hu)
        return replace(
            subject, hu=hu.astype(np.float32), labels=np.where(mask, 0, subject.labels).astype(np.int32), gone=regions
        )

    return change


def effusion(subject: Subject) -> Subject:
    """Water in the lower back half of the right chest; the lung's label ends there."""
    lung = subject.mask("lung_right")
    if not lung.any():
        return subject
    y, z = (subject.grid.to_world(np.argwhere(lung))[:, axis] for axis in (1, 2))
    world = subject.grid.to_world(np.argwhere(lung))
    flooded = (world[:, 2] < np.quantile(z, 0.45)) | ((world[:, 1] > np.quantile(y, 0.6)) & (world[:, 2] < np.quantile(z, 0.7)))
    hu, labels = subject.hu.copy(), subject.labels.copy()
    at = tuple(np.argwhere(lung)[flooded].T)
    hu[at] = 8 + 12 * np.random.default_rng(8).standard_normal(int(flooded.sum()))
    labels[at] = 0
    return replace(subject, hu=hu, labels=labels)


def ct_alone(subject: Subject) -> Subject:
    """No PET to help."""
    return replace(subject, petless=True)


VARIANTS: Mapping[str, Callable[[Subject], Subject]] = {
    "as it is": lambda subject: subject,
    "CT alone": ct_alone,
    "low dose": noisy,
    "arterial contrast": arterial,
    "venous contrast": venous,
    "oral contrast": oral,
    "5 mm slices": thick,
    "stored from the feet": flipped,
    "small patient": scaled(0.86),
    "large patient": scaled(1.15),
    "upper part": cropped(0.45, 1.0),
    "lower part": cropped(0.0, 0.55),
    "middle": cropped(0.25, 0.72),
    "osteopenia": osteopenic,
    "sclerosis": sclerotic,
    "lytic lesions": lytic,
    "metal": metal,
    "blanket": blanket,
    "one kidney": without("kidney_left"),
    "no spleen": without("spleen"),
    "effusion": effusion,
}

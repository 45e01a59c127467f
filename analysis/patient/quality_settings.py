"""The limits of every quality finding: section [quality] of the settings."""

from __future__ import annotations

from dataclasses import dataclass, fields

from analysis.errors import BadSettings

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """Limits of the findings, their sources in docs/METHOD.md 5. Pairs are (low, high); *_hold: held beyond it.

    The exchange of tracers: fdg_brain_liver: FDG's brain is at least so much hotter than the liver;
    pentixafor_brain_liver: PentixaFor's at most; pentixafor_spleen_liver: PentixaFor's spleen is above; min_brain_ml: less
    of the brain in the field says nothing. tracer_contrast: of spleen, brain, kidneys and bone together, 1 where both
    PETs show the same.
    Dose: held dose_hold_factor times beyond its range. mass_in_field: body mass on CT over the header's weight.
    activity_in_field: activity seen over activity injected; mean_suv: the same over the part of the mass in the field.
    Times: session_min: between the starts of CT and PET; max_gap_days: between both studies.
    Geometry: ct_coverage: the part of the PET's body that CT holds; truncation: the part of the slices whose body reaches
    the CT's edge; outline_dice: of the body on PET and on CT; slice_irregularity_mm: a PET slice beside its place.
    inside_organ: a lesion lies wholly in an organ from this part on. expected_organs: without them a warning.
    region_confidence: a region found with less is named.
    In a batch: batch_z: largest robust z; batch_min: earlier cases needed; batch_floor: least scale, as part of the median.
    """

    fdg_brain_liver: float = 2.0
    pentixafor_brain_liver: float = 0.5
    pentixafor_spleen_liver: float = 1.0
    min_brain_ml: float = 100.0
    tracer_contrast: float = 1.2
    tracer_contrast_hold: float = 0.75
    uptake_min: Range = (50.0, 75.0)
    uptake_hold_min: Range = (30.0, 150.0)
    uptake_difference_min: float = 15.0
    session_min: float = 60.0
    max_gap_days: int = 30
    fdg_half_life_s: Range = (6500.0, 6700.0)
    pentixafor_half_life_s: Range = (4000.0, 4120.0)
    fdg_dose_mbq: Range = (50.0, 750.0)
    pentixafor_dose_mbq: Range = (50.0, 300.0)
    fdg_dose_mbq_per_kg: Range = (1.0, 10.0)
    pentixafor_dose_mbq_per_kg: Range = (0.5, 6.0)
    dose_hold_factor: float = 5.0
    weight_kg: Range = (35.0, 180.0)
    height_m: Range = (1.35, 2.1)
    body_mass_index: Range = (14.0, 50.0)
    weight_change: float = 0.10
    height_change_m: float = 0.05
    mass_in_field: float = 1.1
    mass_in_field_hold: float = 1.3
    activity_in_field: float = 1.0
    activity_in_field_hold: float = 1.1
    mean_suv: Range = (0.5, 1.5)
    mean_suv_hold: Range = (0.2, 4.0)
    ct_coverage: float = 0.98
    ct_coverage_hold: float = 0.80
    truncation: float = 0.05
    outline_dice: float = 0.90
    pet_voxel_mm: float = 6.0
    slice_irregularity_mm: float = 1.0
    bone_dice: float = 0.70
    bone_dice_hold: float = 0.40
    body_dice: float = 0.90
    body_dice_hold: float = 0.70
    displacement_p95_mm: float = 40.0
    common_field: float = 0.80
    common_field_hold: float = 0.30
    expected_organs: tuple[str, ...] = ("liver", "spleen")
    region_confidence: float = 0.4
    liver_ml: Range = (700.0, 3000.0)
    spleen_ml: Range = (50.0, 700.0)
    kidney_ml: Range = (60.0, 400.0)
    brain_ml: Range = (900.0, 1800.0)
    lung_ml: Range = (600.0, 4500.0)
    fdg_liver: Range = (1.3, 3.0)
    pentixafor_liver: Range = (1.0, 4.0)
    fdg_spleen: Range = (0.8, 3.0)
    pentixafor_spleen: Range = (1.5, 12.0)
    fdg_liver_noise: float = 0.15
    pentixafor_liver_noise: float = 0.20
    max_lesions: int = 200
    max_volume_ml: float = 3000.0
    inside_organ: float = 0.99
    batch_z: float = 3.5
    batch_min: int = 8
    batch_floor: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "Range" and not value[0] <= value[1]:
                raise BadSettings(f"quality: {field.name} is {value}; the first number is the lower limit")
        if self.dose_hold_factor < 1 or self.batch_z <= 0 or self.batch_floor <= 0 or self.batch_min < 3:
            raise BadSettings(
                "quality: dose_hold_factor must be 1 or more, batch_z and batch_floor above 0 and batch_min 3 or more"
            )

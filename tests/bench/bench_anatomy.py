"""Anatomy by rules against known anatomy: Dice of each region, its confidence, and spheres that are swallowed.

The real CT is the shared one with TotalSegmentator's labels (a torso from T11 to the thighs); the digital patients are whole.
Both appear as they are and altered by what befalls real ones. There is no peer without weights: beside each figure stands that
of the rules' version 1, measured once on the same subjects. `bench_anatomy.py [quick]`: the real CT alone.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from anatomy_spheres import swallowed
from anatomy_subjects import FOREARM, VARIANTS, Subject, phantom, real_ct
from results import Figure, keep

from analysis.segmenters.rules_anatomy import RuleAnatomy
from analysis.values import Anatomy, BoolArray, Tracer

REGIONS = (
    "skeleton", "lungs", "liver", "spleen", "kidney_left", "kidney_right", "heart", "urinary_bladder", "brain", "aorta",
)  # fmt: skip
TARGETS = {"skeleton": 0.85, "lungs": 0.9, "liver": 0.85, "spleen": 0.8, "kidney_left": 0.8, "kidney_right": 0.8, "heart": 0.8}
TARGETS |= {"urinary_bladder": 0.8}
LEAST_ML = 20.0
# Version 1 of the rules on the same subjects: (subject, variant) > Dice in the order of REGIONS; None: not in the field.
BEFORE: dict[tuple[str, str], tuple[float | None, ...]] = {
    ("real CT", "as it is"): (0.91, 0.0, 0.86, 0.93, 0.83, 0.89, None, 0.85, None, 0.0),
    ("real CT", "CT alone"): (0.91, 0.0, 0.86, 0.81, 0.0, 0.0, None, 0.0, None, 0.0),
    ("real CT", "low dose"): (0.88, 0.0, 0.86, 0.91, 0.83, 0.91, None, 0.85, None, 0.0),
    ("real CT", "arterial contrast"): (0.80, 0.0, 0.88, 0.94, 0.01, 0.09, None, 0.85, None, 0.0),
    ("real CT", "venous contrast"): (0.76, 0.0, 0.89, 0.94, 0.01, 0.09, None, 0.85, None, 0.0),
    ("real CT", "oral contrast"): (0.60, 0.0, 0.83, 0.92, 0.77, 0.71, None, 0.87, None, 0.0),
    ("real CT", "5 mm slices"): (0.84, 0.0, 0.84, 0.90, 0.83, 0.90, None, 0.85, None, 0.0),
    ("real CT", "stored from the feet"): (0.91, 0.0, 0.86, 0.93, 0.83, 0.89, None, 0.85, None, 0.0),
    ("real CT", "small patient"): (0.86, 0.0, 0.84, 0.90, 0.79, 0.0, None, 0.0, None, 0.0),
    ("real CT", "large patient"): (0.86, 0.0, 0.84, 0.90, 0.84, 0.72, None, 0.85, None, 0.0),
    ("real CT", "upper part"): (0.88, 0.0, 0.86, 0.93, 0.83, 0.89, None, None, None, 0.0),
    ("real CT", "lower part"): (0.91, None, None, None, None, None, None, 0.86, None, None),
    ("real CT", "middle"): (0.89, None, 0.0, None, 0.89, 0.89, None, 0.64, None, 0.0),
    ("real CT", "osteopenia"): (0.71, 0.0, 0.86, 0.92, 0.67, 0.90, None, 0.85, None, 0.0),
    ("real CT", "sclerosis"): (0.94, 0.0, 0.87, 0.93, 0.83, 0.91, None, 0.86, None, 0.0),
    ("real CT", "lytic lesions"): (0.85, 0.0, 0.86, 0.92, 0.83, 0.87, None, 0.84, None, 0.0),
    ("real CT", "metal"): (0.86, 0.0, 0.86, 0.93, 0.83, 0.89, None, 0.83, None, 0.0),
    ("real CT", "blanket"): (0.91, 0.0, 0.86, 0.93, 0.83, 0.89, None, 0.85, None, 0.0),
    ("phantom 3", "as it is"): (0.90, 0.98, 0.80, 0.93, 0.89, 0.90, 0.80, 0.80, 0.97, 0.23),
    ("phantom 3", "low dose"): (0.86, 0.98, 0.82, 0.91, 0.89, 0.90, 0.79, 0.80, 0.0, 0.25),
    ("phantom 3", "arterial contrast"): (0.84, 0.98, 0.86, 0.79, 0.74, 0.84, 0.57, 0.80, 0.97, 0.0),
    ("phantom 3", "venous contrast"): (0.83, 0.98, 0.89, 0.90, 0.72, 0.84, 0.27, 0.80, 0.97, 0.0),
    ("phantom 3", "upper part"): (0.87, 0.98, 0.80, 0.93, 0.81, 0.0, 0.80, None, 0.96, 0.28),
    ("phantom 3", "lower part"): (0.93, 0.68, 0.78, 0.93, 0.89, 0.90, 0.0, 0.80, None, 0.04),
    ("phantom 3", "lytic lesions"): (0.85, 0.98, 0.80, 0.93, 0.89, 0.90, 0.80, 0.80, 0.73, 0.23),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One region of one subject. truth_ml, found_ml; dice; confidence: None where it is not told."""

    subject: str
    variant: str
    region: str
    truth_ml: float
    found_ml: float
    dice: float
    confidence: float | None


def truth_of(subject: Subject, region: str) -> BoolArray:
    return subject.skeleton() if region == "skeleton" else subject.mask("lung_" if region == "lungs" else region)


def found_of(subject: Subject, anatomy: Anatomy, region: str) -> BoolArray:
    if region == "skeleton":
        return np.asarray((anatomy.bone >= 0.5) & ~subject.mask(*FOREARM))
    return anatomy.regions.mask("lung_left", "lung_right") if region == "lungs" else anatomy.regions.mask(region)


def rows(subject: Subject, variant: str) -> Iterator[Row]:
    """Each region that is there, or was found without being there."""
    changed = VARIANTS[variant](subject)
    anatomy = RuleAnatomy().of_study(changed.pair(), Tracer.FDG)
    for region in REGIONS:
        true, found = truth_of(changed, region), found_of(changed, anatomy, region)
        ml = changed.grid.voxel_ml
        confidence = anatomy.confidence.get("lung_left" if region == "lungs" else region)
        if true.sum() * ml >= LEAST_ML or found.sum() * ml >= LEAST_ML:
            yield Row(
                subject=subject.name,
                variant=variant,
                region=region,
                truth_ml=true.sum() * ml,
                found_ml=found.sum() * ml,
                dice=float(2 * (true & found).sum() / max(1, true.sum() + found.sum())),
                confidence=confidence if found.any() else None,
            )


def figures(all_rows: list[Row]) -> Iterator[Figure]:
    """A figure a region of each subject and variant."""
    for row in all_rows:
        before = dict(zip(REGIONS, BEFORE.get((row.subject, row.variant), ()), strict=False)).get(row.region)
        target = TARGETS.get(row.region)
        told = "" if row.confidence is None else f", confidence {row.confidence:.2f}"
        yield Figure(
            what=f"{row.subject}, {row.variant}: {row.region.replace('_', ' ')}{told}",
            ours=row.dice,
            unit="Dice",
            peer="" if before is None else "version 1",
            theirs=before,
            target="" if target is None else f">= {target:g}",
            met=None if target is None else row.dice >= target,
        )


def calibration(all_rows: list[Row]) -> Iterator[Figure]:
    """Mean Dice of what was found, by confidence."""
    told = [(row.confidence, row.dice) for row in all_rows if row.confidence is not None and row.region != "lungs"]
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1.01)):
        dice = [d for c, d in told if low <= c < high]
        if dice:
            yield Figure(
                what=f"mean Dice where the confidence is {low:g} to {min(high, 1.0):g} ({len(dice)} regions)",
                ours=float(np.mean(dice)),
                unit="Dice",
            )


def spheres(subjects: list[tuple[Subject, int]]) -> Iterator[Figure]:
    """Spheres of which less than half was found, by place."""
    lost: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for subject, seed in subjects:
        for _, sphere, part in swallowed(subject, seed):
            lost[sphere.place][0] += part < 0.5
            lost[sphere.place][1] += 1
    for place, (gone, count) in lost.items():
        yield Figure(what=f"spheres not found: {place}, of {count}", ours=gone, unit="spheres")


def main(quick: bool) -> None:
    real = real_ct()
    subjects = [subject for subject in (real, *(() if quick else (phantom(3), phantom(7)))) if subject is not None]
    found = [row for subject in subjects for variant in VARIANTS for row in rows(subject, variant)]
    note = (
        "Dice with TotalSegmentator's labels (real CT, T11 to thighs) or the phantom's own; bones closed by 4 mm. "
        "PETs have the usual uptake of each organ, PentixaFor 3 mm beside; `CT alone`: constant PETs."
    )
    keep("Anatomy by rules", [*figures(found), *calibration(found)], note)
    seeded = [(subject, seed) for subject in subjects for seed in (1, 2)]
    keep("Anatomy by rules: spheres", list(spheres(seeded)), "SUV 7 to 20, radius 6 to 12 mm, in both PETs at one place.")


if __name__ == "__main__":
    main(quick=sys.argv[1:] == ["quick"])

"""Spheres of uptake in a real CT, seen by both tracers through a known deformation: what the whole analysis makes of them.

The CT is real, its organs are those of TotalSegmentator's labels, each with the usual uptake of METHOD.md 6; the second scan is
the first one through an analytic map. A third of the spheres is seen on both tracers, a third on each alone; half lie in bone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from anatomy_subjects import Subject, real_ct
from registration_cases import Map, random_map
from results import Figure, keep
from scipy import ndimage

from analysis.grids import centres
from analysis.patient.pipeline import analyse
from analysis.values import Body, BoolArray, FloatArray, LesionSet, PatientAnalysis, PetCt, Tracer, Unit, Volume

SEEDS = range(4)
REACHES_MM = (10.0, 20.0, 30.0, 40.0)
SPHERES = 15
LEAST_GAP_MM = 25.0
KINDS = ((True, True), (True, False), (False, True))  # seen by FDG, by PentixaFor
AVOIDED = ("kidney", "urinary_bladder", "brain", "heart", "liver", "spleen", "aorta", "lung")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sphere:
    """centre in the FDG frame (LPS mm), radius in mm, SUV; bone: the part of its volume that lies in the labels' skeleton."""

    centre: FloatArray
    radius_mm: float
    suv: float
    seen: tuple[bool, bool]
    bone: float

    def inside(self, places: FloatArray) -> BoolArray:
        return np.asarray(np.linalg.norm(places - self.centre, axis=-1) <= self.radius_mm)

    def on(self, tracer: Tracer) -> bool:
        return self.seen[0 if tracer is Tracer.FDG else 1]


def placed(subject: Subject, rng: np.random.Generator) -> list[Sphere]:
    """Spheres well apart, in bone and in soft tissue by turns, outside the organs that are hot or cold by themselves."""
    skeleton, places = subject.skeleton(), centres(subject.grid)
    soft = (ndimage.gaussian_filter(subject.hu, 1.0) > 0) & ~skeleton & ~subject.mask(*AVOIDED)
    inner = np.zeros(subject.grid.shape, dtype=bool)
    inner[12:-12, 12:-12, 12:-12] = True
    choices = [np.argwhere(mask & inner) for mask in (skeleton, soft)]
    found: list[Sphere] = []
    while len(found) < SPHERES:
        options = choices[len(found) % 2]
        centre = subject.grid.to_world(options[rng.integers(len(options))])
        if any(np.linalg.norm(centre - each.centre) < LEAST_GAP_MM + each.radius_mm for each in found):
            continue
        sphere = Sphere(
            centre=centre,
            radius_mm=float(rng.uniform(8, 14)),
            suv=float(rng.uniform(7, 20)),
            seen=KINDS[len(found) // 2 % 3],
            bone=0.0,
        )
        found.append(replace(sphere, bone=float(skeleton[sphere.inside(places)].mean())))
    return found


def seen_through(subject: Subject, truth: Map) -> Subject:
    """The same patient in the other frame: each voxel looks up its place in the first scan."""
    index = np.moveaxis(subject.grid.to_index(truth(centres(subject.grid))), -1, 0)
    hu = ndimage.map_coordinates(subject.hu, index, order=1, cval=-1024.0)
    labels = ndimage.map_coordinates(subject.labels, index, order=0, cval=0)
    return replace(subject, hu=hu.astype(np.float32), labels=labels)


def study(subject: Subject, tracer: Tracer, spheres: Sequence[Sphere], places: FloatArray) -> PetCt:
    """PET and CT of one tracer; places: where each voxel lies in the FDG frame."""
    suv = subject.suv(tracer)
    sigma = [6.0 / 2.3548 / step for step in subject.grid.spacing]
    for sphere in spheres:
        if sphere.on(tracer):
            blurred = ndimage.gaussian_filter(sphere.inside(places).astype(np.float32), sigma)
            suv = suv * (1 - blurred) + sphere.suv * blurred
    noise = np.random.default_rng(int(tracer is Tracer.FDG)).normal(0, 12, subject.grid.shape)
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=subject.grid, values=suv.astype(np.float32), unit=Unit.SUV),
        ct=Volume(grid=subject.grid, values=(subject.hu + noise).astype(np.float32), unit=Unit.HU),
        body=Body(weight_kg=75.0, height_m=1.75),
    )


@dataclass(slots=True, kw_only=True)
class Score:
    """Counts over all patients, by tracer and sphere."""

    asked: int = 0
    found: int = 0
    site: int = 0
    site_asked: int = 0
    concordance: int = 0
    uncertain: int = 0
    false_ml: float = 0.0
    false: int = 0


def judge(score: Score, analysis: PatientAnalysis, spheres: Sequence[Sphere], places: dict[Tracer, FloatArray]) -> None:
    for tracer in Tracer:
        found, hit = analysis.lesions[tracer], set()
        for n, sphere in enumerate(spheres):
            if not sphere.on(tracer):
                continue
            score.asked += 1
            label = _label(found, sphere, places[tracer])
            if not label:
                print(f"  {tracer} sphere {n}: missed, r {sphere.radius_mm:.0f} mm, bone {sphere.bone:.2f}")  # noqa: T201
                continue
            hit.add(label)
            _judge_lesion(score, analysis, found, label, sphere)
        for lesion in found.lesions:
            here = places[tracer][found.labelmap.labels == lesion.label]
            touched = any(sphere.on(tracer) and sphere.inside(here).any() for sphere in spheres)
            if lesion.label not in hit and not touched:
                score.false += 1
                score.false_ml += lesion.volume_ml
                print(f"  {tracer} {lesion.id}: no sphere, {lesion.volume_ml:.1f} ml, {lesion.region}")  # noqa: T201


def _label(found: LesionSet, sphere: Sphere, places: FloatArray) -> int:
    labels = found.labelmap.labels[sphere.inside(places)]
    counts = np.bincount(labels)
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0


def _judge_lesion(score: Score, analysis: PatientAnalysis, found: LesionSet, label: int, sphere: Sphere) -> None:
    lesion = found.lesions[label - 1]
    site = analysis.match_of(lesion)
    score.found += 1
    if not 0.05 < sphere.bone < 0.2:  # nearer to the limit of 10 % the voxels of the labels decide
        score.site_asked += 1
        right = (lesion.site == "medullary") == (sphere.bone >= 0.1)
        score.site += right
        if not right:
            print(f"  {found.tracer} {lesion.id}: bone {sphere.bone:.2f}, found {lesion.bone_fraction:.2f}, {lesion.region}")  # noqa: T201
    wanted = "concordant" if all(sphere.seen) else "discordant"
    score.concordance += site.concordance == wanted
    score.uncertain += not site.certain
    if site.concordance != wanted:
        print(f"  {found.tracer} {lesion.id}: {wanted}, called {site.concordance}, certain {site.certain}")  # noqa: T201


def main() -> int:
    torso = real_ct()
    if torso is None:
        print("inputs absent: ../shared/data")  # noqa: T201
        return 0
    score = Score()
    for seed, reach in zip(SEEDS, REACHES_MM, strict=True):
        rng = np.random.default_rng([7, seed])
        middle = torso.grid.to_world((np.array(torso.grid.shape) - 1) / 2)
        extent = np.array(torso.grid.shape)[::-1] * np.array(torso.grid.spacing)[::-1]
        truth = random_map(rng, reach, middle, extent)
        spheres = placed(torso, rng)
        own = centres(torso.grid)
        places = {Tracer.FDG: own, Tracer.PENTIXAFOR: truth(own)}
        subjects = {Tracer.FDG: torso, Tracer.PENTIXAFOR: seen_through(torso, truth)}
        studies = {t: study(subjects[t], t, spheres, places[t]) for t in Tracer}
        analysis = analyse(studies[Tracer.FDG], studies[Tracer.PENTIXAFOR])
        print(f"seed {seed}, {reach:.0f} mm: registration error {analysis.aligned.quality.error_mm:.1f} mm")  # noqa: T201
        judge(score, analysis, spheres, places)
    per = 1.0 / len(SEEDS)
    figures = [
        Figure(what="spheres found", ours=100 * score.found / score.asked, unit="%"),
        Figure(what="medullary or not, as the labels say", ours=100 * score.site / score.site_asked, unit="%"),
        Figure(what="concordance right", ours=100 * score.concordance / score.found, unit="%"),
        Figure(what="marked uncertain", ours=100 * score.uncertain / score.found, unit="%"),
        Figure(what="other lesions a pair", ours=score.false * per, unit=""),
        Figure(what="their volume a pair", ours=score.false_ml * per, unit="ml"),
    ]
    note = f"{len(SEEDS)} pairs made of one real CT, {score.asked} spheres of 8 to 14 mm radius, deformations of 10 to 40 mm."
    keep("Spheres in a real CT", figures, note)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A digital dual-tracer patient with known answers.

    settings > body parts > lesions > scan one (FDG) as it is, scan two (PentixaFor) through a known motion > truth

Every value is computed from analytic shapes, so the truth holds no interpolation error; the same seed gives the same
patient bit for bit. The names of `truth` follow those of the shared real pair.
"""

from __future__ import annotations

import numpy as np

from analysis.phantom.body import Part, body_parts
from analysis.phantom.field import BodyFrame
from analysis.phantom.lesions import Ground, Placer, TrueLesion, mixture
from analysis.phantom.motion import Motion, random_motion
from analysis.phantom.scan import Scanner
from analysis.phantom.traps import Trap, trap_lesions
from analysis.phantom.truth import truth_of
from analysis.phantom.values import FIELD_Z, TRUNCATED_Z, DigitalPatient, Patient, PhantomSettings, stream
from analysis.values import Body, Tracer

FIELD_MARGIN_MM = 32.0  # lesions stay that far from the ends: scan two's ends lie a little elsewhere
REFERENCE = (1.75, 75.0)  # height in m and weight in kg that the body's parts are drawn for
KG_PER_MM_FAT = 1.75
MANY = 109  # the paper's largest lesion load


def make_patient(settings: PhantomSettings) -> DigitalPatient:
    """The digital patient of these settings; raises BadSettings where they cannot be met."""
    patient = _conceive(settings)
    scans = {tracer: Scanner(patient, tracer).scan() for tracer in Tracer}
    studies = {tracer: scan.study for tracer, scan in scans.items()}
    return DigitalPatient(
        settings=settings,
        fdg=studies[Tracer.FDG],
        pentixafor=studies[Tracer.PENTIXAFOR],
        truth=truth_of(patient, studies),
        lesions={tracer: scan.lesions for tracer, scan in scans.items()},
        organs={tracer: scan.organs for tracer, scan in scans.items()},
        ct_organs={tracer: scan.ct_organs for tracer, scan in scans.items()},
        motion=patient.motion,
    )


def _conceive(settings: PhantomSettings) -> Patient:
    rng = stream(settings.seed, "body")
    body = _body(settings, rng)
    height_m = body.height_m or REFERENCE[0]
    scale = height_m / REFERENCE[0]
    fat_mm = float(np.clip((body.weight_kg - REFERENCE[1] * scale**3) / KG_PER_MM_FAT, -5.0, 45.0))
    parts = body_parts(arms=_arms(settings, rng), extra_fat_mm=fat_mm)
    frame = BodyFrame(scale=scale, origin=np.round(rng.uniform([-6, -40, -700], [6, -10, -500]), 1))
    motion = Motion(rigid=np.eye(4))
    if not settings.still:
        motion = random_motion(stream(settings.seed, "motion"), settings.deformation_mm, frame.to_fdg((0, 0, 120)))
    lesions = _lesions(settings, parts, frame)
    return Patient(settings=settings, body=body, fat_mm=fat_mm, parts=parts, frame=frame, motion=motion, lesions=lesions)


def _body(settings: PhantomSettings, rng: np.random.Generator) -> Body:
    sex = "MF"[int(rng.integers(2))]
    sex = settings.sex or sex
    height = round(float(np.clip(rng.normal(1.77 if sex == "M" else 1.64, 0.07), 1.5, 1.98)), 2)
    height = height if settings.height_m is None else settings.height_m
    weight = round(float(np.clip(rng.normal(26.0, 4.0), 18.5, 38.0) * height**2), 1)
    return Body(weight_kg=weight if settings.weight_kg is None else settings.weight_kg, height_m=height, sex=sex)


def _arms(settings: PhantomSettings, rng: np.random.Generator) -> str:
    drawn = "up" if rng.random() < 0.7 else "down"
    if Trap.ARMS_UP in settings.traps:
        return "up"
    return "down" if Trap.ARMS_DOWN in settings.traps else settings.arms or drawn


def _lesions(settings: PhantomSettings, parts: list[Part], frame: BodyFrame) -> list[TrueLesion]:
    rng = stream(settings.seed, "lesions")
    low, high = (float(frame.to_fdg((0, 0, z))[2]) for z in FIELD_Z)
    truncated = Trap.TRUNCATED_FIELD in settings.traps
    cuts = tuple(float(frame.to_fdg((0, 0, z))[2]) for z in TRUNCATED_Z) if truncated else ()
    ground = Ground(parts=parts, frame=frame, low_z=low + FIELD_MARGIN_MM, high_z=high - FIELD_MARGIN_MM, cuts=cuts)
    number = _number(settings, rng)
    taken = trap_lesions(settings.traps, ground)
    drawn = Placer(ground, settings.placing, rng).place(mixture(number), taken) if number else []
    return [*taken, *drawn]


def _number(settings: PhantomSettings, rng: np.random.Generator) -> int:
    """How many lesions are drawn by chance: by trap, by setting, or by the seed (0 to 109, half of them above 28)."""
    drawn = int(np.clip(np.exp(rng.normal(np.log(28), 0.8)), 0, MANY)) * int(rng.random() > 0.04)
    named = {Trap.NO_LESION: 0, Trap.ONE_LESION: 1, Trap.MANY_LESIONS: MANY}
    return next(
        (n for trap, n in named.items() if trap in settings.traps), drawn if settings.lesions is None else settings.lesions
    )

"""What is known of a phantom, as a plain dictionary for truth.json."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from analysis.phantom.body import TISSUES
from analysis.phantom.lesions import Ball, TrueLesion, filled_ball
from analysis.phantom.motion import Motion
from analysis.phantom.values import Patient
from analysis.values import PetCt, Tracer

POINTS = 1500  # in each lesion, for its volume and centroid in scan two
ORGANS = ("spleen", "liver", "aorta", "brain", "kidney", "bladder", "heart")


def truth_of(patient: Patient, studies: Mapping[Tracer, PetCt]) -> dict[str, Any]:
    """The patient's truth. "swapped": FDG's images stand in the PentixaFor study and the reverse; all other entries are
    of the patient, not of what the studies claim to be."""
    lesions = [_lesion(lesion, patient.motion, studies) for lesion in patient.lesions]
    height_m = patient.body.height_m or 0.0
    return {
        "patient_id": f"PHANTOM-{patient.settings.seed:03d}",
        "seed": patient.settings.seed,
        "traps": sorted(trap.value for trap in patient.settings.traps),
        "swapped": patient.swapped,
        "noise": patient.settings.noise,
        "blur": patient.settings.blur,
        "weight_kg": patient.body.weight_kg,
        "height_m": patient.body.height_m,
        "sex": patient.body.sex,
        "bsa_m2": du_bois(patient.body.weight_kg, height_m),
        "sDmax": {t.bracket: _spread(lesions, t, du_bois(patient.body.weight_kg, height_m)) for t in Tracer},
        **{organ: {t.bracket: float(getattr(TISSUES[organ], t.name.lower())) for t in Tracer} for organ in ORGANS},
        "motion": _motion(patient),
        "lesions": lesions,
    }


def du_bois(weight_kg: float, height_m: float) -> float:
    """Body surface in m2 (Du Bois and Du Bois 1916; height in cm there)."""
    return float(0.007184 * weight_kg**0.425 * (100 * height_m) ** 0.725)


def _lesion(lesion: TrueLesion, motion: Motion, studies: Mapping[Tracer, PetCt]) -> dict[str, Any]:
    fdg, pentixafor = lesion.balls.get(Tracer.FDG), lesion.balls.get(Tracer.PENTIXAFOR)
    here, there = fdg or lesion.any_ball, pentixafor or lesion.any_ball
    volume_ml, centroid = _seen(there, motion)
    comparable = all(bool(_covered(studies[t], c)) for t, c in ((Tracer.FDG, here.centre), (Tracer.PENTIXAFOR, centroid)))
    return {
        "id": lesion.number,
        "site": lesion.site.value,
        "region": lesion.region,
        "bone_fraction": round(lesion.bone_fraction, 4),
        "fdg_suv": fdg.suv if fdg else None,
        "pentixafor_suv": pentixafor.suv if pentixafor else None,
        "radius_mm": here.radius,
        "volume_ml": _volume_ml(here),
        "volume_pentixafor_ml": volume_ml,
        "centre_fdg_mm": [float(c) for c in here.centre],
        "centre_pentixafor_mm": centroid,
        "concordance": "concordant" if fdg and pentixafor else "fdg_only" if fdg else "pentixafor_only",
        "comparable": comparable,
        "overlap": lesion.overlap,
        "trap": lesion.trap,
    }


def _volume_ml(ball: Ball) -> float:
    return float(4 / 3 * np.pi * ball.radius**3 / 1000)


def _seen(ball: Ball, motion: Motion) -> tuple[float, list[float]]:
    """Volume in ml and centroid in mm of a ball of scan one as it lies in scan two."""
    points = motion.to_pentixafor(np.asarray(ball.centre) + ball.radius * filled_ball(POINTS))
    share = 1.0 / motion.growth(points)
    centroid = share @ points / share.sum()
    return _volume_ml(ball) * float(share.mean()), [float(c) for c in centroid]


def _covered(study: PetCt, place: Any) -> bool:
    return bool(study.pet.grid.contains(place) & study.ct.grid.contains(place))


def _spread(lesions: list[dict[str, Any]], tracer: Tracer, surface_m2: float) -> float | None:
    """sDmax in 1/m: None without a lesion, 0 with one."""
    name = tracer.name.lower()
    shown = [x for x in lesions if x[f"{name}_suv"] is not None and (tracer is Tracer.FDG or x["comparable"])]
    centres = [np.array(x[f"centre_{name}_mm"]) for x in shown]
    if not centres:
        return None
    farthest = max((float(np.linalg.norm(a - b)) for a, b in combinations(centres, 2)), default=0.0)
    return farthest / 1000 / surface_m2


def _motion(patient: Patient) -> dict[str, Any]:
    """The map of PentixaFor to FDG coordinates: x -> R x + t + sum of a cos(2 pi x/lx + px) cos(...) cos(...)."""
    waves = [{"amplitude_mm": w.amplitude, "length_mm": w.length, "phase": w.phase} for w in patient.motion.waves]
    return {"rigid": patient.motion.rigid.tolist(), "waves": waves}

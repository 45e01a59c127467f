"""Whether PET and CT of one study fit each other: frame, coverage, outline, arms cut off, and how finely PET is sampled."""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.patient.quality_body import SeenBody
from analysis.patient.quality_case import QualityCase, clipped, graded
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, PetCt, Tracer, Verdict


def geometry(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """How PET and CT of either study lie to each other, and the PET's voxels."""
    for study in case.studies():
        body = case.body[study.tracer]
        yield _coverage(study.tracer, body, settings)
        yield _outline(study.tracer, body, settings)
        yield _truncation(study.tracer, body, settings)
        yield _voxels(study, settings)
        yield from _irregularity(study, settings)
    yield from _scanners(case)


def _coverage(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    share = body.covered
    verdict = graded(share, share >= settings.ct_coverage, share < settings.ct_coverage_hold)
    ends = "" if verdict is Verdict.OK else "; beyond it neither attenuation nor anatomy is known"
    return Finding(
        name=f"{tracer} CT coverage",
        value=clipped(share),
        limit=f">= {settings.ct_coverage:g}, hold below {settings.ct_coverage_hold:g}",
        verdict=verdict,
        message=f"The CT holds {share:.1%} of the body that the PET of {tracer} shows ({body.axial:.1%} along the body){ends}.",
    )


def _outline(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    dice = body.outline_dice
    limit, name = f">= {settings.outline_dice:g}", f"{tracer} PET to CT outline"
    if not math.isfinite(dice):
        message = f"The PET of {tracer} shows no outline of a body that could be compared with the CT."
        return Finding(name=name, value=None, limit=limit, verdict=Verdict.WARN, message=message)
    verdict = graded(dice, dice >= settings.outline_dice, hold=False)
    ends = "agree" if verdict is Verdict.OK else "disagree, so the patient may have moved between them"
    message = f"The body's outlines on PET and CT of {tracer} {ends} (Dice {dice:.2f})."
    return Finding(name=name, value=clipped(dice), limit=limit, verdict=verdict, message=message)


def _truncation(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    share = body.truncation
    verdict = Verdict.OK if share <= settings.truncation else Verdict.WARN
    ends = "" if verdict is Verdict.OK else ": arms or flanks are cut off, and SUV there and beside are too low"
    return Finding(
        name=f"{tracer} CT truncation",
        value=clipped(share),
        limit=f"<= {settings.truncation:g}",
        verdict=verdict,
        message=f"In {share:.0%} of its slices the body reaches the edge of the CT of {tracer}{ends}.",
    )


def _voxels(study: PetCt, settings: QualitySettings) -> Finding:
    edge = max(study.pet.grid.spacing)
    fine = edge <= settings.pet_voxel_mm + 1e-3
    ends = "fine enough" if fine else "so small lesions are measured too pale and too large"
    return Finding(
        name=f"{study.tracer} PET voxel",
        value=clipped(edge),
        limit=f"<= {settings.pet_voxel_mm:g} mm",
        verdict=Verdict.OK if fine else Verdict.WARN,
        message=f"The PET voxels of {study.tracer} measure up to {edge:.2f} mm, {ends}.",
    )


def _irregularity(study: PetCt, settings: QualitySettings) -> Iterator[Finding]:
    beside = study.facts.get("pet_slice_irregularity_mm")
    if beside is None:
        return
    even = beside <= settings.slice_irregularity_mm
    ends = "an even grid" if even else "so volumes and places are uncertain there"
    yield Finding(
        name=f"{study.tracer} PET slices",
        value=clipped(float(beside)),
        limit=f"<= {settings.slice_irregularity_mm:g} mm",
        verdict=Verdict.OK if even else Verdict.WARN,
        message=f"PET slices of {study.tracer} lie up to {beside:.2f} mm beside their place, {ends}.",
    )


def _scanners(case: QualityCase) -> Iterator[Finding]:
    """Which scanner and reconstruction made either PET, and whether they are one."""
    names = {s.tracer: _scanner(s) for s in case.studies() if "manufacturer" in s.facts}
    for tracer, name in names.items():
        yield Finding(
            name=f"{tracer} scanner",
            value=name or None,
            limit="named",
            verdict=Verdict.OK if name else Verdict.WARN,
            message=f"{tracer} was measured on {name}." if name else f"The header does not name the scanner of {tracer}.",
        )
    if len(names) == 2 and all(names.values()):
        same = len(set(names.values())) == 1
        ends = (
            "one scanner and reconstruction"
            if same
            else "different scanners or reconstructions, so compare their SUV with care"
        )
        yield Finding(
            name="scanners",
            value="same" if same else "different",
            limit="same",
            verdict=Verdict.OK if same else Verdict.WARN,
            message=f"Both tracers were measured with {ends}." if same else f"The tracers were measured with {ends}.",
        )


def _scanner(study: PetCt) -> str:
    """Maker, model and reconstruction, as far as the header names them."""
    words = (str(study.facts.get(key) or "").strip() for key in ("manufacturer", "model", "reconstruction"))
    return ", ".join(word for word in words if word)

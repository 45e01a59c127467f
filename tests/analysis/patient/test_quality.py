"""Findings of whole pairs: a good one has only good findings, and what images alone can tell is told."""

from __future__ import annotations

from typing import Any

import pytest
from bodies import CENTRES, REACH, ball, body_anatomy, body_ct, body_pet, body_study, grid_of

from analysis.patient.quality import check
from analysis.patient.quality_registration import field_shares
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Anatomy, Concordance, Finding, LesionMatch, PetCt, Tracer, Verdict

SETTINGS = QualitySettings()


def scan(tracer: Tracer, shown: Tracer | None = None, organs: Any = tuple(CENTRES), **more: Any) -> tuple[PetCt, Anatomy]:
    """A study with liver, spleen and brain; shown: whose uptake they have."""
    study = body_study(tracer, shown=shown, **more)
    return study, body_anatomy(study.pet.grid, organs)


def findings(make: Any, fdg: Any = None, pentixafor: Any = None, settings: Any = SETTINGS, **more: Any) -> dict[str, Finding]:
    studies = {Tracer.FDG: fdg or scan(Tracer.FDG), Tracer.PENTIXAFOR: pentixafor or scan(Tracer.PENTIXAFOR)}
    lesions = more.pop("lesions", {t: make.lesions(t, s.pet.grid) for t, (s, _) in studies.items()})
    matches = more.pop("matches", [])
    pair = make.pair(studies[Tracer.FDG][0], studies[Tracer.PENTIXAFOR][0], **more)
    found = check(pair, {t: a for t, (_, a) in studies.items()}, lesions, matches, settings)
    assert all(f.message.endswith(".") for f in found)
    return {f.name: f for f in found}


def test_a_good_pair_has_only_good_findings(make: Any) -> None:
    found = findings(make)
    assert {f.verdict for f in found.values()} == {Verdict.OK}
    assert found["FDG brain to liver"].value == pytest.approx(7.0 / 1.9, abs=2e-3)
    assert found["PentixaFor spleen to liver"].value == pytest.approx(6.0 / 1.7, abs=2e-3)
    assert found["FDG liver SUVmean"].value == pytest.approx(1.9)


def test_exchanged_tracers_are_held(make: Any) -> None:
    exchanged = scan(Tracer.FDG, Tracer.PENTIXAFOR), scan(Tracer.PENTIXAFOR, Tracer.FDG)
    found = findings(make, *exchanged)
    for name in ("FDG brain to liver", "PentixaFor brain to liver", "PentixaFor spleen to liver"):
        assert found[name].verdict is Verdict.HOLD


def test_exchanged_tracers_are_held_without_a_brain_in_the_field(make: Any) -> None:
    torso = ("liver", "spleen")
    exchanged = scan(Tracer.FDG, Tracer.PENTIXAFOR, torso), scan(Tracer.PENTIXAFOR, Tracer.FDG, torso)
    found = findings(make, *exchanged)
    assert "FDG brain to liver" not in found
    assert found["PentixaFor spleen to liver"].verdict is Verdict.HOLD
    right = findings(make, scan(Tracer.FDG, organs=torso), scan(Tracer.PENTIXAFOR, organs=torso))
    assert {f.verdict for f in right.values()} == {Verdict.OK}


def test_missing_organs(make: Any) -> None:
    found = findings(make, scan(Tracer.FDG, organs=("brain",)))
    assert (found["FDG organs"].verdict, found["FDG organs"].value) == (Verdict.WARN, "liver, spleen")
    assert (found["FDG liver SUVmean"].verdict, found["FDG liver SUVmean"].value) == (Verdict.WARN, None)


def test_common_field_of_view(make: Any) -> None:
    """A short scan inside a long one is covered; two scans that hardly meet are held."""
    long, short = make.grid((50, 20, 20), (5, 10, 10)), make.grid((20, 20, 20), (5, 10, 10), (0, 0, 60))
    pair = make.pair(make.study(Tracer.FDG, long), make.study(Tracer.PENTIXAFOR, short))
    shares = field_shares(pair)
    assert shares[Tracer.PENTIXAFOR] == 1.0
    assert shares[Tracer.FDG] == pytest.approx(0.4, abs=0.04)
    away = grid_of(origin=(0, 0, 400))
    far = body_study(Tracer.PENTIXAFOR, pet=body_pet(away, Tracer.PENTIXAFOR), ct=body_ct(away))
    held = findings(make, None, (far, body_anatomy(away, ())))["common field of view"]
    assert held.verdict is Verdict.HOLD
    left_out = LesionMatch(name="M1", fdg=(1,), pentixafor=(), concordance=Concordance.NOT_COMPARABLE)
    warned = findings(make, matches=[left_out])["common field of view"]
    assert (warned.verdict, "1 lesion cannot be compared" in warned.message) == (Verdict.WARN, True)


def test_lesions_inside_organs(make: Any) -> None:
    study, _ = scan(Tracer.FDG)
    grid = study.pet.grid
    regions = {name: ball(grid, centre, REACH[name]) for name, centre in CENTRES.items()}
    anatomy = make.anatomy(grid, regions, physiological=frozenset({"brain"}))
    masks = [ball(grid, CENTRES["brain"], 12), ball(grid, (213, 150, 230), 12)]
    lesions = {t: make.lesions(t, grid, masks if t is Tracer.FDG else ()) for t in Tracer}
    found = findings(make, (study, anatomy), lesions=lesions)
    assert (found["FDG lesions in organs"].value, found["FDG lesions in organs"].verdict) == ("F1", Verdict.WARN)
    assert (found["PentixaFor lesions in organs"].value, found["PentixaFor lesions in organs"].verdict) == ("none", Verdict.OK)

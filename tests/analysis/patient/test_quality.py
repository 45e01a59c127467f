"""Findings: each limit of docs/METHOD.md 5 is crossed once, and the verdict follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.patient.quality import check
from analysis.patient.quality_case import QualitySettings
from analysis.patient.quality_registration import field_shares
from analysis.values import Anatomy, Body, Concordance, Finding, LesionMatch, PetCt, Tracer, Verdict

SETTINGS = QualitySettings()
# SUV of FDG and PentixaFor (docs/METHOD.md 6).
UPTAKE = {"liver": (1.9, 1.7), "spleen": (1.7, 6.0), "brain": (7.0, 0.25)}
CENTRES = {"liver": (60, 75, 60), "spleen": (150, 75, 60), "brain": (105, 75, 180)}


def scan(make: Any, tracer: Tracer, shown: Tracer | None = None, organs: Any = CENTRES, **more: Any) -> tuple[PetCt, Anatomy]:
    """A study with a liver, a spleen and a brain of 35 mm radius; shown: whose uptake they have."""
    grid = make.grid((50, 30, 42), (5.0, 5.0, 5.0))
    regions = {name: make.sphere(grid, centre, 35) for name, centre in CENTRES.items()}
    suv = np.full(grid.shape, 0.5)
    for name, mask in regions.items():
        suv[mask] = UPTAKE[name][list(Tracer).index(shown or tracer)]
    study = make.study(tracer, grid, suv, **{"uptake_min": 60.0, **more})
    return study, make.anatomy(grid, {name: regions[name] for name in organs})


def findings(make: Any, fdg: Any = None, pentixafor: Any = None, settings: Any = SETTINGS, **more: Any) -> dict[str, Finding]:
    studies = {Tracer.FDG: fdg or scan(make, Tracer.FDG), Tracer.PENTIXAFOR: pentixafor or scan(make, Tracer.PENTIXAFOR)}
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
    exchanged = scan(make, Tracer.FDG, Tracer.PENTIXAFOR), scan(make, Tracer.PENTIXAFOR, Tracer.FDG)
    found = findings(make, *exchanged)
    for name in ("FDG brain to liver", "PentixaFor brain to liver", "PentixaFor spleen to liver"):
        assert found[name].verdict is Verdict.HOLD


def test_exchanged_tracers_are_held_without_a_brain_in_the_field(make: Any) -> None:
    torso = ("liver", "spleen")
    exchanged = scan(make, Tracer.FDG, Tracer.PENTIXAFOR, torso), scan(make, Tracer.PENTIXAFOR, Tracer.FDG, torso)
    found = findings(make, *exchanged)
    assert "FDG brain to liver" not in found
    assert found["PentixaFor spleen to liver"].verdict is Verdict.HOLD
    right = findings(make, scan(make, Tracer.FDG, organs=torso), scan(make, Tracer.PENTIXAFOR, organs=torso))
    assert {f.verdict for f in right.values()} == {Verdict.OK}


@pytest.mark.parametrize(
    ("quality", "name", "verdict"),
    [
        ({"bone_dice": 0.69}, "registration bone Dice", Verdict.WARN),
        ({"bone_dice": 0.2}, "registration bone Dice", Verdict.HOLD),
        ({"body_dice": 0.89}, "registration body Dice", Verdict.WARN),
        ({"body_dice": 0.5}, "registration body Dice", Verdict.HOLD),
        ({"folding": 0.001}, "registration folding", Verdict.WARN),
        ({"displacement_p95_mm": 55.0}, "registration displacement", Verdict.WARN),
    ],
)
def test_registration(make: Any, quality: dict[str, float], name: str, verdict: Verdict) -> None:
    assert findings(make, **quality)[name].verdict is verdict


@pytest.mark.parametrize(
    ("minutes", "verdict"),
    [(60, Verdict.OK), (45, Verdict.WARN), (90, Verdict.WARN), (25, Verdict.HOLD), (160, Verdict.HOLD), (None, Verdict.WARN)],
)
def test_uptake_time(make: Any, minutes: float | None, verdict: Verdict) -> None:
    found = findings(make, scan(make, Tracer.FDG, uptake_min=minutes))
    assert found["FDG uptake time"].verdict is verdict
    if minutes is not None:
        far = abs(minutes - 60) > 15
        assert found["uptake time difference"].verdict is (Verdict.WARN if far else Verdict.OK)


def test_weight_liver_and_suv_warnings(make: Any) -> None:
    light = scan(make, Tracer.FDG, body=Body(weight_kg=60.0))
    assert findings(make, light)["weight change"].verdict is Verdict.WARN
    study, anatomy = scan(make, Tracer.FDG)
    pale = make.study(Tracer.FDG, study.pet.grid, study.pet.values * 0.5, uptake_min=60.0)
    assert findings(make, (pale, anatomy))["FDG liver SUVmean"].verdict is Verdict.WARN
    warned = scan(make, Tracer.FDG, facts={"suv_warnings": ("Two rules differ by 3 %.",)})
    assert findings(make, warned)["FDG SUV"].message == "Two rules differ by 3 %."


def test_missing_organs(make: Any) -> None:
    found = findings(make, scan(make, Tracer.FDG, organs=("brain",)))
    assert (found["FDG organs"].verdict, found["FDG organs"].value) == (Verdict.WARN, "liver, spleen")
    assert (found["FDG liver SUVmean"].verdict, found["FDG liver SUVmean"].value) == (Verdict.WARN, None)


def test_common_field_of_view(make: Any) -> None:
    """A short scan inside a long one is covered; two scans that hardly meet are held."""
    long, short, apart = make.grid((50, 20, 20), (5, 10, 10)), make.grid((20, 20, 20), (5, 10, 10), (0, 0, 60)), None
    pair = make.pair(make.study(Tracer.FDG, long), make.study(Tracer.PENTIXAFOR, short))
    shares = field_shares(pair)
    assert shares[Tracer.PENTIXAFOR] == 1.0
    assert shares[Tracer.FDG] == pytest.approx(0.4, abs=0.04)
    apart = make.grid((50, 30, 42), (5.0, 5.0, 5.0), (0, 0, 225))
    far = make.study(Tracer.PENTIXAFOR, apart, uptake_min=60.0), make.anatomy(apart)
    assert findings(make, None, far)["common field of view"].verdict is Verdict.HOLD
    left_out = LesionMatch(name="M1", fdg=(1,), pentixafor=(), concordance=Concordance.NOT_COMPARABLE)
    warned = findings(make, matches=[left_out])["common field of view"]
    assert (warned.verdict, "1 lesion cannot be compared" in warned.message) == (Verdict.WARN, True)


def test_lesion_load_and_lesions_inside_organs(make: Any) -> None:
    study, _ = scan(make, Tracer.FDG)
    grid = study.pet.grid
    regions = {name: make.sphere(grid, centre, 35) for name, centre in CENTRES.items()}
    anatomy = make.anatomy(grid, regions, physiological=frozenset({"brain"}))
    lesions = {
        Tracer.FDG: make.lesions(
            Tracer.FDG, grid, [make.sphere(grid, CENTRES["brain"], 8), make.sphere(grid, (20, 20, 120), 8)]
        ),
        Tracer.PENTIXAFOR: make.lesions(Tracer.PENTIXAFOR, grid),
    }
    found = findings(make, (study, anatomy), lesions=lesions)
    assert found["FDG lesions in organs"].value == "F1"
    assert found["FDG lesion load"].verdict is Verdict.OK
    strict = QualitySettings(max_lesions=1)
    assert findings(make, (study, anatomy), settings=strict, lesions=lesions)["FDG lesion load"].verdict is Verdict.WARN

"""A pair's features by other cut-offs: equal to what the true steps give when they are run with these settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from analysis.cohort.pairs import PairFeatures, PairLesion
from analysis.cohort.rereading import Cuts, changed, choices, reread
from analysis.cohort.settings import CohortSettings
from analysis.patient.features import patient_features
from analysis.patient.matching import match
from analysis.patient.measures import MeasurementSettings
from analysis.values import Concordance, Lesion, LesionMatch, LesionSet, Site, Tracer

SETTINGS = MeasurementSettings()
# (centre, radius) of spheres: alone, overlapping by a little, by half, and one FDG lesion that two of PentixaFor meet.
FDG = [((-60, 0, 0), 10), ((0, 0, 0), 12), ((60, 0, 0), 12), ((0, 60, 0), 14)]
PENTIXAFOR = [((-60, 60, 40), 10), ((17.5, 0, 0), 12), ((66, 0, 0), 12), ((0, 46, 0), 8), ((0, 79, 0), 9)]
BONE = (0.0, 0.08, 0.3, 0.6, 1.0)


def lesion_sets(make: Any) -> dict[Tracer, LesionSet]:
    """The spheres on a grid, with SUVs and parts in bone that differ from lesion to lesion."""
    grid = make.grid((40, 60, 60), (4.0, 4.0, 4.0), (-118, -98, -78))
    sets = {}
    for tracer, spheres in ((Tracer.FDG, FDG), (Tracer.PENTIXAFOR, PENTIXAFOR)):
        found = make.lesions(tracer, grid, [make.sphere(grid, *sphere) for sphere in spheres])
        lesions = [
            replace(
                lesion,
                suv_mean=3.0 + place,
                suv_max=6.0 + 2 * place,
                bone_fraction=BONE[place % 5],
                site=Site.MEDULLARY if BONE[place % 5] >= SETTINGS.min_bone_fraction else Site.EXTRAMEDULLARY,
            )
            for place, lesion in enumerate(found.lesions)
        ]
        sets[tracer] = replace(found, lesions=tuple(lesions))
    return sets


def measured(make: Any, sets: Mapping[Tracer, LesionSet], settings: MeasurementSettings) -> tuple[Any, Any]:
    """Features and matches of the true steps."""
    grid = sets[Tracer.FDG].labelmap.grid
    pair = make.pair(*[make.study(tracer, grid) for tracer in Tracer])
    matches = match(pair, sets, settings)
    return patient_features(pair, dict.fromkeys(Tracer, make.anatomy(grid)), sets, matches, settings), matches


def pair_of(sets: Mapping[Tracer, LesionSet], features: Mapping[str, float], matches: Sequence[LesionMatch]) -> PairFeatures:
    """What results.json keeps of them."""
    of = {label: m for m in matches for label in m.lesion_overlaps}
    lesions = [
        PairLesion(
            tracer=tracer.value,
            bone_fraction=lesion.bone_fraction,
            overlap=of[lesion.id].lesion_overlaps[lesion.id],
            comparable=of[lesion.id].concordance is not Concordance.NOT_COMPARABLE,
            volume_ml=lesion.volume_ml,
            suv_mean=lesion.suv_mean,
            suv_max=lesion.suv_max,
            borders={
                "relative": (lesion.volume_ml / 2, lesion.suv_mean * 1.5),
                "liver": (0.0, None),
                "blood pool": (None, None),
            },
        )
        for tracer in Tracer
        for lesion in sets[tracer].lesions
    ]
    return PairFeatures(
        patient_id="A",
        fdg_date=date(2024, 1, 1),
        pentixafor_date=date(2024, 1, 2),
        features=features,
        lesions=tuple(lesions),
        settings={"min_overlap": 0.1, "min_bone_fraction": 0.1, "subset_mean": "volume"},
    )


def lesion_features(features: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in features.items() if name.endswith(("concordant]", "discordant]"))}


def same(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    assert len(theirs) == 40
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("overlap", [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9])
def test_another_overlap_gives_what_matching_gives_with_it(make: Any, overlap: float) -> None:
    sets = lesion_sets(make)
    pair = pair_of(sets, *measured(make, sets, SETTINGS))
    truth, _ = measured(make, sets, replace(SETTINGS, min_overlap=overlap))
    same(reread(pair, cuts=Cuts(overlap=overlap, bone=0.1)).features, lesion_features(truth))


@pytest.mark.parametrize("bone", [0.05, 0.1, 0.31, 0.7])
def test_another_part_in_bone_gives_what_sites_give_with_it(make: Any, bone: float) -> None:
    sets = lesion_sets(make)
    pair = pair_of(sets, *measured(make, sets, SETTINGS))

    def placed(lesion: Lesion) -> Lesion:
        return replace(lesion, site=Site.MEDULLARY if lesion.bone_fraction >= bone else Site.EXTRAMEDULLARY)

    others = {tracer: replace(found, lesions=tuple(map(placed, found.lesions))) for tracer, found in sets.items()}
    same(reread(pair, cuts=Cuts(overlap=0.1, bone=bone)).features, lesion_features(measured(make, others, SETTINGS)[0]))


def test_a_border_takes_its_own_volume_and_mean_and_is_undefined_where_it_is_for_a_lesion(make: Any) -> None:
    sets = lesion_sets(make)
    pair = pair_of(sets, *measured(make, sets, SETTINGS))
    half = reread(pair, cuts=Cuts(overlap=0.1, bone=0.1, border="relative")).features
    for name, value in lesion_features(pair.features).items():
        factor = {"MTV": 0.5, "SUVmean": 1.5, "TLG": 0.75, "TLC": 0.75}.get(name.partition("[")[0], 1.0)
        np.testing.assert_allclose(half[name], factor * value, rtol=1e-9, err_msg=name)
    none = reread(pair, cuts=Cuts(overlap=0.1, bone=0.1, border="liver")).features
    assert none["MTV[FDG medullary concordant]"] == 0
    assert math.isnan(none["SUVmean[FDG medullary concordant]"])
    undefined = reread(pair, cuts=Cuts(overlap=0.1, bone=0.1, border="blood pool")).features
    assert math.isnan(undefined["MTV[FDG medullary concordant]"])
    assert math.isnan(undefined["TLG[FDG medullary concordant]"])


def test_choices_are_offered_only_where_features_follow_from_the_lesions(make: Any) -> None:
    sets = lesion_sets(make)
    pair = pair_of(sets, *measured(make, sets, SETTINGS))
    offered = choices([pair], CohortSettings())
    assert {(c.setting, c.choice) for c in offered if c.chosen} == {
        ("concordant above an overlap of", "0.1"),
        ("medullary from a part in bone of", "0.1"),
        ("border of a lesion", "as segmented"),
    }
    tampered = replace(pair, features={**pair.features, "MTV[FDG medullary concordant]": 1.0})
    assert choices([tampered], CohortSettings()) == ()
    assert choices([pair, replace(pair, settings={**pair.settings, "min_overlap": 0.2})], CohortSettings()) == ()
    assert choices([replace(pair, lesions=None, settings={})], CohortSettings()) == ()


def test_both_readings_of_sdmax_are_offered_where_they_are_known(make: Any) -> None:
    sets = lesion_sets(make)
    pair = replace(
        pair_of(sets, *measured(make, sets, SETTINGS)),
        readings={"sDmax[FDG]": {"centroids": 0.1, "voxels": 0.2}, "sDmax[CXCR4]": {"centroids": None, "voxels": None}},
        settings={"dissemination": "centroids"},
    )
    offered = {choice.choice: choice for choice in choices([pair], CohortSettings())}
    assert set(offered) == {"centroids", "voxels"}
    other = offered["voxels"].reread(pair)
    assert other.features["sDmax[FDG]"] == 0.2
    assert math.isnan(other.features["sDmax[CXCR4]"])
    assert changed([pair], [other])["sDmax[FDG]"]
    assert not changed([pair], [other])["MTV[FDG medullary concordant]"]

"""The patient's numbers against sums done by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from analysis.patient.features import farthest_mm, patient_features
from analysis.patient.measures import MeasurementSettings
from analysis.values import Body, Concordance, Labelmap, Lesion, LesionMatch, LesionSet, Model, Site, Tracer

SETTINGS = MeasurementSettings()
BONE, SOFT = Site.MEDULLARY, Site.EXTRAMEDULLARY


def lesions_of(make: Any, tracer: Tracer, lesions: list[Lesion]) -> LesionSet:
    grid = make.grid((4, 4, 4))
    empty = Labelmap(grid=grid, labels=np.zeros(grid.shape, dtype=np.int32))
    return LesionSet(tracer=tracer, labelmap=empty, lesions=tuple(lesions), model=Model(name="by hand", version="1"))


def site(n: int, fdg: tuple[int, ...], pentixafor: tuple[int, ...], concordance: Concordance) -> LesionMatch:
    return LesionMatch(name=f"M{n}", fdg=fdg, pentixafor=pentixafor, concordance=concordance)


def measured(
    make: Any, fdg: list[Lesion], matches: list[LesionMatch], settings: MeasurementSettings = SETTINGS, **more: Any
) -> Any:
    grid = make.grid((4, 4, 4))
    pentixafor = more.pop("pentixafor", [])
    pair = make.pair(*[make.study(t, grid, **more) for t in Tracer])
    lesions = {
        Tracer.FDG: lesions_of(make, Tracer.FDG, fdg),
        Tracer.PENTIXAFOR: lesions_of(make, Tracer.PENTIXAFOR, pentixafor),
    }
    return patient_features(pair, dict.fromkeys(Tracer, make.anatomy(grid)), lesions, matches, settings)


def some(make: Any) -> list[Lesion]:
    return [
        make.lesion(1, Tracer.FDG, site=BONE, volume_ml=2.0, suv_mean=6.0, suv_max=9.0, centroid_mm=(0.0, 0.0, 100.0)),
        make.lesion(2, Tracer.FDG, site=BONE, volume_ml=6.0, suv_mean=4.0, suv_max=12.0, centroid_mm=(30.0, 40.0, 100.0)),
        make.lesion(3, Tracer.FDG, site=SOFT, volume_ml=1.0, suv_mean=5.0, suv_max=7.0, centroid_mm=(0.0, 0.0, -200.0)),
        make.lesion(4, Tracer.FDG, site=SOFT, volume_ml=50.0, suv_mean=20.0, suv_max=40.0, centroid_mm=(0.0, 0.0, -300.0)),
    ]


def sites() -> list[LesionMatch]:
    return [
        site(1, (1, 2), (1,), Concordance.CONCORDANT),
        site(2, (3,), (), Concordance.DISCORDANT),
        site(3, (4,), (), Concordance.NOT_COMPARABLE),
    ]


def test_features_of_a_subset(make: Any) -> None:
    f = measured(make, some(make), sites(), pentixafor=[make.lesion(1, Tracer.PENTIXAFOR, site=BONE)])
    assert f["MTV[FDG medullary concordant]"] == pytest.approx(8.0)
    assert f["TLG[FDG medullary concordant]"] == pytest.approx(36.0)
    assert f["SUVmean[FDG medullary concordant]"] == pytest.approx(4.5)
    assert f["SUVmax[FDG medullary concordant]"] == pytest.approx(12.0)
    assert f["Count[FDG medullary concordant]"] == 2
    assert f["TLC[CXCR4 medullary concordant]"] == pytest.approx(5.0)
    assert f["MTV[FDG extramedullary discordant]"] == pytest.approx(1.0)  # not 51: lesion 4 is not comparable
    assert (f["Count[FDG not comparable]"], f["Count[CXCR4 not comparable]"]) == (1, 0)


def test_average_over_lesions_as_a_setting(make: Any) -> None:
    by_lesion = MeasurementSettings(subset_mean="lesions")
    f = measured(make, some(make), sites(), by_lesion, pentixafor=[make.lesion(1, Tracer.PENTIXAFOR)])
    assert f["SUVmean[FDG medullary concordant]"] == pytest.approx(5.0)


def test_an_empty_subset_has_no_volume_and_no_suv(make: Any) -> None:
    f = measured(make, [], [])
    for name in ("MTV[FDG medullary discordant]", "TLC[CXCR4 extramedullary concordant]", "Count[FDG medullary concordant]"):
        assert f[name] == 0.0
    for name in (
        "SUVmean[CXCR4 medullary discordant]",
        "SUVmax[FDG extramedullary concordant]",
        "sDmax[FDG]",
        "SUVmean[FDG spleen]",
    ):
        assert math.isnan(f[name])


def test_all_names_of_the_paper_are_there(make: Any) -> None:
    names = set(measured(make, [], []))
    assert sum(n.split("[")[0] in {"SUVmean", "SUVmax", "MTV", "TLG", "TLC"} and "cordant" in n for n in names) == 32
    assert {"TLG[FDG medullary concordant]", "TLC[CXCR4 extramedullary discordant]", "sDmax[CXCR4]"} <= names
    assert {f"SUVmean[{t} {o}]" for t in ("FDG", "CXCR4") for o in ("spleen", "liver", "blood pool")} <= names
    assert not any("TLG[CXCR4" in n or "TLC[FDG" in n for n in names)
    assert len(names) == 32 + 2 + 6 + 8 + 2


def test_sdmax_is_metres_over_square_metres(make: Any) -> None:
    lesions, where = some(make), [site(n, (n,), (), Concordance.DISCORDANT) for n in range(1, 5)]
    far = math.dist((30, 40, 100), (0, 0, -300)) / 1000
    assert measured(make, lesions, where)["sDmax[FDG]"] == pytest.approx(far / 1.8481, rel=1e-3)
    mosteller = MeasurementSettings(body_surface="mosteller")
    assert measured(make, lesions, where, mosteller)["sDmax[FDG]"] == pytest.approx(far / 1.8447, rel=1e-3)
    assert measured(make, lesions[:1], where[:1])["sDmax[FDG]"] == 0.0
    assert math.isnan(measured(make, lesions, where, body=Body(weight_kg=70.0))["sDmax[FDG]"])


def test_sdmax_of_farthest_voxels(make: Any) -> None:
    grid = make.grid((60, 30, 30))
    lesions = make.lesions(Tracer.FDG, grid, [make.sphere(grid, (45, 45, z), 12) for z in (30, 150)])
    pair = make.pair(*[make.study(t, grid) for t in Tracer])
    found = {Tracer.FDG: lesions, Tracer.PENTIXAFOR: make.lesions(Tracer.PENTIXAFOR, grid)}
    where = [site(1, (1,), (), Concordance.DISCORDANT), site(2, (2,), (), Concordance.DISCORDANT)]
    anatomy = dict.fromkeys(Tracer, make.anatomy(grid))
    by = {
        how: patient_features(pair, anatomy, found, where, MeasurementSettings(dissemination=how))
        for how in ("voxels", "centroids")
    }
    assert by["centroids"]["sDmax[FDG]"] == pytest.approx(0.120 / 1.8481, rel=1e-3)
    assert by["voxels"]["sDmax[FDG]"] == pytest.approx(0.144 / 1.8481, rel=1e-3)


def test_farthest_of_many_points_even_in_a_plane() -> None:
    points = np.random.default_rng(1).normal(size=(1500, 3)) * (10, 20, 60)
    assert farthest_mm(points) == pytest.approx(float(pdist(points).max()))
    flat = points * (1, 1, 0)
    assert farthest_mm(flat) == pytest.approx(float(pdist(flat).max()))
    assert farthest_mm(points[:1]) == 0.0


@pytest.mark.parametrize("blind", list(Tracer))
def test_where_one_tracer_was_not_run_no_subset_is_known(make: Any, blind: Tracer) -> None:
    """Neither a sum nor a count is 0; what needs the other tracer alone is there."""
    grid = make.grid((4, 4, 4))
    pair = make.pair(*[make.study(t, grid) for t in Tracer])
    seen = blind.other
    lesions = {
        seen: lesions_of(make, seen, [make.lesion(1, seen), make.lesion(2, seen, centroid_mm=(0.0, 0.0, 184.81))]),
        blind: replace(lesions_of(make, blind, []), not_run="no weights."),
    }
    numbers = {Tracer.FDG: ("fdg", "pentixafor"), Tracer.PENTIXAFOR: ("pentixafor", "fdg")}[seen]
    matches = [
        LesionMatch(name=f"M{n}", concordance=Concordance.NOT_COMPARABLE, **{numbers[0]: (n,), numbers[1]: ()}) for n in (1, 2)
    ]
    features = patient_features(pair, dict.fromkeys(Tracer, make.anatomy(grid)), lesions, matches, SETTINGS)
    assert {name for name, value in features.items() if not math.isnan(value)} == {
        f"sDmax[{seen.bracket}]",
        f"Count[{seen.bracket} not comparable]",
    }
    assert features[f"sDmax[{seen.bracket}]"] == pytest.approx(0.1, rel=1e-3)
    assert features[f"Count[{seen.bracket} not comparable]"] == 2

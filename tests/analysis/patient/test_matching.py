"""Matching of exact spheres: the overlap of two equal spheres is V = pi (4 r + d) (2 r - d)^2 / 12, so each answer is known."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from analysis.grids import apply, centres
from analysis.patient.matching import STILL, match, moves, volume_change
from analysis.patient.measures import MeasurementSettings
from analysis.patient.shapes import lesion_shapes
from analysis.values import Concordance, ErrorMap, LesionMatch, LesionSet, Tracer, Transform

SETTINGS = MeasurementSettings()
BOXES = MeasurementSettings(surface_mm=0.0)
FDG_SPACING, PENTIXAFOR_SPACING = (3.27, 2.73, 2.73), (3.0, 4.07, 4.07)


def distance_for(overlap: float, radius: float) -> float:
    """How far apart two equal spheres lie whose intersection is this part of either."""
    ball = 4.0 / 3.0 * math.pi * radius**3
    return float(brentq(lambda d: math.pi * (4 * radius + d) * (2 * radius - d) ** 2 / 12 / ball - overlap, 0.0, 2 * radius))


def two(make: Any, fdg: list[Any], pentixafor: list[Any], grids: tuple[Any, Any] | None = None) -> dict[Tracer, LesionSet]:
    """Lesion sets of spheres (centre, radius) on two different grids."""
    first, second = grids or (
        make.grid((60, 60, 70), FDG_SPACING, (-90, -80, -95)),
        make.grid((64, 44, 50), PENTIXAFOR_SPACING, (-92, -83, -97)),
    )
    return {
        Tracer.FDG: make.lesions(Tracer.FDG, first, [make.sphere(first, *s) for s in fdg]),
        Tracer.PENTIXAFOR: make.lesions(Tracer.PENTIXAFOR, second, [make.sphere(second, *s) for s in pentixafor]),
    }


def matched(
    make: Any, lesions: dict[Tracer, LesionSet], settings: MeasurementSettings = SETTINGS, **how: Any
) -> tuple[LesionMatch, ...]:
    studies = [make.study(t, lesions[t].labelmap.grid) for t in Tracer]
    return match(make.pair(*studies, **how), lesions, settings)


@pytest.mark.parametrize("overlap", [0.09, 0.10, 0.11, 0.30])
@pytest.mark.parametrize("radius", [12.0, 18.0])
def test_overlap_of_exact_spheres(make: Any, overlap: float, radius: float) -> None:
    """Over eight positions on the grids the overlap is right in the mean, and 9 and 11 % of large spheres are told apart."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(8):
        axis = rng.normal(size=3)
        centre = rng.uniform(-3, 3, 3)
        away = centre + distance_for(overlap, radius) * axis / np.linalg.norm(axis)
        sites = matched(make, two(make, [(centre, radius)], [(away, radius)]))
        found.append(max(m.overlap for m in sites))
        assert all((m.overlap > 0.10) == (m.concordance is Concordance.CONCORDANT) for m in sites)
    assert np.mean(found) == pytest.approx(overlap, abs=0.003 + 0.03 * overlap)
    if radius == 18.0 and overlap != 0.10:
        assert all((f > 0.10) == (overlap > 0.10) for f in found)


def test_nine_and_eleven_percent_on_fine_voxels(make: Any) -> None:
    """The traps of docs/METHOD.md 6 on PET voxels of 2 mm: always decided right."""
    grids = make.grid((34, 34, 34), (2, 2, 2), (-35.3, -33.1, -33.7)), make.grid((34, 34, 34), (2, 2, 2), (-34, -33, -32.5))
    rng = np.random.default_rng(7)
    for overlap in (0.09, 0.11) * 5:
        half = rng.normal(size=3)
        half *= distance_for(overlap, 12.0) / 2 / np.linalg.norm(half)
        sites = matched(make, two(make, [(half, 12.0)], [(-half, 12.0)], grids))
        assert (max(m.overlap for m in sites) > 0.10) == (overlap > 0.10)


@pytest.mark.parametrize("settings", [SETTINGS, BOXES])
@pytest.mark.parametrize("radius", [6.0, 9.0, 20.0])
def test_a_shape_keeps_its_lesions_volume(make: Any, radius: float, settings: MeasurementSettings) -> None:
    lesions = two(make, [((0, 0, 0), radius)], [((1, 2, 3), radius)])
    for one in lesions.values():
        (shape,) = lesion_shapes(one.labelmap, settings)
        assert len(shape.points) * shape.cell_ml == pytest.approx(one.lesions[0].volume_ml, rel=1e-9)
        assert shape.contains(shape.points).all()
        places = np.random.default_rng(2).uniform(-25, 25, (100_000, 3))
        inside = shape.contains(places).mean() * 50**3 / 1000
        assert inside == pytest.approx(one.lesions[0].volume_ml, rel=0.02 + 2 / math.sqrt(shape.contains(places).sum()))


def test_ratios_by_every_definition(make: Any) -> None:
    (site,) = matched(make, two(make, [((0, 0, 0), 20.0)], [((0, 0, 0), 10.0)]))
    part = 1 / 8
    expected = {"smaller": 1.0, "fdg": part, "pentixafor": 1.0, "union": part, "either": 1.0}
    assert dict(site.ratios) == pytest.approx(expected, rel=0.06)
    assert (site.fdg, site.pentixafor, site.concordance) == ((1,), (1,), Concordance.CONCORDANT)
    over_fdg = MeasurementSettings(overlap_over="fdg", min_overlap=0.2)
    lesions = two(make, [((0, 0, 0), 20.0)], [((0, 0, 0), 10.0)])
    assert {m.concordance for m in matched(make, lesions, over_fdg)} == {Concordance.DISCORDANT}


def test_a_chain_of_lesions_is_one_site_and_names_run_from_head_to_feet(make: Any) -> None:
    lesions = two(
        make,
        [((0, 0, -30), 15.0), ((40, 0, 60), 8.0)],
        [((12, 0, -30), 8.0), ((-12, 0, -30), 8.0), ((0, 0, 20), 8.0)],
    )
    top, middle, bottom = matched(make, lesions)
    assert [m.name for m in (top, middle, bottom)] == ["M1", "M2", "M3"]
    assert (top.fdg, top.pentixafor, top.concordance) == ((2,), (), Concordance.DISCORDANT)
    assert (middle.fdg, middle.pentixafor, middle.concordance) == ((), (3,), Concordance.DISCORDANT)
    assert (bottom.fdg, bottom.pentixafor, bottom.concordance) == ((1,), (1, 2), Concordance.CONCORDANT)


def test_outside_the_other_field_of_view_is_not_comparable(make: Any) -> None:
    grids = make.grid((60, 40, 40), (3, 3, 3), (-60, -60, -90)), make.grid((30, 40, 40), (3, 3, 3), (-60, -60, 0))
    lesions = two(make, [((0, 0, 50), 9.0), ((0, 0, -50), 9.0), ((30, 0, 0), 9.0)], [((0, 30, 0), 9.0)], grids)
    classes = {m.fdg or m.pentixafor: m for m in matched(make, lesions, error_mm=3.0) if m.fdg}
    assert classes[(1,)].concordance is Concordance.DISCORDANT
    assert classes[(2,)].concordance is Concordance.NOT_COMPARABLE
    assert classes[(1,)].certain
    assert classes[(2,)].certain
    assert not classes[(3,)].certain  # half in, half out


def test_uncertain_where_a_shift_by_the_error_changes_the_class(make: Any) -> None:
    """Two equal spheres fall below 10 % at a shift of 1.46 radii (docs/METHOD.md 2)."""
    assert distance_for(0.10, 1.0) == pytest.approx(1.46, abs=0.01)
    lesions = two(make, [((0, 0, 0), 10.0), ((0, 0, 50), 10.0)], [((13.0, 0, 0), 10.0), ((2.0, 0, 50), 10.0)])
    sure, doubtful = matched(make, lesions, error_mm=3.0)
    assert (sure.concordance, sure.certain) == (Concordance.CONCORDANT, True)
    assert (doubtful.concordance, doubtful.certain) == (Concordance.CONCORDANT, False)
    low, high = doubtful.overlap_range
    assert low < 0.10 < doubtful.overlap < high
    ball = 4 / 3 * math.pi * 1000
    assert high == pytest.approx(math.pi * (40 + 10) * (20 - 10) ** 2 / 12 / ball, abs=0.03)
    assert low == pytest.approx(math.pi * (40 + 16) * (20 - 16) ** 2 / 12 / ball, abs=0.02)
    assert all(m.certain for m in matched(make, lesions, error_mm=0.0))


def test_shifts_go_in_14_directions_and_along_each_pair() -> None:
    assert moves()[0] is STILL
    assert [move.along for move in moves()[15:]] == [1, -1]
    directions = np.array([move.direction for move in moves()[1:15]])
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1.0)
    assert np.allclose(directions.sum(axis=0), 0.0)


def bent(make: Any) -> Transform:
    """30 degrees about z, a shift, and a smooth bend that swells what lies to the left by about a quarter."""
    turn, grid = np.eye(4), make.grid((50, 50, 60), (4, 4, 4), (-120, -100, -100))
    turn[:2, :2] = [[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]]
    turn[:3, 3] = (10, -5, 20)
    x = centres(grid)
    field = np.stack([12 * np.sin(x[..., 0] / 50), 6 * np.cos(x[..., 2] / 40), 5 * np.sin(x[..., 1] / 45)], axis=-1)
    return Transform(rigid=turn, grid=grid, displacement=field.astype(np.float32))


def test_matching_follows_the_transform(make: Any) -> None:
    """FDG masks made exactly through the transform: the same lesions, so an overlap of nearly one, without a resampled PET."""
    transform = bent(make)
    lesions = two(make, [], [((0, 0, 40), 11.0), ((40, 30, -20), 9.0)])
    grid = make.grid((80, 90, 90), FDG_SPACING, (-120, -130, -110))
    sources = np.array([[0, 0, 40], [40, 30, -20]], dtype=float)
    fdg = [make.sphere(grid, apply(transform, c[None])[0], r) for c, r in zip(sources, (11.0, 9.0), strict=True)]
    lesions[Tracer.FDG] = make.lesions(Tracer.FDG, grid, fdg)
    sites = matched(make, lesions, transform=transform, method="deformable")
    assert [(m.fdg, m.pentixafor) for m in sites] == [((1,), (1,)), ((2,), (2,))]
    assert min(m.overlap for m in sites) > 0.85


def test_an_fdg_lesions_volume_is_taken_into_the_common_space(make: Any) -> None:
    """A transform that doubles lengths along x: the FDG sphere is half as large in the PentixaFor frame."""
    grid = make.grid((40, 40, 60), (4, 4, 4), (-120, -80, -80))
    x = centres(grid)
    stretch = np.stack([x[..., 0], 0 * x[..., 0], 0 * x[..., 0]], axis=-1).astype(np.float32)
    transform = Transform(rigid=np.eye(4), grid=grid, displacement=stretch)
    points = np.array([[0.0, 0, 0], [20, 10, -30]])
    assert volume_change(transform, points) == pytest.approx([2.0, 2.0], rel=1e-3)
    assert volume_change(Transform(rigid=np.eye(4)), points) == pytest.approx([1.0, 1.0])
    lesions = two(make, [((0, 0, 0), 16.0)], [((0, 0, 0), 16.0)])
    (site,) = matched(make, lesions, transform=transform)
    assert site.ratios["fdg"] == pytest.approx(1.0, abs=0.03)
    assert site.ratios["pentixafor"] == pytest.approx(0.5, abs=0.03)


def test_no_lesions_and_lesions_of_one_tracer(make: Any) -> None:
    assert matched(make, two(make, [], [])) == ()
    (only,) = matched(make, two(make, [((0, 0, 0), 10.0)], []), error_mm=3.0)
    assert (only.fdg, only.pentixafor, only.overlap, only.overlap_range) == ((1,), (), 0.0, (0.0, 0.0))
    assert only.concordance is Concordance.DISCORDANT


def test_many_lesions_take_little_time(make: Any) -> None:
    """109 lesions on either tracer, each with its partner 4 mm away."""
    grid = make.grid((90, 58, 58), (3.0, 4.0, 4.0), (-116, -116, -135))
    index = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 3)[:109]
    places = index * (44, 44, 54) + (-88.0, -88.0, -108.0)
    labels = {t: np.zeros(grid.shape, dtype=np.int32) for t in Tracer}
    at = np.round(grid.to_index(places)).astype(int)
    ball = make.sphere(make.grid((9, 9, 9), (3.0, 4.0, 4.0), (-16, -16, -12)), (0, 0, 0), 11.0)
    for n, (k, j, i) in enumerate(at, start=1):
        for t, step in ((Tracer.FDG, 0), (Tracer.PENTIXAFOR, 1)):
            labels[t][k - 4 : k + 5, j - 4 : j + 5, i - 4 + step : i + 5 + step][ball] = n
    lesions = {t: make.lesions(t, grid, [labels[t] == n for n in range(1, 110)]) for t in Tracer}
    started = time.process_time()
    sites = matched(make, lesions, error_mm=2.0)
    assert time.process_time() - started < 10.0
    assert len(sites) == 109
    assert {m.concordance for m in sites} == {Concordance.CONCORDANT}


def lens(distance: float, radius: float) -> float:
    """The part of either of two equal spheres that both share."""
    if distance >= 2 * radius:
        return 0.0
    return (4 * radius + distance) * (2 * radius - distance) ** 2 / (16 * radius**3)


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2.0, -1.0, 0.4), (0.3, 1.0, -0.7)])
@pytest.mark.parametrize(("distance", "error"), [(14.0, 3.0), (10.0, 4.0), (2.0, 5.0)])
def test_the_range_is_that_of_two_spheres_moved_by_the_error(
    make: Any, axis: tuple[float, float, float], distance: float, error: float
) -> None:
    """Analytic: between the lens of the distance with the error and that without it, in any direction."""
    grids = make.grid((34, 34, 34), (2, 2, 2), (-35.3, -33.1, -33.7)), make.grid((34, 34, 34), (2, 2, 2), (-34, -33, -32.5))
    half = np.array(axis) * distance / 2 / np.linalg.norm(axis)
    sites = matched(make, two(make, [(half, 12.0)], [(-half, 12.0)], grids), error_mm=error)
    low, high = sites[0].overlap_range
    assert low == pytest.approx(lens(distance + error, 12.0), abs=0.012)
    assert high == pytest.approx(lens(max(0.0, distance - error), 12.0), abs=0.02)
    assert sites[0].error_mm == pytest.approx(error)


def test_only_where_the_registration_is_bad_is_a_site_uncertain(make: Any) -> None:
    """Two sites of the same overlap; the map of the local error is 8 mm around the upper one and 0.5 mm elsewhere."""
    lesions = two(make, [((0, 0, 45), 10.0), ((0, 0, -30), 10.0)], [((9.0, 0, 45), 10.0), ((9.0, 0, -30), 10.0)])
    grid = make.grid((30, 20, 20), (8, 10, 10), (-100, -100, -110))
    values = np.where(centres(grid)[..., 2] > 15.0, 8.0, 0.5).astype(np.float32)
    studies = [make.study(t, lesions[t].labelmap.grid) for t in Tracer]
    pair = replace(make.pair(*studies, error_mm=3.0), error=ErrorMap(grid=grid, mm=values))
    bad, good = match(pair, lesions, SETTINGS)
    assert (bad.certain, good.certain) == (False, True)
    assert good.overlap == pytest.approx(bad.overlap, abs=0.02)
    assert good.overlap_range == pytest.approx((lens(9.5, 10.0), lens(8.5, 10.0)), abs=0.02)
    assert bad.overlap_range == pytest.approx((lens(17.0, 10.0), lens(1.0, 10.0)), abs=0.03)
    assert (bad.error_mm, good.error_mm) == pytest.approx((8.0, 0.5))


def test_lesions_beside_a_tracer_that_was_not_run_cannot_be_compared(make: Any) -> None:
    lesions = two(make, [((0, 0, 40), 10.0), ((0, 0, -40), 10.0)], [])
    lesions[Tracer.PENTIXAFOR] = replace(lesions[Tracer.PENTIXAFOR], not_run="there are no weights.")
    sites = matched(make, lesions, error_mm=3.0)
    assert [(m.name, m.fdg, m.pentixafor) for m in sites] == [("M1", (1,), ()), ("M2", (2,), ())]
    assert {m.concordance for m in sites} == {Concordance.NOT_COMPARABLE}
    assert all(math.isnan(x) for m in sites for x in (m.overlap, *m.overlap_range, *m.ratios.values()))

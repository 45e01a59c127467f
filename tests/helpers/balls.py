"""A body of balls on grids of any orientation, as a finished analysis: where everything is, is known in millimetres.

The body is an elliptic cylinder along z with SUV 1; the liver is a ball on the patient's right, the spine lies at the back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.grids import apply, centres
from analysis.values import (
    AlignedPair,
    Body,
    Concordance,
    Finding,
    Grid,
    Labelmap,
    Lesion,
    LesionMatch,
    LesionSet,
    Model,
    PatientAnalysis,
    PetCt,
    RegistrationQuality,
    Site,
    Tracer,
    Transform,
    Unit,
    Volume,
)

NAN = float("nan")
MODEL = Model(name="balls", version="1", manufacturer="tests")
LIVER = ((-70.0, -20.0, 40.0), 45.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """A lesion in PentixaFor coordinates (LPS mm); SUV on each tracer, NaN where it is not seen."""

    at: tuple[float, float, float]
    radius: float = 12.0
    fdg: float = NAN
    pentixafor: float = NAN
    certain: bool = True
    comparable: bool = True

    def suv(self, tracer: Tracer) -> float:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


def upright(low: tuple[float, float, float], high: tuple[float, float, float], spacing: float = 8.0) -> Grid:
    """A grid over the box from low to high (x, y, z), in the usual order of axes."""
    return turned(np.eye(3), (low, high), spacing)


def turned(axes: np.ndarray, box: tuple[Sequence[float], Sequence[float]], spacing: float = 8.0) -> Grid:
    """A grid that holds the box (x, y, z); axes: columns are the directions of x', y', z', stored as i, j, k."""
    corners = np.array(np.meshgrid(*zip(*box, strict=True), indexing="ij")).reshape(3, -1).T
    along = corners @ axes
    first, last = along.min(axis=0), along.max(axis=0)
    shape = np.ceil((last - first) / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1] * spacing
    affine[:3, 3] = axes @ (first + spacing / 2)
    return Grid(shape=(int(shape[2]), int(shape[1]), int(shape[0])), affine=affine)


BOX = ((-160.0, -104.0, -240.0), (160.0, 104.0, 240.0))


def make(
    balls: Sequence[Ball],
    grids: Mapping[Tracer, Grid] | None = None,
    *,
    transform: Transform | None = None,
    findings: tuple[Finding, ...] = (),
    features: Mapping[str, float] | None = None,
) -> PatientAnalysis:
    """The analysis of a pair that shows exactly these balls; transform: PentixaFor to FDG points, none: the same place."""
    warp = transform or Transform(rigid=np.eye(4))
    grids = grids or dict.fromkeys(Tracer, upright(*BOX))
    studies = {t: _study(t, balls, grids[t], warp) for t in Tracer}
    quality = RegistrationQuality(method="rigid", bone_dice=0.9, bone_dice_rigid=0.9, body_dice=0.95, error_mm=3.0)
    return PatientAnalysis(
        aligned=AlignedPair(fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR], transform=warp, quality=quality),
        anatomy={},
        lesions={t: _lesions(t, balls, grids[t], warp) for t in Tracer},
        matches=_matches(balls),
        features=features or {},
        findings=findings,
        settings={},
        software={"duet-node": "0.1.0"},
    )


def _places(tracer: Tracer, grid: Grid, warp: Transform) -> np.ndarray:
    """(..., 3) the voxels' places in PentixaFor coordinates; the warp of these tests is rigid."""
    world = centres(grid)
    if tracer is Tracer.PENTIXAFOR:
        return world
    back = np.linalg.inv(warp.rigid)
    return world @ back[:3, :3].T + back[:3, 3]


def _inside(places: np.ndarray, at: Sequence[float], radius: float) -> np.ndarray:
    return ((places - np.array(at)) ** 2).sum(axis=-1) <= radius**2


def _study(tracer: Tracer, balls: Sequence[Ball], grid: Grid, warp: Transform) -> PetCt:
    places = _places(tracer, grid, warp)
    body = (places[..., 0] / 150) ** 2 + (places[..., 1] / 95) ** 2 <= 1
    suv = np.where(body, 1.0, 0.0)
    suv[_inside(places, *LIVER)] = 3.0
    for ball in balls:
        if np.isfinite(ball.suv(tracer)):
            suv[_inside(places, ball.at, ball.radius)] = ball.suv(tracer)
    hounsfield = np.where(body, 40.0, -1000.0)
    hounsfield[(places[..., 0] ** 2 + (places[..., 1] - 60) ** 2) < 20**2] = 600.0
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=grid, values=suv.astype(np.float32), unit=Unit.SUV),
        ct=Volume(grid=grid, values=hounsfield.astype(np.float32), unit=Unit.HU),
        body=Body(weight_kg=80.0),
    )


def _lesions(tracer: Tracer, balls: Sequence[Ball], grid: Grid, warp: Transform) -> LesionSet:
    places = _places(tracer, grid, warp)
    labels = np.zeros(grid.shape, np.int32)
    lesions = []
    for ball in balls:
        if not np.isfinite(ball.suv(tracer)):
            continue
        label = len(lesions) + 1
        labels[_inside(places, ball.at, ball.radius)] = label
        own = apply(warp, ball.at)[0] if tracer is Tracer.FDG else np.array(ball.at)
        volume = 4 / 3 * np.pi * ball.radius**3 / 1000
        lesions.append(
            Lesion(
                label=label,
                tracer=tracer,
                region="vertebra_L3",
                site=Site.MEDULLARY,
                bone_fraction=0.9,
                voxels=int((labels == label).sum()),
                volume_ml=volume,
                suv_mean=ball.suv(tracer),
                suv_max=ball.suv(tracer),
                suv_peak=ball.suv(tracer),
                centroid_mm=(float(own[0]), float(own[1]), float(own[2])),
            )
        )
    return LesionSet(tracer=tracer, labelmap=Labelmap(grid=grid, labels=labels), lesions=tuple(lesions), model=MODEL)


def _matches(balls: Sequence[Ball]) -> tuple[LesionMatch, ...]:
    counts = dict.fromkeys(Tracer, 0)
    matches = []
    for number, ball in enumerate(balls, start=1):
        labels: dict[Tracer, tuple[int, ...]] = {}
        for tracer in Tracer:
            seen = bool(np.isfinite(ball.suv(tracer)))
            counts[tracer] += seen
            labels[tracer] = (counts[tracer],) if seen else ()
        kind = Concordance.CONCORDANT if all(labels.values()) else Concordance.DISCORDANT
        matches.append(
            LesionMatch(
                name=f"M{number}",
                fdg=labels[Tracer.FDG],
                pentixafor=labels[Tracer.PENTIXAFOR],
                concordance=kind if ball.comparable else Concordance.NOT_COMPARABLE,
                certain=ball.certain,
            )
        )
    return tuple(matches)

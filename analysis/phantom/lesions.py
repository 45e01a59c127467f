"""Where the phantom's lesions lie: drawn by chance under rules that keep the truth beyond doubt, or placed by a trap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.errors import BadSettings
from analysis.phantom.body import BONE_TISSUES, Part
from analysis.phantom.field import BodyFrame, field_of, numbered, tissue_at
from analysis.phantom.shapes import Point
from analysis.values import FloatArray, Grid, Site, Tracer

BOTH = frozenset(Tracer)
# The paper's 1,352 lesions: 520 concordant (no split by site is given; the split of the others is used), CXCR4-only 420
# medullary and 241 extramedullary, FDG-only 60 and 111.
SHARES: tuple[tuple[Site, frozenset[Tracer], float], ...] = (
    (Site.MEDULLARY, frozenset({Tracer.PENTIXAFOR}), 420),
    (Site.MEDULLARY, BOTH, 300),
    (Site.EXTRAMEDULLARY, frozenset({Tracer.PENTIXAFOR}), 241),
    (Site.EXTRAMEDULLARY, BOTH, 220),
    (Site.EXTRAMEDULLARY, frozenset({Tracer.FDG}), 111),
    (Site.MEDULLARY, frozenset({Tracer.FDG}), 60),
)
HOT = {
    Tracer.FDG: frozenset({"brain", "heart", "kidney", "bladder", "liver", "spleen", "stomach", "bowel"}),
    Tracer.PENTIXAFOR: frozenset({"kidney", "bladder", "liver", "spleen", "adrenal", "heart", "stomach", "bowel"}),
}
HOME = frozenset({"soft", "fat", "lung"})  # what extramedullary lesions grow in
LEAST_BONE = 0.45  # of a medullary lesion's volume
BARE = ("radius", "ulna", "tibia")  # limbs beyond elbow and knee have no lesions
MOST = 250  # lesions that a body has room for
INNER, OUTER = 60, 60  # points within a candidate, and on each shell around it
BONE_GAP_MM = 8.0  # from an extramedullary lesion to the nearest bone
ORGAN_GAP_MM = 11.0
CUT_GAP_MM = 25.0  # from a lesion to where a truncated field ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """A sphere of one uptake in FDG patient coordinates, mm."""

    centre: Point
    radius: float
    suv: float

    def shell(self, directions: FloatArray, radius: float) -> FloatArray:
        return np.asarray(np.asarray(self.centre) + radius * directions)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueLesion:
    """One place of disease: a ball for each tracer that shows it. overlap: of the two balls, over the smaller."""

    number: int
    site: Site
    bone_fraction: float
    region: str
    balls: dict[Tracer, Ball]
    overlap: float | None = None
    trap: str | None = None

    @property
    def any_ball(self) -> Ball:
        return next(iter(self.balls.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What placing needs: the body's parts, where they lie, both scans' field of view and where it is cut, FDG z in mm."""

    parts: Sequence[Part]
    frame: BodyFrame
    low_z: float
    high_z: float
    cuts: tuple[float, ...] = ()
    boxes: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", np.array([p.shape.box for p in self.parts], dtype=np.float64))

    def tissues(self, fdg: FloatArray) -> list[Part | None]:
        """The part at each of (n, 3) FDG points, None in air."""
        numbers = tissue_at(self.frame.to_body(fdg), numbered(self.parts))
        return [self.parts[n - 1] if n else None for n in numbers]

    def holds(self, ball: Ball) -> bool:
        """Whether the ball lies wholly in the field of view."""
        clear = all(abs(ball.centre[2] - cut) > ball.radius + CUT_GAP_MM for cut in self.cuts)
        return clear and self.low_z + ball.radius <= ball.centre[2] <= self.high_z - ball.radius

    def pools(self, step_mm: float = 5.0) -> tuple[dict[str, FloatArray], FloatArray]:
        """(n, 3) FDG points in each bone's marrow, and in tissue that extramedullary lesions grow in."""
        low, high = self.frame.to_fdg([-260.0, -130.0, 0.0]), self.frame.to_fdg([260.0, 140.0, 0.0])
        low[2], high[2] = self.low_z, self.high_z
        shape = np.ceil((high - low)[::-1] / step_mm).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = np.fliplr(np.eye(3)) * step_mm
        affine[:3, 3] = low
        grid = Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)
        numbers = field_of(grid, self.frame, None).paint(numbered(self.parts))
        index = np.argwhere(numbers > 0)
        points, numbers = grid.to_world(index), numbers[tuple(index.T)]
        bones = {p.region for p in self.parts if p.tissue == "marrow" and not p.region.startswith(BARE)}
        marrow = {b: points[np.isin(numbers, self._numbers({"marrow"}, b))] for b in sorted(bones)}
        home = points[np.isin(numbers, self._numbers(HOME))]
        return {region: found for region, found in marrow.items() if len(found)}, home

    def _numbers(self, tissues: Collection[str], region: str | None = None) -> list[int]:
        parts = enumerate(self.parts, start=1)
        return [n for n, p in parts if p.tissue in tissues and region in (None, p.region)]

    def bone_part(self, ball: Ball, points: int = 4000) -> float:
        """The part of a ball's volume that lies in bone, by a spiral of points that fills it evenly."""
        places = self.frame.to_body(np.asarray(ball.centre) + ball.radius * filled_ball(points))
        meets = (self.boxes[:, 0] <= places.max(axis=0)) & (self.boxes[:, 1] >= places.min(axis=0))
        near = [pair for pair, meet in zip(numbered(self.parts), meets.all(axis=1), strict=True) if meet]
        bone = np.array([False] + [p.tissue in BONE_TISSUES for p in self.parts])
        return float(bone[tissue_at(places, near)].mean())


def directions(number: int) -> FloatArray:
    """(number, 3) unit vectors spread evenly over the sphere (Fibonacci's spiral)."""
    step = np.arange(number) + 0.5
    polar, around = np.arccos(1 - 2 * step / number), np.pi * (1 + 5**0.5) * step
    return np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)


def filled_ball(number: int) -> FloatArray:
    """(number, 3) points that fill the unit ball evenly."""
    # Radii in an order that has nothing to do with the spiral's: the golden ratio's fractional parts.
    radius = (((np.arange(number) + 0.5) * 0.7548776662466927) % 1.0) ** (1 / 3)
    return np.asarray(directions(number) * radius[:, None])


def cap_distance(overlap: float) -> float:
    """Distance of the centres of two equal balls, in radii, at which they share the given part of one ball's volume."""
    low, high = 0.0, 2.0
    for _ in range(60):
        d = (low + high) / 2
        shared = 1 - 0.75 * d + d**3 / 16
        low, high = (d, high) if shared > overlap else (low, d)
    return (low + high) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One lesion to be placed."""

    site: Site
    tracers: frozenset[Tracer]


def mixture(number: int) -> list[Wanted]:
    """`number` lesions in the paper's proportions (largest remainder)."""
    if number == 1:
        return [Wanted(site=Site.MEDULLARY, tracers=BOTH)]
    total = sum(weight for *_, weight in SHARES)
    exact = np.array([weight / total * number for *_, weight in SHARES])
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: number - counts.sum()]] += 1
    rows = zip(SHARES, counts, strict=True)
    return [Wanted(site=site, tracers=tracers) for (site, tracers, _), n in rows for _ in range(n)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Rules of chance. radius_mm, suv: from and to; gap_mm: between the surfaces of two lesions."""

    radius_mm: tuple[float, float] = (6.0, 15.0)
    suv: tuple[float, float] = (6.0, 15.0)
    gap_mm: float = 12.0
    rounds: int = 40


class Placer:
    """Draws lesions that are clear of each other and of organs, for one patient."""

    def __init__(self, ground: Ground, rules: Placing, rng: np.random.Generator) -> None:
        self._ground, self._rules, self._rng = ground, rules, rng
        self._marrow, self._home = ground.pools()

    def place(self, wanted: Sequence[Wanted], taken: Sequence[TrueLesion] = ()) -> list[TrueLesion]:
        """Lesions as wanted, numbered after those already taken; BadSettings where there is no room for them."""
        placed, missing = list(taken), list(wanted)
        for turn in range(self._rules.rounds):
            # Whoever asks for thousands is told so soon, not after hours.
            if not missing or len(placed) + len(missing) > MOST:
                break
            tries = [w for w in missing for _ in range(6)]
            balls = [self._candidate(w, turn / self._rules.rounds) for w in tries]
            for want, ball, (fits, region) in zip(tries, balls, self._judge(tries, balls), strict=True):
                if fits and want in missing and _clear_of(ball, placed, self._rules.gap_mm):
                    missing.remove(want)
                    placed.append(self._lesion(len(placed) + 1, want, ball, region))
        if missing:
            raise BadSettings(f"The phantom has no room for {len(missing)} of {len(wanted)} lesions; ask for fewer.")
        return placed[len(taken) :]

    def _candidate(self, want: Wanted, tight: float) -> Ball:
        """A ball somewhere in the right tissue; when it gets tight (0..1) only small ones are tried."""
        low, high = self._rules.radius_mm
        radius = float(self._rng.uniform(low, high - (high - low) * tight))
        pool = self._home
        if want.site is Site.MEDULLARY:
            bones = [name for name in self._marrow if name != "skull" or Tracer.FDG not in want.tracers]
            weights = np.array([_weight(name) for name in bones])
            pool = self._marrow[bones[int(self._rng.choice(len(bones), p=weights / weights.sum()))]]
        centre = pool[int(self._rng.integers(len(pool)))] + self._rng.uniform(-2, 2, 3)
        return Ball(centre=(float(centre[0]), float(centre[1]), float(centre[2])), radius=radius, suv=0.0)

    def _judge(self, tries: Sequence[Wanted], balls: Sequence[Ball]) -> list[tuple[bool, str]]:
        """Whether each ball is where such a lesion may be, and the region of its centre; all points in one painting."""
        filled, rays = filled_ball(INNER), directions(OUTER)
        cloud = []
        for b in balls:
            layers = [b.shell(rays, b.radius + gap) for gap in (0.0, BONE_GAP_MM, ORGAN_GAP_MM)]
            cloud.append(np.concatenate([[b.centre], b.shell(filled, b.radius), *layers]))
        found = self._ground.tissues(np.concatenate(cloud))
        size = len(cloud[0])
        verdicts = []
        for n, (want, ball) in enumerate(zip(tries, balls, strict=True)):
            parts = found[n * size : (n + 1) * size]
            fits = self._ground.holds(ball) and _fits(want, [p.tissue if p else "air" for p in parts])
            verdicts.append((fits, parts[0].region if parts[0] else ""))
        return verdicts

    def _lesion(self, number: int, want: Wanted, ball: Ball, region: str) -> TrueLesion:
        # Small lesions lose up to half of their height to the blur, so they are born hotter.
        low, high = self._rules.suv
        low = min(high, low + max(0.0, 1.5 * (9.0 - ball.radius)))
        balls = {t: replace(ball, suv=round(float(self._rng.uniform(low, high)), 2)) for t in Tracer if t in want.tracers}
        return TrueLesion(
            number=number,
            site=want.site,
            bone_fraction=self._ground.bone_part(ball),
            region=region,
            balls=balls,
            overlap=1.0 if want.tracers == BOTH else None,
        )


def _clear_of(ball: Ball, placed: Sequence[TrueLesion], gap_mm: float) -> bool:
    others = [b for lesion in placed for b in lesion.balls.values()]
    return all(np.linalg.norm(np.subtract(ball.centre, b.centre)) >= ball.radius + b.radius + gap_mm for b in others)


def _weight(region: str) -> float:
    """How often myeloma is drawn into a bone; limbs beyond elbow and knee never."""
    kinds = {
        "vertebrae": 1.0,
        "hip": 5.0,
        "sacrum": 3.0,
        "rib": 0.5,
        "femur": 2.0,
        "humerus": 1.5,
        "sternum": 2.0,
        "skull": 1.0,
    }
    return kinds.get(region.split("_", maxsplit=1)[0], 1.0)


def _fits(want: Wanted, names: Sequence[str]) -> bool:
    """names: tissues at the centre, within, on the surface, at the gap to bone and at the gap to organs."""
    hot = frozenset().union(*(HOT[t] for t in want.tracers))
    within, surface, near = names[: 1 + INNER], names[: 1 + INNER + OUTER], names[: 1 + INNER + 2 * OUTER]
    if hot & set(names):
        return False
    if want.site is Site.MEDULLARY:
        return "air" not in surface and sum(n in BONE_TISSUES for n in within) >= LEAST_BONE * len(within)
    return set(surface) <= HOME and not BONE_TISSUES & set(near) and "air" not in near

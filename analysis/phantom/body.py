"""The phantom's body: every organ and bone as a list of parts, painted in order, the later over the earlier.

Body frame, mm, for a person of 1.75 m and 75 kg: x to the left, y to the back, z to the head with 0 at the iliac crest.
HU and uptake are the table of docs/METHOD.md 6; sizes and places are those of an anatomy atlas, rounded. Regions bear
TotalSegmentator's names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.phantom.shapes import Cone, Ellipsoid, Plate, Point, Shape, Stack

SIDES = ((1, "left"), (-1, "right"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """hu: CT; fdg, pentixafor: SUV."""

    hu: float
    fdg: float
    pentixafor: float


TISSUES = {
    "fat": Tissue(hu=-90, fdg=0.25, pentixafor=0.3),
    "soft": Tissue(hu=40, fdg=0.55, pentixafor=0.6),
    "lung": Tissue(hu=-780, fdg=0.45, pentixafor=0.5),
    "airway": Tissue(hu=-980, fdg=0.1, pentixafor=0.1),
    "cortical": Tissue(hu=650, fdg=0.8, pentixafor=1.0),
    "marrow": Tissue(hu=180, fdg=1.0, pentixafor=2.0),
    "liver": Tissue(hu=58, fdg=1.9, pentixafor=1.7),
    "spleen": Tissue(hu=48, fdg=1.7, pentixafor=6.0),
    "kidney": Tissue(hu=32, fdg=3.0, pentixafor=5.0),
    "bladder": Tissue(hu=8, fdg=15.0, pentixafor=30.0),
    "heart": Tissue(hu=42, fdg=2.2, pentixafor=1.9),
    "brain": Tissue(hu=37, fdg=7.0, pentixafor=0.25),
    "stomach": Tissue(hu=35, fdg=1.6, pentixafor=1.5),
    "bowel": Tissue(hu=30, fdg=1.3, pentixafor=1.2),
    "adrenal": Tissue(hu=28, fdg=1.5, pentixafor=3.5),
    "aorta": Tissue(hu=45, fdg=1.5, pentixafor=1.8),
}
BONE_TISSUES = frozenset({"cortical", "marrow"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One solid of one tissue. region: the organ or bone it belongs to."""

    region: str
    tissue: str
    shape: Shape


# (z of the vertebral body's centre, its half-height) from the fifth lumbar to the first cervical vertebra.
LEVELS: dict[str, tuple[float, float]] = {
    **{f"L{n}": (z, 14.0) for n, z in zip(range(5, 0, -1), (-32, 3, 38, 72, 105), strict=True)},
    **{
        f"T{n}": (z, 7.6 + 0.36 * n)
        for n, z in zip(range(12, 0, -1), (136, 165, 192, 218, 243, 266, 289, 311, 332, 352, 371, 390), strict=True)
    },
    **{f"C{n}": (z, 6.5) for n, z in zip(range(7, 0, -1), (408, 424, 440, 455.5, 471, 487, 505), strict=True)},
}
SPINE = np.array([(-60, 34), (-30, 28), (40, 20), (110, 32), (200, 50), (290, 56), (360, 46), (410, 30), (460, 16), (520, 12)])

# z, x centre, y centre, half-width, half-depth of the trunk's skin, and of the surface on which the ribs lie.
TRUNK = (
    (-215, 0, 12, 160, 92),
    (-150, 0, 10, 176, 103),
    (-60, 0, 6, 166, 106),
    (0, 0, 2, 156, 104),
    (60, 0, 1, 150, 104),
    (140, 0, 2, 154, 111),
    (220, 0, 4, 162, 116),
    (300, 0, 8, 168, 112),
    (345, 0, 11, 172, 100),
    (385, 0, 14, 142, 82),
    (415, 0, 15, 84, 66),
    (440, 0, 12, 62, 60),
    (505, 0, 6, 60, 62),
)
RIB_WALL = (
    (60, 0, 2, 128, 86),
    (140, 0, 4, 134, 91),
    (220, 0, 6, 134, 94),
    (300, 0, 10, 118, 88),
    (350, 0, 14, 92, 72),
    (395, 0, 18, 58, 50),
)
ILIAC_WALL = ((-140, 0, 10, 92, 48), (-60, 0, 18, 104, 60), (20, 0, 6, 130, 78))


def spine_y(z: float) -> float:
    """How far back the vertebral bodies' centres lie at a height, mm."""
    return float(np.interp(z, SPINE[:, 0], SPINE[:, 1]))


def body_parts(*, arms: str, extra_fat_mm: float) -> list[Part]:
    """All parts in painting order. arms: "up" or "down"; extra_fat_mm: more (or less) fat under the skin than at 75 kg."""
    return [
        *_skin(arms, extra_fat_mm),
        *_chest(),
        *_abdomen(),
        *_vessels(),
        *_vertebrae(),
        *_rib_cage(),
        *_shoulders(),
        *_arm_bones(arms),
        *_pelvis(),
        *_legs(),
        *_head(),
    ]


def _bone(region: str, shape: Shape, cortex: float) -> Iterator[Part]:
    """A bone: its cortical shell of the given thickness in mm, and marrow within."""
    yield Part(region=region, tissue="cortical", shape=shape)
    yield Part(region=region, tissue="marrow", shape=shape.inset(cortex))


def _mirror(point: Point, side: int) -> Point:
    return point[0] * side, point[1], point[2]


def _rod(side: int, start: Point, end: Point, radii: tuple[float, float]) -> Cone:
    """A cone given for the left side, mirrored where side is -1."""
    return Cone(start=_mirror(start, side), end=_mirror(end, side), r0=radii[0], r1=radii[1])


def _skin(arms: str, extra: float) -> Iterator[Part]:
    """The outline, filled with fat, then the muscle within it."""
    trunk = Stack(rows=TRUNK, square=0.35)
    head = Ellipsoid(centre=(0, -1, 580), radii=(77, 95, 88))
    face = Stack(rows=((468, 0, -20, 45, 50), (490, 0, -24, 58, 68), (560, 0, -14, 70, 86)), square=0.2)
    limbs = [limb for side, _ in SIDES for limb in (*_leg(side), *_arm(arms, side))]
    fat = {"trunk": 13.0, "head": 4.0, "limb": 8.0}
    outline: list[tuple[str, Shape]] = [("trunk", trunk), ("head", head), ("head", face), *(("limb", limb) for limb in limbs)]
    padding = {"head": 0.2, "limb": 0.5}
    yield Part(region="fat", tissue="fat", shape=_padded(TRUNK, extra))
    for kind, shape in outline[1:]:
        yield Part(region="fat", tissue="fat", shape=shape.inset(-extra * padding[kind]))
    for kind, shape in outline:
        yield Part(region="muscle", tissue="soft", shape=shape.inset(fat[kind]))


def _padded(rows: tuple[tuple[float, float, float, float, float], ...], extra: float) -> Stack:
    """The trunk with more fat under its skin: most around the belly and hips, little at the neck."""
    shares = np.interp([row[0] for row in rows], [300, 440], [1.0, 0.3])
    padded = [(z, xc, yc, a + extra * f, b + extra * f) for (z, xc, yc, a, b), f in zip(rows, shares, strict=True)]
    return Stack(rows=tuple(padded), square=0.35)


def _leg(side: int) -> Iterator[Shape]:
    yield _rod(side, (84, 12, -195), (78, 12, -590), (80, 54))
    yield _rod(side, (78, 12, -590), (75, 25, -960), (54, 36))


def _arm(arms: str, side: int) -> Iterator[Shape]:
    shoulder, elbow, wrist = _arm_joints(arms)
    yield _rod(side, shoulder, elbow, (47, 38))
    yield _rod(side, elbow, wrist, (37, 26))


def _arm_joints(arms: str) -> tuple[Point, Point, Point]:
    """Shoulder, elbow and wrist of the left arm."""
    if arms == "up":
        return (155, 16, 358), (188, -10, 630), (60, -30, 760)
    return (160, 16, 350), (200, 22, 70), (196, -12, -175)


def _chest() -> Iterator[Part]:
    lungs = {1: 0.94, -1: 1.0}
    for side, name in SIDES:
        wide = lungs[side]
        rows = (
            (120, side * 78, 8, 46 * wide, 74),
            (180, side * 74, 6, 50 * wide, 82),
            (240, side * 70, 6, 51 * wide, 83),
            (300, side * 61, 10, 47 * wide, 76),
            (350, side * 46, 16, 36 * wide, 58),
            (385, side * 33, 22, 21 * wide, 34),
            (400, side * 28, 24, 9, 14),
        )
        yield Part(region=f"lung_{name}", tissue="lung", shape=Stack(rows=rows, square=0.3))
    mediastinum = Stack(rows=((215, 0, -30, 45, 46), (300, 0, -30, 30, 46), (350, 0, -16, 22, 26)))
    yield Part(region="fat", tissue="fat", shape=mediastinum)
    for side, top in ((1, 196.0), (-1, 208.0)):
        dome = Ellipsoid(centre=(side * 66, 2, 120), radii=(66, 88, top - 120))
        yield Part(region="muscle", tissue="soft", shape=dome)
        yield Part(region="fat", tissue="fat", shape=dome.inset(5))
    yield Part(region="heart", tissue="heart", shape=Ellipsoid(centre=(22, -38, 252), radii=(54, 44, 46), turn=25))
    yield Part(region="trachea", tissue="airway", shape=Cone(start=(0, 4, 318), end=(0, -22, 470), r0=8.5, r1=8.5))
    for side, _ in SIDES:
        yield Part(region="trachea", tissue="airway", shape=_rod(side, (0, 4, 318), (34, 10, 288), (7.5, 5)))


def _abdomen() -> Iterator[Part]:
    cavity = Stack(
        rows=((-120, 0, -5, 70, 62), (-40, 0, -14, 108, 66), (40, 0, -12, 122, 72), (150, 0, -8, 122, 82)), square=0.3
    )
    yield Part(region="fat", tissue="fat", shape=cavity)
    for side, name in SIDES:
        psoas = (
            (-110, side * 70, -8, 20, 22),
            (0, side * 52, 24, 22, 24),
            (60, side * 42, 32, 15, 18),
            (110, side * 36, 34, 8, 10),
        )
        yield Part(region=f"iliopsoas_{name}", tissue="soft", shape=Stack(rows=psoas))
    yield from _bowel()
    solid: list[tuple[str, str, Shape]] = [
        ("liver", "liver", Ellipsoid(centre=(-64, -4, 142), radii=(62, 74, 60))),
        ("liver", "liver", Ellipsoid(centre=(-16, -42, 160), radii=(62, 36, 34))),
        ("spleen", "spleen", Ellipsoid(centre=(94, 38, 150), radii=(25, 40, 42), turn=-20)),
        ("stomach", "stomach", Ellipsoid(centre=(56, -34, 146), radii=(38, 38, 40))),
        ("kidney_left", "kidney", Ellipsoid(centre=(62, 46, 82), radii=(26, 24, 52))),
        ("kidney_right", "kidney", Ellipsoid(centre=(-62, 46, 70), radii=(26, 24, 52))),
        ("adrenal_gland_left", "adrenal", Ellipsoid(centre=(42, 26, 146), radii=(5, 11, 13))),
        ("adrenal_gland_right", "adrenal", Ellipsoid(centre=(-38, 28, 138), radii=(5, 11, 13))),
        ("urinary_bladder", "bladder", Ellipsoid(centre=(0, -34, -138), radii=(38, 30, 30))),
    ]
    yield from (Part(region=region, tissue=tissue, shape=shape) for region, tissue, shape in solid)


def _bowel() -> Iterator[Part]:
    frame = [(-98, -20, -50), (-100, -14, 60), (-40, -50, 74), (40, -52, 74), (98, -14, 84), (100, -12, -40), (40, 0, -70)]
    for start, end in pairwise(frame):
        yield Part(region="colon", tissue="bowel", shape=Cone(start=start, end=end, r0=17, r1=17))
    for row, z in enumerate((-56, -26, 4, 34)):
        lean = 6.0 if row % 2 else -6.0
        loop = Cone(start=(-58, -44 + lean, z), end=(58, -44 - lean, z + 8), r0=13, r1=13)
        yield Part(region="small_bowel", tissue="bowel", shape=loop)


def _vessels() -> Iterator[Part]:
    path = [(0, -20, 250), (-14, -26, 300), (0, -18, 330), (18, 14, 330), (20, 30, 300), (18, 18, 200)]
    path += [(12, 2, 120), (8, -8, 40), (4, -8, 0)]
    for start, end in pairwise(path):
        yield Part(region="aorta", tissue="aorta", shape=Cone(start=start, end=end, r0=12, r1=12))
    cava = [(-22, 10, 215), (-22, 8, 120), (-18, 0, 0)]
    for start, end in pairwise(cava):
        yield Part(region="inferior_vena_cava", tissue="aorta", shape=Cone(start=start, end=end, r0=10, r1=10))
    for side, name in SIDES:
        iliac = _rod(side, (6, -6, -4), (68, -40, -120), (7, 6))
        yield Part(region=f"iliac_artery_{name}", tissue="aorta", shape=iliac)


def _vertebrae() -> Iterator[Part]:
    for level, (z, half) in LEVELS.items():
        region = f"vertebrae_{level}"
        y = spine_y(z)
        wide, deep = {"L": (24, 17), "T": (17, 15), "C": (13, 9)}[level[0]]
        back = {"L": (15, 30), "T": (13, 30), "C": (13, 22)}[level[0]]
        canal = y + deep + 8
        arch = Stack(rows=((z - half * 0.8, 0, canal, back[0] + 3, 15), (z + half * 0.8, 0, canal, back[0] + 3, 15)))
        yield Part(region=region, tissue="cortical", shape=arch)
        spinous = Cone(start=(0, canal + 12, z), end=(0, canal + back[1] - 6, z - half * 0.8), r0=4.5, r1=4.0)
        yield from _bone(region, spinous, 2.0)
        for side, _ in SIDES:
            reach = 36 if level[0] != "C" else 22
            yield from _bone(region, _rod(side, (10, canal, z), (reach, canal + 8, z), (5.5, 4.5)), 2.0)
        body = Stack(rows=((z - half, 0, y, wide, deep), (z, 0, y, wide - 2, deep - 1), (z + half, 0, y, wide, deep)))
        yield from _bone(region, body, 2.0)
    cord = [(0, spine_y(z) + {"L": 25, "T": 23, "C": 17}[level[0]], z) for level, (z, _) in LEVELS.items()]
    for start, end in pairwise(cord):
        yield Part(region="spinal_cord", tissue="soft", shape=Cone(start=start, end=end, r0=8, r1=8))


def _rib_cage() -> Iterator[Part]:
    wall = Stack(rows=RIB_WALL)
    for number in range(1, 13):
        last = {11: 95.0, 12: 65.0}.get(number, 140.0 if number < 8 else 125.0)
        for side, name in SIDES:
            drop = 40.0 if number == 1 else 72.0
            height = LEVELS[f"T{number}"][0] + 3
            rib = Plate(wall=wall, side=side, angles=(16, last), height=height, drop=drop, half=6.5, thick=4.5)
            yield from _bone(f"rib_{name}_{number}", rib, 1.6)
    handle = Stack(rows=((292, 0, -74, 15, 6), (335, 0, -62, 26, 7), (350, 0, -56, 28, 7)))
    body = Stack(rows=((205, 0, -92, 14, 6), (250, 0, -86, 18, 6), (288, 0, -76, 15, 6)))
    yield from _bone("sternum", handle, 1.8)
    yield from _bone("sternum", body, 1.8)


def _shoulders() -> Iterator[Part]:
    outer = Stack(rows=((200, 0, 6, 150, 107), (300, 0, 10, 136, 102), (380, 0, 14, 120, 90)))
    for side, name in SIDES:
        blade = Plate(wall=outer, side=side, angles=(30, 66), height=300, drop=-16, half=55, thick=4.0)
        yield from _bone(f"scapula_{name}", blade, 1.6)
        yield from _bone(f"scapula_{name}", _rod(side, (60, 88, 338), (158, 36, 372), (7, 8)), 2.0)
        yield from _bone(f"scapula_{name}", _rod(side, (118, 46, 330), (132, 28, 345), (9, 14)), 2.0)
        yield from _bone(f"clavicula_{name}", _rod(side, (26, -54, 352), (90, -40, 372), (8, 6.5)), 2.0)
        yield from _bone(f"clavicula_{name}", _rod(side, (90, -40, 372), (148, 8, 378), (6.5, 7)), 2.0)


def _arm_bones(arms: str) -> Iterator[Part]:
    shoulder, elbow, wrist = _arm_joints(arms)
    for side, name in SIDES:
        head = Ellipsoid(centre=_mirror(shoulder, side), radii=(23, 23, 24))
        yield from _bone(f"humerus_{name}", head, 2.5)
        yield from _bone(f"humerus_{name}", _rod(side, shoulder, elbow, (13, 12)), 4.0)
        for region, lower, upper in (("radius", -9, -12), ("ulna", 9, 10)):
            start = (elbow[0], elbow[1] + upper, elbow[2])
            tip = (wrist[0], wrist[1] + lower, wrist[2])
            yield from _bone(f"{region}_{name}", _rod(side, start, tip, (8, 7)), 2.5)


def _pelvis() -> Iterator[Part]:
    iliac = Stack(rows=ILIAC_WALL)
    for side, name in SIDES:
        region = f"hip_{name}"
        wing = Plate(wall=iliac, side=side, angles=(24, 108), height=-62, drop=-6, half=66, thick=7.5)
        yield from _bone(region, wing, 2.2)
        yield from _bone(region, Ellipsoid(centre=(side * 88, 8, -135), radii=(36, 36, 36)), 2.5)
        yield from _bone(region, _rod(side, (80, 24, -150), (56, 40, -200), (17, 14)), 2.5)
        yield from _bone(region, _rod(side, (76, -22, -146), (10, -58, -162), (10, 10)), 2.5)
        yield from _bone(region, _rod(side, (56, 34, -204), (12, -48, -178), (8, 8)), 2.0)
        joint = Ellipsoid(centre=(side * 88, 6, -140), radii=(28, 28, 28))
        yield Part(region="muscle", tissue="soft", shape=joint)
    rows = ((-150, 0, 72, 16, 7), (-110, 0, 74, 30, 12), (-75, 0, 60, 46, 18), (-48, 0, 40, 50, 19))
    yield from _bone("sacrum", Stack(rows=rows), 2.2)


def _legs() -> Iterator[Part]:
    for side, name in SIDES:
        region = f"femur_{name}"
        parts: list[tuple[Shape, float]] = [
            (_rod(side, (90, 6, -141), (132, 14, -178), (15, 17)), 2.5),
            (_rod(side, (132, 14, -178), (88, 10, -560), (17, 16)), 5.0),
            (Ellipsoid(centre=(side * 88, 6, -140), radii=(24.5, 24.5, 24.5)), 2.0),
            (_rod(side, (88, 10, -560), (80, 12, -590), (20, 36)), 3.0),
        ]
        for shape, _ in parts:
            yield Part(region=region, tissue="cortical", shape=shape)
        for shape, cortex in parts:
            yield Part(region=region, tissue="marrow", shape=shape.inset(cortex))
        yield from _bone(f"tibia_{name}", _rod(side, (78, 10, -640), (75, 20, -960), (26, 14)), 4.0)


def _head() -> Iterator[Part]:
    for side, _ in SIDES:
        yield from _bone("skull", _rod(side, (50, -6, 512), (0, -82, 484), (8, 10)), 2.0)
    yield from _bone("skull", Ellipsoid(centre=(0, -62, 532), radii=(46, 32, 24)), 2.0)
    yield Part(region="nasal_cavity", tissue="airway", shape=Ellipsoid(centre=(0, -66, 530), radii=(16, 26, 17)))
    vault = Ellipsoid(centre=(0, 0, 583), radii=(71, 88, 77))
    yield from _bone("skull", vault, 2.2)
    yield Part(region="skull", tissue="cortical", shape=vault.inset(5.4))
    yield Part(region="brain", tissue="soft", shape=vault.inset(7.4))
    yield Part(region="brain", tissue="brain", shape=vault.inset(9.4))

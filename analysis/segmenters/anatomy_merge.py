"""From a network's label map on CT to the anatomy of a study, with what no network knows taken from the rules.

A network knows organs and bones better than rules do. It knows no urine, pharynx or uptake along bowel, and no bones of
forearm, hand, lower leg and foot; there the rules' regions fill in, so that lesions are judged equally with both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from analysis.grids import crop_to, part, regrid, resample
from analysis.segmenters.anatomy_names import BOWEL, KIDNEYS, LUNGS, URINARY_TRACT, Kind, is_bone, kind_of
from analysis.segmenters.morphology import closing, dilate, larger_than
from analysis.segmenters.rules_anatomy import EXCRETION
from analysis.values import Anatomy, BoolArray, FloatArray, Grid, LabelArray, Labelmap, Model, Tracer

CLOSED_MM = 4.0  # gaps of the skeleton narrower than twice this are bone: discs, and seams between labels
WORKING_MM = 2.0
URINE_MM = 20.0  # so far beside a kidney or bladder of the network's urine of the rules is believed
LIMB_MM, LIMB_ML = 6.0, 10.0  # the rules' bone counts so far from the network's, and from this volume on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtLabels:
    """A network's labels of a CT, or of the part of it that matters: uint8 on `grid`, and the labels' names."""

    grid: Grid
    labels: LabelArray
    names: Mapping[int, str]

    def mask(self, names: Iterable[str]) -> BoolArray:
        """Where one of the named regions lies, on the CT."""
        wanted = frozenset(names)
        table = np.zeros(256, dtype=bool)
        table[[label for label, name in self.names.items() if name in wanted]] = True
        return table[self.labels]


def merge(found: CtLabels, rules: Anatomy, tracer: Tracer, model: Model) -> Anatomy:
    """The study's anatomy from the network's labels and the rules' of the same study; only the rules tell a confidence."""
    pet = rules.regions.grid
    network = to_pet(found, pet)
    regions = join(network, rules.regions)
    limbs = regions.mask("skeleton")
    theirs = set(regions.names.values()) - set(network.names.values()) - {"skeleton"}
    return Anatomy(
        regions=regions,
        bone=np.maximum(bone_fraction(found, pet), np.where(limbs, rules.bone, 0.0)),
        model=model,
        physiological=physiological(rules.physiological, tracer),
        confidence={name: value for name, value in rules.confidence.items() if name in theirs},
    )


def physiological(rules: frozenset[str], tracer: Tracer) -> frozenset[str]:
    """What is physiological for the rules, by the network's names too; on PentixaFor also adrenals, which rules do not see."""
    cysts = {cyst for kidney, cyst in KIDNEYS.items() if kidney in rules}
    adrenals = {"adrenal_gland_left", "adrenal_gland_right"} if tracer is Tracer.PENTIXAFOR else set()
    return rules | cysts | adrenals


def to_pet(found: CtLabels, pet: Grid) -> Labelmap:
    """The labels at the centres of the PET's voxels; only names that occur."""
    labels = resample(found.grid, found.labels.astype(np.int32), pet, nearest=True)
    present = np.unique(labels)
    return Labelmap(grid=pet, labels=labels, names={n: found.names.get(n, f"region {n}") for n in map(int, present) if n})


def join(network: Labelmap, rules: Labelmap) -> Labelmap:
    """The network's regions, and on the same grid what the rules add to them."""
    labels, names = network.labels.copy(), dict(network.names)
    for name, mask in additions(network, rules).items():
        number = next((n for n, known in names.items() if known == name), max(names, default=0) + 1)
        names[number] = name
        labels[mask] = number
    return Labelmap(grid=network.grid, labels=labels, names=names)


def additions(network: Labelmap, rules: Labelmap) -> dict[str, BoolArray]:
    """What the rules add, by name. Only urine and pharynx may take voxels from the network: from muscles, vessels and bowel."""
    silent = network.labels == 0
    soft = silent | network.mask(*(n for n in network.names.values() if n in BOWEL or kind_of(n) in (Kind.MUSCLE, Kind.VESSEL)))
    known = {name for name in network.names.values() if network.mask(name).any()}
    known |= {side for side, lobes in LUNGS.items() if known.intersection(lobes)}
    out = {}
    for name in rules.names.values():
        mask = rules.mask(name)
        if name == "skeleton":
            out[name] = far_bones(network, mask & silent)
        elif name in EXCRETION:
            out[URINARY_TRACT if name in known else name] = near(network, name, mask & soft) if name in known else mask & soft
        elif name not in known:
            out[name] = mask & (soft if name == "pharynx" else silent)
    return {name: mask for name, mask in out.items() if mask.any()}


def near(network: Labelmap, organ: str, mask: BoolArray) -> BoolArray:
    """The part of the mask that lies within URINE_MM of the network's organ."""
    return mask & dilate(network.grid, network.mask(organ), URINE_MM)


def far_bones(network: Labelmap, mask: BoolArray) -> BoolArray:
    """The rules' bones that the network has no name for, as it has none for forearms and lower legs."""
    named = network.mask("costal_cartilages", *filter(is_bone, network.names.values()))
    return larger_than(network.grid, mask & ~dilate(network.grid, named, LIMB_MM), LIMB_ML)


def bone_fraction(found: CtLabels, pet: Grid) -> FloatArray:
    """float32 on the PET grid: the part of each voxel that lies in the closed skeleton."""
    bone = found.mask(filter(is_bone, found.names.values()))
    if not bone.any():
        return np.zeros(pet.shape, dtype=np.float32)
    box = crop_to(found.grid, bone, 2 * CLOSED_MM)
    grid, cut = part(found.grid, box), found.labels[box]
    k, j, i = (max(step, WORKING_MM) for step in grid.spacing)
    coarse = regrid(grid, (k, j, i))
    free = resample(grid, cut == 0, coarse, nearest=True)
    skeleton = resample(grid, bone[box], coarse, nearest=True)
    closed = skeleton | (closing(coarse, skeleton, CLOSED_MM) & free)
    return occupancy(coarse, closed, pet)


def occupancy(grid: Grid, mask: BoolArray, onto: Grid) -> FloatArray:
    """float32 of onto.shape: the part of each of its voxels that the mask, which lies on `grid`, fills.

    Exact where the axes of both grids are parallel, as those of PET and CT of one session are; else from a grid along
    onto's axes that is as fine as the mask's.
    """
    if np.allclose(directions(grid), directions(onto), atol=1e-4):
        return averaged(grid, mask.astype(np.float32), onto)
    k, j, i = (min(*grid.spacing, step) for step in onto.spacing)
    fine = regrid(onto, (k, j, i))
    return averaged(fine, resample(grid, mask, fine), onto)


def averaged(grid: Grid, values: FloatArray, onto: Grid) -> FloatArray:
    """float32 of onto.shape: the mean of the values over each voxel, 0 beyond the grid. The grids' axes are parallel."""
    start = onto.to_index(grid.affine[:3, 3])
    for axis in range(3):
        shares = overlaps(onto.shape[axis], grid.shape[axis], float(start[axis]), grid.spacing[axis] / onto.spacing[axis])
        values = _along(shares, values, axis)
    return values


def _along(shares: sparse.csr_array, values: FloatArray, axis: int) -> FloatArray:
    moved = np.moveaxis(values, axis, 0)
    summed = shares @ moved.reshape(moved.shape[0], -1)
    return np.ascontiguousarray(np.moveaxis(summed.reshape(-1, *moved.shape[1:]), 0, axis), dtype=np.float32)


def directions(grid: Grid) -> FloatArray:
    """3 x 3: unit vectors of the grid's axes, by column."""
    return np.asarray(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))


def overlaps(count: int, parts: int, start: float, step: float) -> sparse.csr_array:
    """(count, parts): the share of cell n, from n - 1/2 to n + 1/2, that part m covers, `step` long, around start + m step."""
    low = start + (np.arange(parts) - 0.5) * step
    first = np.floor(low + 0.5).astype(int)
    reach = int(np.ceil(step)) + 1
    cells = first[:, None] + np.arange(reach + 1)
    share = np.minimum(cells + 0.5, (low + step)[:, None]) - np.maximum(cells - 0.5, low[:, None])
    use = (share > 0) & (cells >= 0) & (cells < count)
    columns = np.broadcast_to(np.arange(parts)[:, None], cells.shape)
    return sparse.csr_array((share[use].astype(np.float32), (cells[use], columns[use])), shape=(count, parts))

"""Organs of physiological uptake, told from CT and both PETs together, by position and by what is hot on both tracers.

Everything is said relative to the line of the spine: `right_left` grows to the patient's left, `front_back` to the back.
A kidney, ureter or bladder excretes both tracers, so it must be hot on both where both scans see it; a lesion seldom is in
just these places. Distances are those of adult anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import to_image
from analysis.segmenters.morphology import (
    closing,
    components,
    crop_to,
    dilate,
    distance_to,
    erode,
    fill_slices,
    largest,
    opening,
    part,
    touching,
)
from analysis.segmenters.rules_ct import CtStructures
from analysis.values import BoolArray, FloatArray, Grid, LabelArray, Tracer

# SUV that an excreting organ exceeds: the usual kidney is about 3 (FDG) and 5 (PentixaFor), soft tissue 0.6.
HOT = {Tracer.FDG: 2.5, Tracer.PENTIXAFOR: 3.0}
URINE = {Tracer.FDG: 3.5, Tracer.PENTIXAFOR: 3.5}
MISREGISTRATION_MM = 7.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One study as the rules see it: CT structures, and both tracers' SUV on the CT's working grid.

    suv: by tracer; NaN where that PET does not reach. right_left, front_back, height: mm, broadcastable to the grid.
    """

    ct: CtStructures
    suv: Mapping[Tracer, FloatArray]
    right_left: FloatArray
    front_back: FloatArray
    height: FloatArray
    soft: BoolArray

    def box(self, right_left: tuple[float, float], front_back: tuple[float, float]) -> BoolArray:
        """Where both coordinates lie between the limits (mm)."""
        across = (self.right_left >= right_left[0]) & (self.right_left <= right_left[1])
        along = (self.front_back >= front_back[0]) & (self.front_back <= front_back[1])
        return np.broadcast_to(across & along, self.ct.grid.shape)

    def hot(self, limits: Mapping[Tracer, float]) -> BoolArray:
        """Above the limit on each tracer that reaches the voxel, give or take the registration; on at least one."""
        every = np.ones(self.ct.grid.shape, dtype=bool)
        some = np.zeros(self.ct.grid.shape, dtype=bool)
        for tracer, suv in self.suv.items():
            above = np.nan_to_num(suv) > limits[tracer]
            every &= ~np.isfinite(suv) | dilate(self.ct.grid, above, MISREGISTRATION_MM)
            some |= above
        return every & some & ~self.ct.skeleton & self.ct.body

    def reach(self, mask: BoolArray) -> tuple[float, float] | None:
        """Lowest and highest z (mm) of a mask."""
        rows = np.flatnonzero(mask.any(axis=(1, 2)))
        return (float(self.height[rows[0], 0, 0]), float(self.height[rows[-1], 0, 0])) if rows.size else None

    def lungs_bottom(self) -> float | None:
        """z (mm) below which the lungs are less than a fifth of their widest section; None without lungs."""
        area = self.ct.lungs.sum(axis=(1, 2))
        return float(self.height[np.flatnonzero(area > 0.2 * area.max())[0], 0, 0]) if area.any() else None


def look(ct: CtStructures, suv: Mapping[Tracer, FloatArray]) -> Scene:
    """Lays the spine's coordinates over a CT's upright working grid; without a spine the body's middle serves."""
    grid = ct.grid
    z, y, x = (grid.affine[2 - a, 3] + grid.spacing[a] * np.arange(grid.shape[a]) for a in range(3))
    middle = grid.to_world(np.argwhere(ct.body)).mean(axis=0)[:2]
    spine = ct.spine if ct.spine is not None else np.tile(middle, (z.size, 1))
    smooth = ndimage.gaussian_filter(ct.hu, 0.7)
    return Scene(
        ct=ct,
        suv={tracer: steady(v) for tracer, v in suv.items()},
        right_left=(x[None, :] - spine[:, :1])[:, None, :],
        front_back=(y[None, :] - spine[:, 1:])[:, :, None],
        height=z[:, None, None],
        soft=(smooth > -10) & (smooth < 300) & ct.body & ~ct.skeleton,
    )


def steady(suv: FloatArray) -> FloatArray:
    """SUV smoothed against noise (NaN where the PET does not reach stays NaN)."""
    reach = np.isfinite(suv)
    weight = ndimage.gaussian_filter(reach.astype(np.float32), 1.0)
    smooth = ndimage.gaussian_filter(np.where(reach, suv, 0.0), 1.0) / np.maximum(weight, 1e-3)
    return np.where(reach, smooth, np.nan)


def find_organs(scene: Scene) -> dict[str, BoolArray]:
    """Masks on the working grid by name; later names give way to earlier ones where they meet."""
    crest, excreting, urine = pelvis_top(scene), scene.hot(HOT), scene.hot(URINE)
    left, right = (kidney(scene, excreting, crest, side) for side in (+1, -1))
    bladder = find_bladder(scene, urine & ~left & ~right, crest)
    heart = find_heart(scene)
    liver = find_liver(scene, left | right | heart, crest)
    middle = scene.right_left > 0
    return {
        "kidney_left": left,
        "kidney_right": right,
        "urinary_bladder": bladder,
        "ureter": find_ureters(scene, urine, left | right, bladder),
        "brain": find_brain(scene),
        "spleen": find_spleen(scene, left | right, liver),
        "liver": liver,
        "heart": heart,
        "aorta": find_aorta(scene),
        "pharynx": find_pharynx(scene),
        "bowel": find_bowel(scene, left | right | bladder | liver),
        "lung_left": scene.ct.lungs & middle,
        "lung_right": scene.ct.lungs & ~middle,
    }


def hottest(scene: Scene, mask: BoolArray, least_ml: float) -> BoolArray:
    """The component with the greatest total uptake of the tracers that see it, at least least_ml large."""
    labels, sizes = components(mask)
    if not sizes.size or sizes.max() * scene.ct.grid.voxel_ml < least_ml:
        return np.zeros_like(mask)
    uptake = sum(np.nan_to_num(suv) / HOT[tracer] for tracer, suv in scene.suv.items())
    total = ndimage.sum_labels(uptake, labels, np.arange(1, sizes.size + 1))
    total = np.where(sizes * scene.ct.grid.voxel_ml >= least_ml, total, -1.0)
    return np.asarray(labels == int(np.argmax(total)) + 1)


def kidney(scene: Scene, hot: BoolArray, crest: float | None, side: int) -> BoolArray:
    """The kidney on one side (+1 left), with its pelvis: the organ beside the spine that is hot on both tracers.

    crest: z of the iliac crests, where they are known. Told by what there is: a solid hot organ; else the CT's organ around
    hot calyces; else, where CT shows no border, the greatest hot cluster, what lies within 16 mm counted as one.
    """
    grid = scene.ct.grid
    across = (18.0, 105.0) if side > 0 else (-105.0, -18.0)
    zone = scene.box(across, (-75.0, 55.0)) & ~scene.ct.lungs
    bottom = scene.lungs_bottom()
    if bottom is not None:
        zone = zone & (scene.height < bottom + 50.0)
    if crest is not None:
        zone = zone & (scene.height > crest - 45.0)
    found = hottest(scene, opening(grid, hot & zone, 6.0), 60.0)
    if not found.any():
        found = kidney_on_ct(scene, hot & zone, zone)
    if not found.any():
        found = hottest(scene, closing(grid, hot & zone, 8.0), 4.0)
    poles = found | beyond_the_poles(scene, found, hot & zone)
    return closing(grid, poles, 9.0) & ~scene.ct.skeleton if found.any() else found


def beyond_the_poles(scene: Scene, found: BoolArray, hot: BoolArray) -> BoolArray:
    """Hot spots that lie for the greater part straight above or below a kidney, up to 27 mm: calyces of a pole missed on CT."""
    up = round(27.0 / scene.ct.grid.spacing[0])
    column = ndimage.binary_dilation(found, np.ones((2 * up + 1, 1, 1), dtype=bool))
    labels, sizes = components(hot & ~found)
    if not sizes.size:
        return np.zeros_like(found)
    inside = ndimage.mean(column.astype(np.float32), labels, np.arange(1, sizes.size + 1))
    return np.concatenate([[False], np.asarray(inside) > 0.5])[labels]


def kidney_on_ct(scene: Scene, hot: BoolArray, zone: BoolArray) -> BoolArray:
    """The basins of depth that are a kidney: hot, of a kidney's size and place, and close to the one that is hot most."""
    grid = scene.ct.grid
    out = np.zeros_like(hot)
    if not hot.any():
        return out
    box = crop_to(grid, zone, 40.0)
    basins = depth_basins(part(grid, box), scene.soft[box])
    count = int(basins.max()) + 1
    volume = np.bincount(basins.ravel(), minlength=count) * grid.voxel_ml
    glowing = np.bincount(basins.ravel(), weights=hot[box].ravel(), minlength=count) * grid.voxel_ml
    centre = np.array(ndimage.center_of_mass(np.ones(basins.shape, np.uint8), basins, np.arange(count))) * grid.spacing
    place = np.array(ndimage.mean(zone[box].astype(np.float32), basins, np.arange(count)))
    maybe = (glowing > 1.0) & (glowing > 0.03 * volume) & (volume < 350.0) & (place > 0.8)
    maybe[0] = False
    if not (maybe & (volume > 15.0)).any():
        return out
    chief = int(np.argmax(np.where(maybe & (volume > 15.0), glowing, -1.0)))
    away = np.abs(centre - centre[chief])
    near = (
        maybe & (away[:, 0] < 75.0) & (np.hypot(away[:, 1], away[:, 2]) < 35.0) & ((volume > 15.0) | (glowing < 0.4 * volume))
    )
    out[box] = near[basins]
    return out


def depth_basins(grid: Grid, soft: BoolArray) -> LabelArray:
    """Soft tissue divided at its waists (0 elsewhere).

    Depth is the distance to fat, gas, lung or bone; two organs that touch are two basins where the waist between them is at
    least 2 mm shallower than both.
    """
    depth = to_image(grid, -distance_to(grid, ~soft).astype(np.float32))
    basins = sitk.MorphologicalWatershed(depth, level=2.0, markWatershedLine=False)
    return np.where(soft, sitk.GetArrayFromImage(basins).astype(np.int32), 0)


def pelvis_top(scene: Scene) -> float | None:
    """z (mm) of the iliac crests: the top of the greatest run of slices with thick bone on both sides below the lungs.

    At least 15 ml of it on each side, so that a rib or two are no pelvis; not as far out or in front as arms lie.
    """
    thick = opening(scene.ct.grid, scene.ct.skeleton, 5.0)
    bottom = scene.lungs_bottom()
    if bottom is not None:
        thick = thick & (scene.height < bottom - 60.0)
    left = (thick & scene.box((45.0, 160.0), (-110.0, 70.0))).sum(axis=(1, 2))
    right = (thick & scene.box((-160.0, -45.0), (-110.0, 70.0))).sum(axis=(1, 2))
    runs, count = ndimage.label((left > 10) & (right > 10))
    if not count:
        return None
    smaller = np.minimum(*(ndimage.sum_labels(side, runs, np.arange(1, count + 1)) for side in (left, right)))
    if smaller.max() * scene.ct.grid.voxel_ml < 15.0:
        return None
    return float(scene.height[np.flatnonzero(runs == int(np.argmax(smaller)) + 1)[-1], 0, 0])


def find_bladder(scene: Scene, urine: BoolArray, crest: float | None) -> BoolArray:
    """The greatest cluster in front of the sacrum, between the hip bones, that is hot on both tracers."""
    if crest is None:
        return np.zeros_like(urine)
    hot = urine & (scene.height < crest - 20.0) & (np.abs(scene.right_left) < 90.0)
    zone = scene.box((-60.0, 60.0), (-170.0, -15.0)) & (scene.height < crest - 40.0)
    cluster = hottest(scene, hot & zone, 8.0)
    return closing(scene.ct.grid, touching(hot, cluster), 6.0) & ~scene.ct.skeleton if cluster.any() else cluster


def find_ureters(scene: Scene, urine: BoolArray, kidneys: BoolArray, bladder: BoolArray) -> BoolArray:
    """Hot tracks beside the spine between kidneys and bladder: long and at most 25 mm wide, or joined to either and thin."""
    span = scene.reach(kidneys)
    if span is None:
        return np.zeros_like(kidneys)
    grid = scene.ct.grid
    corridor = scene.box((-70.0, 70.0), (-110.0, 5.0)) & (scene.height < span[1])
    tracks = urine & ~kidneys & ~bladder
    labels, sizes = components(tracks)
    inside = np.bincount(labels[corridor], minlength=sizes.size + 1)[1:] > 0.8 * sizes
    joined = np.unique(labels[dilate(grid, kidneys | bladder, 9.0) & tracks])
    keep = []
    for n, box in enumerate(ndimage.find_objects(labels), start=1):
        long, *wide = [(s.stop - s.start) * step for s, step in zip(box, grid.spacing, strict=True)]
        small = inside[n - 1] and max(wide) <= 25.0 and sizes[n - 1] * grid.voxel_ml < 12.0
        if small and (long >= 2.0 * max(wide) or (n in joined and max(wide) <= 16.0)):
            keep.append(n)
    return np.isin(labels, keep)


def find_brain(scene: Scene) -> BoolArray:
    """Soft tissue enclosed by the skull: what a ring of bone holds in axial slices, at least 150 ml and 30 mm thick."""
    grid = scene.ct.grid
    ring = closing(grid, scene.ct.skeleton, 6.0)
    inside = fill_slices(ring) & ~scene.ct.skeleton & (scene.ct.hu > -20) & (scene.ct.hu < 110)
    core = largest(opening(grid, inside, 15.0))
    if core.sum() * grid.voxel_ml < 150.0:
        return np.zeros_like(core)
    return dilate(grid, core, 12.0) & inside


def find_heart(scene: Scene) -> BoolArray:
    """The thickest part of what lies between the lungs, at least 32 mm across, and its surface.

    In the lower half of the lungs; at the right only where lung lies in front, which ends at the dome of the liver, and not
    as far as the right hilum, whose masses are no heart; at the left as far down as lung lies in front there.
    """
    grid, lungs = scene.ct.grid, scene.ct.lungs
    span = scene.reach(lungs)
    if span is None:
        return np.zeros_like(lungs)
    half = scene.height < span[0] + 0.55 * (span[1] - span[0])
    between = between_lungs(lungs) & scene.soft & half & scene.box((-30.0, 140.0), (-240.0, -20.0))
    at_right = lung_in_front(scene, (-250.0, -20.0), 0.35)
    at_left = lung_in_front(scene, (20.0, 250.0), 0.2) & (scene.right_left > 5.0)
    core = largest(opening(grid, closing(grid, between & (at_right | at_left), 4.0), 16.0))
    return dilate(grid, core, 8.0) & scene.soft


def between_lungs(lungs: BoolArray) -> BoolArray:
    """In each slice the rectangle around both lungs."""
    rows, columns = np.asarray(lungs.any(axis=2)), np.asarray(lungs.any(axis=1))

    def spanned(line: BoolArray) -> BoolArray:
        forward = np.maximum.accumulate(line, axis=1)
        return forward & np.maximum.accumulate(line[:, ::-1], axis=1)[:, ::-1]

    return np.asarray(spanned(rows)[:, :, None] & spanned(columns)[:, None, :])


def lung_in_front(scene: Scene, right_left: tuple[float, float], share: float) -> BoolArray:
    """(nk, 1, 1) the slices that hold at least this part of the most lung in front of the spine on one side."""
    area = (scene.ct.lungs & scene.box(right_left, (-300.0, -30.0))).sum(axis=(1, 2))
    return np.asarray(area > share * area.max())[:, None, None]


def find_aorta(scene: Scene) -> BoolArray:
    """The descending aorta in the chest: a round cord at the left front of the spine, beside the left lung."""
    grid = scene.ct.grid
    span = scene.reach(scene.ct.lungs)
    if span is None:
        return np.zeros(grid.shape, dtype=bool)
    low, high = span
    cord = scene.soft & scene.box((-8.0, 50.0), (-65.0, 5.0))
    cord = cord & (scene.height > low) & (scene.height < low + 0.6 * (high - low))
    return largest(opening(grid, cord, 8.0))


def find_pharynx(scene: Scene) -> BoolArray:
    """Mucosa and tonsils: soft tissue within 10 mm of the airway, more than 50 mm above the lungs."""
    top = scene.reach(scene.ct.lungs)
    if top is None:
        return np.zeros(scene.ct.grid.shape, dtype=bool)
    above = scene.height > top[1] + 50.0
    airway = scene.ct.gas & above & scene.box((-35.0, 35.0), (-160.0, 0.0))
    return dilate(scene.ct.grid, airway, 10.0) & scene.soft & above


def find_bowel(scene: Scene, other: BoolArray) -> BoolArray:
    """The walls of gas-holding bowel and stomach: soft tissue within 12 mm of gas in front of the spine, below the lungs."""
    bottom = scene.lungs_bottom()
    below = scene.height < (np.inf if bottom is None else bottom + 60.0)
    gas = scene.ct.gas & below & scene.box((-200.0, 200.0), (-400.0, 10.0))
    return dilate(scene.ct.grid, gas, 12.0) & scene.soft & below & ~other


def find_liver(scene: Scene, other: BoolArray, crest: float | None) -> BoolArray:
    """The largest even organ at the right below the lungs: within 40 HU of its own median, at least 30 mm thick."""
    grid = scene.ct.grid
    smooth = ndimage.gaussian_filter(scene.ct.hu, 1.5)
    soft = (smooth > 15) & (smooth < 220) & scene.soft & ~other
    bottom = scene.lungs_bottom()
    if bottom is not None:
        soft = soft & (scene.height < bottom + 130.0)
    if crest is not None:
        soft = soft & (scene.height > crest - 20.0)
    core = largest(opening(grid, soft & ~scene.ct.lungs, 15.0) & (scene.right_left < -20.0))
    if core.sum() * grid.voxel_ml < 150.0:
        return np.zeros_like(core)
    middle = (
        float(np.median(smooth[erode(grid, core, 6.0) & core]))
        if erode(grid, core, 6.0).any()
        else float(np.median(smooth[core]))
    )
    even = soft & (np.abs(smooth - middle) < 40.0)
    body = largest(opening(grid, even, 12.0) & (scene.right_left < 90.0))
    return np.asarray(body | (dilate(grid, body, 6.0) & even))


def find_spleen(scene: Scene, kidneys: BoolArray, liver: BoolArray) -> BoolArray:
    """The organ at the left back under the ribs: by its PentixaFor uptake above the liver's, else by its place on CT."""
    grid = scene.ct.grid
    span = scene.reach(liver) or scene.reach(kidneys)
    if span is None:
        return np.zeros_like(liver)
    ribs = distance_to(grid, scene.ct.skeleton & (scene.right_left > 50.0)) < 45.0
    zone = scene.soft & scene.box((40.0, 200.0), (-110.0, 70.0)) & ribs & ~kidneys & ~liver
    zone = zone & (scene.height > span[0] - 30.0) & (scene.height < span[1] + 30.0)
    organ = hottest(scene, opening(grid, zone, 9.0), 40.0)
    uptake = scene.suv.get(Tracer.PENTIXAFOR)
    if uptake is None or not (liver & np.isfinite(uptake)).any():
        return organ
    warm = np.nan_to_num(ndimage.gaussian_filter(np.nan_to_num(uptake), 1.0)) > 1.3 * float(np.nanmedian(uptake[liver]))
    hot = hottest(scene, opening(grid, warm & zone, 6.0), 40.0)
    if not hot.any():
        return organ
    around = warm & scene.soft & (scene.right_left > 25.0) & ~kidneys & ~liver & (distance_to(grid, hot) < 30.0)
    return closing(grid, hot | touching(opening(grid, around, 4.0), hot), 6.0) & scene.soft


def tidy(masks: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
    """The masks without overlap: each voxel goes to the first name that claims it."""
    taken = np.zeros(next(iter(masks.values())).shape, dtype=bool)
    out = {}
    for name, mask in masks.items():
        out[name] = mask & ~taken
        taken |= mask
    return out

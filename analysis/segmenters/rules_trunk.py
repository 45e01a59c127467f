"""Heart, aorta, liver and spleen: told by density, size and place on CT, and by what both PETs show of them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.grids import box_of
from analysis.segmenters.morphology import closing, dilate, erode, largest, opening, touching
from analysis.segmenters.rules_scene import Scene, hottest
from analysis.segmenters.rules_urinary import pelvis_top
from analysis.values import BoolArray, FloatArray, Tracer


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


AORTA_MM = 13.0  # the half-width that counts as all of it


def find_aorta(scene: Scene) -> BoolArray:
    """The descending aorta, chest and belly: the cord of soft tissue that runs at the left front of the spine.

    Of all ways down, a step of a voxel a slice, the one that is deepest in soft tissue, best filled with contrast or blood.
    """
    out = np.zeros(scene.ct.grid.shape, dtype=bool)
    rows, crest = np.asarray(scene.ct.body.any(axis=(1, 2))), pelvis_top(scene)
    lungs = scene.reach(scene.ct.lungs)
    height = scene.height[:, 0, 0]
    if lungs is not None:
        rows = rows & np.asarray(height < lungs[0] + 0.6 * (lungs[1] - lungs[0]))
    if crest is not None:
        rows = rows & np.asarray(height > crest - 5.0)
    zone = scene.box((-14.0, 46.0), (-70.0, 2.0)) & rows[:, None, None]
    if (lungs is None and crest is None) or rows.sum() < 20 or not zone.any():
        return out
    box = box_of(zone)
    soft = scene.soft[box]
    step = scene.ct.grid.spacing[1]
    depth = np.stack([np.minimum(ndimage.distance_transform_edt(plane) * step, AORTA_MM) for plane in soft])
    merit = np.where(zone[box], depth / AORTA_MM + brightness(scene, box), 0.0)
    path = best_way(merit)
    j, i = np.indices(soft.shape[1:])
    for row, (at_j, at_i) in enumerate(path):
        wide = min(depth[row, at_j, at_i], AORTA_MM)
        if wide >= 6.0:
            out[box][row] = (np.hypot(j - at_j, i - at_i) * step <= wide) & soft[row]
    return out


def brightness(scene: Scene, box: tuple[slice, slice, slice]) -> FloatArray:
    """How much denser or hotter than flesh, 0 to 1, by contrast or blood: 40 HU more count 0.5, as does thrice the uptake."""
    flesh = scene.soft[box]
    hu = ndimage.gaussian_filter(scene.ct.hu[box], 1.0)
    level = float(np.median(hu[flesh])) if flesh.any() else 50.0
    out = 0.5 * np.clip((hu - level) / 40.0, 0.0, 1.0)
    for suv in scene.suv.values():
        here = flesh & np.isfinite(suv[box])
        if here.any():
            usual = max(float(np.median(suv[box][here])), 0.1)
            out = out + 0.25 * np.clip((np.nan_to_num(suv[box], nan=usual) / usual - 1.0) / 2.0, 0.0, 1.0)
    return np.asarray(out)


def best_way(merit: FloatArray) -> list[tuple[int, int]]:
    """(j, i) in each slice of the way with the greatest sum of merit whose steps are at most a voxel."""
    total = [merit[0]]
    for plane in merit[1:]:
        total.append(plane + ndimage.maximum_filter(total[-1], 3))
    j, i = np.unravel_index(int(total[-1].argmax()), merit.shape[1:])
    path = [(int(j), int(i))]
    for plane in total[-2::-1]:
        j0, i0 = max(path[-1][0] - 1, 0), max(path[-1][1] - 1, 0)
        near = plane[j0 : path[-1][0] + 2, i0 : path[-1][1] + 2]
        dj, di = np.unravel_index(int(near.argmax()), near.shape)
        path.append((j0 + int(dj), i0 + int(di)))
    return path[::-1]


def find_liver(scene: Scene, other: BoolArray, crest: float | None) -> BoolArray:
    """The largest even organ at the right below the lungs: within 40 HU of its own median, at least 30 mm thick."""
    grid = scene.ct.grid
    bottom = scene.lungs_bottom()
    rows = scene.height < (np.inf if bottom is None else bottom + 130.0)
    rows = rows & (scene.height > (-np.inf if crest is None else crest - 20.0))
    box = box_of(scene.soft & rows)
    smooth = np.full(grid.shape, -1024.0, dtype=np.float32)
    smooth[box] = ndimage.gaussian_filter(scene.ct.hu[box], 1.5, truncate=3.0)
    soft = (smooth > 15) & (smooth < 220) & scene.soft & ~other & rows
    core = largest(opening(grid, soft & ~scene.ct.lungs, 15.0) & (scene.right_left < -20.0))
    if core.sum() * grid.voxel_ml < 150.0:
        return np.zeros_like(core)
    middle = (
        float(np.median(smooth[erode(grid, core, 6.0) & core]))
        if erode(grid, core, 6.0).any()
        else float(np.median(smooth[core]))
    )
    even = soft & (np.abs(smooth - middle) < 40.0)
    shown = scene.relative(core)
    if shown is not None:
        even = even & (shown > 0.6)
    body = largest(opening(grid, even, 12.0) & (scene.right_left < 90.0))
    return np.asarray(body | (dilate(grid, body, 6.0) & even))


def find_spleen(scene: Scene, kidneys: BoolArray, liver: BoolArray) -> BoolArray:
    """The organ at the left back under the ribs: by its PentixaFor uptake above the liver's, else by its place on CT.

    By place alone it must hold 80 ml and take up half as much as the liver, so that bowel after a splenectomy is no spleen.
    """
    grid = scene.ct.grid
    span = scene.reach(liver) or scene.reach(kidneys)
    if span is None:
        return np.zeros_like(liver)
    ribs = dilate(grid, scene.ct.skeleton & (scene.right_left > 50.0), 45.0)
    zone = scene.soft & scene.box((40.0, 200.0), (-110.0, 70.0)) & ribs & ~kidneys & ~liver
    zone = zone & (scene.height > span[0] - 30.0) & (scene.height < span[1] + 30.0)
    uptake = scene.suv.get(Tracer.PENTIXAFOR)
    if uptake is None or not (liver & np.isfinite(uptake)).any():
        return hottest(scene, opening(grid, zone, 9.0), 80.0)
    share = np.nan_to_num(uptake) / max(float(np.nanmedian(uptake[liver])), 0.1)
    warm = share > 1.3
    hot = hottest(scene, opening(grid, warm & zone, 6.0), 40.0)
    if not hot.any():
        organ = hottest(scene, opening(grid, zone, 9.0), 80.0)
        return organ if organ.any() and float(np.median(share[organ])) > 0.6 else np.zeros_like(organ)
    around = warm & scene.soft & (scene.right_left > 25.0) & ~kidneys & ~liver & dilate(grid, hot, 30.0)
    return closing(grid, hot | touching(opening(grid, around, 4.0), hot), 6.0) & scene.soft

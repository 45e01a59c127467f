"""Kidneys, ureters and bladder: they excrete both tracers, so they are hot on both where both scans see them; a lesion seldom
is in just these places."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import crop_to, part, to_image
from analysis.segmenters.morphology import closing, components, dilate, distance_to, erode, largest, opening, touching
from analysis.segmenters.rules_scene import Scene, hottest
from analysis.values import BoolArray, Grid, LabelArray


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
    return closing(grid, poles, 9.0) & scene.soft & ~dilate(grid, scene.ct.skeleton, 3.5) if found.any() else found


def beyond_the_poles(scene: Scene, found: BoolArray, hot: BoolArray) -> BoolArray:
    """Hot spots that lie for the greater part straight above or below a kidney, up to 27 mm: calyces of a pole missed on CT."""
    up = round(27.0 / scene.ct.grid.spacing[0])
    column = ndimage.maximum_filter1d(found.view(np.uint8), 2 * up + 1, axis=0)
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
    """The greatest cluster in front of the sacrum, between the hips, hot on both tracers, as far as it is one on CT.

    On CT it is as dense as within; a lesion beside it seldom is, and lies in fat or muscle.
    """
    grid = scene.ct.grid
    if crest is None:
        return np.zeros_like(urine)
    hot = urine & (scene.height < crest - 20.0) & (np.abs(scene.right_left) < 90.0)
    zone = scene.box((-60.0, 60.0), (-170.0, -15.0)) & (scene.height < crest - 40.0)
    cluster = hottest(scene, hot & zone, 8.0)
    if not cluster.any() and not urine.any():
        return bladder_without_pet(scene, zone)
    if not cluster.any():
        return cluster
    whole = closing(grid, touching(hot, cluster), 6.0) & ~scene.ct.skeleton
    inner = erode(grid, cluster, 6.0) if erode(grid, cluster, 6.0).any() else cluster
    smooth, box = np.zeros(grid.shape, dtype=np.float32), crop_to(grid, whole, 12.0)
    smooth[box] = ndimage.gaussian_filter(scene.ct.smooth[box], 1.0)
    alike = whole & scene.soft & (np.abs(smooth - float(np.median(smooth[inner]))) < 25.0)
    core = closing(grid, largest(opening(grid, alike, 5.0)), 12.0) & whole  # streaks between the hips divide it
    return dilate(grid, core, 4.0) & whole if core.sum() > 0.3 * whole.sum() else whole


def bladder_without_pet(scene: Scene, zone: BoolArray) -> BoolArray:
    """The largest even body of water (-10 to 28 HU) in front of the sacrum, at least 40 ml."""
    grid = scene.ct.grid
    smooth = ndimage.gaussian_filter(scene.ct.hu, 1.5)
    water = scene.soft & (smooth > -10.0) & (smooth < 28.0)
    core = largest(opening(grid, water & zone, 10.0))
    if core.sum() * grid.voxel_ml < 40.0:
        return np.zeros_like(core)
    return dilate(grid, core, 6.0) & scene.soft


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

"""Bone told from contrast: by hand, and on the shared real CT with contrast put into its vessels and kidneys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import centres, grid_of
from analysis.segmenters.morphology import closing
from analysis.segmenters.rules_ct import read_ct
from analysis.segmenters.rules_skeleton import Bony, find_skeleton, mineral, rough_column, seen_along, surrounded
from analysis.values import Grid, Unit, Volume

GRID = Grid(shape=(40, 50, 60), affine=np.array([[0, 0, 3.0, -88.5], [0, 3.0, 0, -73.5], [3.0, 0, 0, -58.5], [0, 0, 0, 1]]))
# TotalSegmentator's `total` task, version 2.
BONES = (*range(25, 51), *range(69, 79), *range(91, 117))
FILLED = {2: 180, 3: 180, 52: 300, 65: 290, 66: 290}  # kidneys, aorta, iliac arteries: HU added by arterial contrast


def tube(x: float, y: float, radius_mm: float) -> np.ndarray:
    """A cylinder along the body."""
    place = centres(GRID)
    return np.asarray(np.hypot(place[..., 0] - x, place[..., 1] - y) <= radius_mm)


def bony(hu: np.ndarray) -> Bony:
    """A scene as read_ct makes it, all of it body."""
    body = np.ones(GRID.shape, dtype=bool)
    column = rough_column(GRID, hu)
    smooth = ndimage.gaussian_filter(hu, 0.65)
    return Bony(grid=GRID, hu=hu, smooth=smooth, body=body, column=column, mineral=mineral(GRID, hu, column))


def column_and_vessel() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU of a column (shell 500, marrow 150) with a vessel of 330 HU in front of it; and the masks of both."""
    column, vessel = tube(0.0, 20.0, 20.0), tube(8.0, -25.0, 10.0)
    hu = np.full(GRID.shape, 40.0, dtype=np.float32)
    hu[column] = 500.0
    hu[tube(0.0, 20.0, 15.5)] = 150.0
    hu[vessel] = 330.0
    hu += 10.0 * np.random.default_rng(1).standard_normal(GRID.shape).astype(np.float32)
    return hu, column, vessel


def test_a_vessel_full_of_contrast_is_no_bone_and_the_column_keeps_its_marrow() -> None:
    hu, column, vessel = column_and_vessel()
    found = find_skeleton(bony(hu))
    assert (found & vessel).sum() < 0.05 * vessel.sum()
    assert (found & column).sum() > 0.97 * column.sum()
    assert (found & ~column).sum() < 0.1 * column.sum()


def test_a_hole_in_marrow_with_a_torn_shell_belongs_to_the_bone() -> None:
    hu, column, _ = column_and_vessel()
    hole = np.linalg.norm(centres(GRID) - (12.0, 20.0, 0.0), axis=-1) <= 9.0
    hu[hole] = 45.0
    assert (find_skeleton(bony(hu)) & hole & column).sum() > 0.8 * (hole & column).sum()


def test_mineral_is_1_for_usual_bone_and_less_for_thin_bone() -> None:
    hu, _, _ = column_and_vessel()
    assert bony(hu).mineral == 1.0
    assert 0.6 <= bony(np.where(hu > 100, 0.45 * hu, hu).astype(np.float32)).mineral < 0.8


def test_directions_are_counted_one_by_one() -> None:
    point = np.zeros((9, 9, 9), dtype=bool)
    point[4, 4, 4] = True
    seen = seen_along(point, (1, 0, 0), 3)
    assert np.argwhere(seen).tolist() == [[1, 4, 4], [2, 4, 4], [3, 4, 4], [4, 4, 4]]
    cube = Grid(shape=(9, 9, 9), affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    shell = np.ones((9, 9, 9), dtype=bool)
    shell[2:7, 2:7, 2:7] = False
    count = surrounded(cube, shell, 24.0)
    assert count[4, 4, 4] == 18
    assert surrounded(cube, point, 24.0)[4, 4, 6] == 1


def test_arterial_contrast_in_a_real_ct_does_not_become_bone(shared_data: Path) -> None:
    image, truth = (
        sitk.DICOMOrient(sitk.ReadImage(str(shared_data / "ct_truth" / f"{name}.nii.gz")), "LPS") for name in ("ct", "labels")
    )
    grid, labels = grid_of(image), sitk.GetArrayFromImage(truth)
    hu = sitk.GetArrayFromImage(image).astype(np.float32)
    for label, more in FILLED.items():
        hu[(labels == label) & (hu > -30) & (hu < 150)] += more
    ct = read_ct(Volume(grid=grid, values=hu, unit=Unit.HU))
    where = tuple(np.round(grid.to_index(centres(ct.grid))).astype(int).reshape(-1, 3).T)
    bones, found = closing(grid, np.isin(labels, BONES), 4.0)[where], ct.skeleton.ravel()
    assert 2 * (bones & found).sum() / (bones.sum() + found.sum()) >= 0.87
    aorta = np.isin(labels, (2, 3, 52))[where]
    assert (found & aorta).sum() < 0.1 * aorta.sum()


def test_the_line_of_the_spine_does_not_turn_to_a_hip_below_the_sacrum(real_ct: Any) -> None:
    """In the real CT the column's middle is the vertebrae's and the sacrum's by TotalSegmentator; below it stays there."""
    ct = real_ct.ct
    column = real_ct.grid.to_world(np.argwhere(np.isin(real_ct.labels, range(25, 51))))
    rows = np.rint((column[:, 2] - ct.grid.affine[2, 3]) / ct.grid.spacing[0]).astype(int)
    for row in range(rows.min(), rows.max() + 1):
        assert abs(ct.spine[row, 0] - np.median(column[rows == row, 0])) < 12.0
    assert np.abs(ct.spine[: rows.min(), 0] - ct.spine[rows.min() + 5, 0]).max(initial=0.0) < 10.0

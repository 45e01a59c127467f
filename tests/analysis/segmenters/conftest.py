"""The shared real CT as the rules read it, once for all tests that ask it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.grids import centres, grid_of
from analysis.segmenters.rules_ct import CtStructures, read_ct
from analysis.values import BoolArray, Grid, LabelArray, Unit, Volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealCt:
    """ct: what the rules see; labels: TotalSegmentator's `total` task, on the CT's own grid."""

    grid: Grid
    labels: LabelArray
    ct: CtStructures

    def laid(self, mask: BoolArray) -> BoolArray:
        """A mask of the own grid on the rules' grid."""
        where = tuple(np.round(self.grid.to_index(centres(self.ct.grid))).astype(int).reshape(-1, 3).T)
        return np.asarray(mask[where].reshape(self.ct.grid.shape))


@pytest.fixture(scope="session")
def real_ct(shared_data: Path) -> RealCt:
    image, truth = (
        sitk.DICOMOrient(sitk.ReadImage(str(shared_data / "ct_truth" / f"{name}.nii.gz")), "LPS") for name in ("ct", "labels")
    )
    grid = grid_of(image)
    hu = Volume(grid=grid, values=sitk.GetArrayFromImage(image).astype(np.float32), unit=Unit.HU)
    return RealCt(grid=grid, labels=sitk.GetArrayFromImage(truth).astype(np.int32), ct=read_ct(hu))

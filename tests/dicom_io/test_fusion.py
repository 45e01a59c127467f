"""The scene and its views: sides, projection, lesions in their class."""

from __future__ import annotations

import numpy as np
import pytest
from factories import FEW, make_analysis

from analysis.values import Tracer
from dicom_io.fusion import FULL_SCALE, Class, build_scene, lesion_classes, side_letters, view


@pytest.mark.parametrize(
    ("degrees", "right", "left"),
    [(0, "L", "R"), (90, "P", "A"), (180, "R", "L"), (270, "A", "P"), (45, "LP", "RA"), (10, "L", "R")],
)
def test_sides_as_a_radiograph_has_them(degrees: float, right: str, left: str) -> None:
    """From the front the patient's left is at the right; from the patient's left the front is at the left."""
    assert set(side_letters(degrees)) == set(right)
    assert set(side_letters(degrees + 180)) == set(left)


def test_classes_of_the_lesions() -> None:
    analysis = make_analysis()
    fdg, pentixafor = (lesion_classes(analysis, t).labels for t in Tracer)
    assert set(np.unique(fdg)) == {0, Class.CONCORDANT, Class.FDG_ONLY, Class.NOT_COMPARABLE}
    assert set(np.unique(pentixafor)) == {0, Class.CONCORDANT, Class.PENTIXAFOR_ONLY}


def test_the_view_from_the_front_shows_lesions_where_they_are() -> None:
    """FDG is warped into the PentixaFor frame: the concordant box must fall on itself, head up, left at the right."""
    analysis = make_analysis()
    scene = build_scene(analysis)
    front = view(scene, 0.0)
    assert front.letters == ("R", "L")
    rows, columns = np.nonzero(front.lesions & Class.CONCORDANT)
    box = FEW[0]
    height = (box.at[0] + 1) * 5.0 + 2.5  # mm above the lowest voxel's lower edge
    assert (scene.shape[0] - rows.mean() - 0.5) * scene.step_mm == pytest.approx(height, abs=2.5)
    hot = front.fdg[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert hot.max() / 65535 * FULL_SCALE[Tracer.FDG] == pytest.approx(6.5, rel=0.11)
    left_of_middle = np.nonzero(front.lesions & Class.PENTIXAFOR_ONLY)[1].mean()
    assert left_of_middle > columns.mean()


def test_a_full_turn_ends_where_it_began_and_behind_is_the_mirror() -> None:
    scene = build_scene(make_analysis())
    front, behind, again = (view(scene, degrees) for degrees in (0.0, 180.0, 360.0))
    assert np.array_equal(front.fdg, again.fdg)
    assert np.array_equal(front.fdg, behind.fdg[:, ::-1])
    assert front.bone.max() > 0

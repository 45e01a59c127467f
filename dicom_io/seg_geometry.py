"""Where the frames of a segmentation lie: the smallest regular grid that holds them all.

What frames do not say themselves is taken from the images that they refer to, where the caller has these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from analysis.errors import UnusableImage
from analysis.values import FloatArray, Grid
from dicom_io.elements import items, number, numbers, text
from dicom_io.studies import Instance

Slices = npt.NDArray[np.int64]
MOST_SLICES = 10_000  # of a grid; more are a wrong position, not a patient


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """The functional groups of an object, frame by frame. headers: SOP instance UID > header of an image referred to."""

    per_frame: tuple[Dataset, ...]
    shared: Dataset
    count: int
    headers: dict[str, Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, ds: Dataset, images: Iterable[Instance] = ()) -> Frames:
        shared = items(ds, "SharedFunctionalGroupsSequence")
        return cls(
            per_frame=items(ds, "PerFrameFunctionalGroupsSequence"),
            shared=shared[0] if shared else Dataset(),
            count=int(number(ds, "NumberOfFrames") or 1),
            headers={image.sop_instance_uid: image.header for image in images},
        )

    def group(self, frame: int, sequence: str) -> Dataset:
        """One functional group of a frame, or the shared one; without elements where there is neither."""
        own = self.per_frame[frame] if frame < len(self.per_frame) else Dataset()
        found = items(own, sequence) or items(self.shared, sequence)
        return found[0] if found else Dataset()

    def numbers(self, frame: int, sequence: str, keyword: str) -> tuple[float, ...]:
        """Numbers of a functional group, or those of the image that the frame was drawn on."""
        return numbers(self.group(frame, sequence), keyword) or numbers(self._source(frame), keyword)

    def _source(self, frame: int) -> Dataset:
        images = items(self.group(frame, "DerivationImageSequence"), "SourceImageSequence")
        found = [self.headers.get(text(image, "ReferencedSOPInstanceUID")) for image in images]
        return next((header for header in found if header is not None), Dataset())


def placed(ds: Dataset, frames: Frames) -> tuple[Grid, list[int]]:
    """The grid and the slice index k of each frame.

    Raises UnusableImage: no positions or spacing (slides, projections), several orientations, or uneven distances.
    """
    positions = _table(frames, "PlanePositionSequence", "ImagePositionPatient", 3)
    if positions is None:
        raise UnusableImage("The segmentation has no positions in the patient (slide or projection); segment the PET series.")
    orientations = _table(frames, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = frames.numbers(0, "PixelMeasuresSequence", "PixelSpacing")
    if orientations is None or len(spacing) != 2 or min(spacing) <= 0:
        raise UnusableImage("The segmentation has no orientation or pixel spacing; export it again.")
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        raise UnusableImage("The segmentation's frames have several orientations; export each orientation by itself.")
    axes = _axes(orientations[0])
    heights = positions @ axes[0]
    k, step = _by_images(heights, frames, axes[0]) or _slices(heights, frames)
    if not all(0.001 <= each <= 1000 for each in (step, *spacing)):
        raise UnusableImage(f"The segmentation's voxels are {step:g} x {spacing[0]:g} x {spacing[1]:g} mm; export it again.")
    first = positions[int(np.argmin(k))]
    if _shift(positions - first, axes[1:], spacing) > 0.5:
        raise UnusableImage("The segmentation's slices are shifted against each other; segment the original PET series.")
    affine = np.eye(4)
    affine[:3, :3] = (axes * np.array([[step], [spacing[0]], [spacing[1]]])).T
    affine[:3, 3] = first
    shape = (int(k.max()) + 1, int(number(ds, "Rows") or 0), int(number(ds, "Columns") or 0))
    return Grid(shape=shape, affine=affine), [int(x) for x in k]


def _table(frames: Frames, sequence: str, keyword: str, length: int) -> FloatArray | None:
    """(frames, length) of an attribute that every frame must have, None where one lacks it."""
    if frames.count > max(1, len(frames.per_frame)):
        return None
    rows = [frames.numbers(n, sequence, keyword) for n in range(frames.count)]
    return np.array(rows) if rows and all(len(row) == length for row in rows) else None


def _axes(orientation: FloatArray) -> FloatArray:
    """Unit vectors along k, j, i as rows. Raises UnusableImage."""
    along_i, along_j = orientation.reshape(2, 3)
    axes = np.array([np.cross(along_i, along_j), along_j, along_i])
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01:
        raise UnusableImage("The segmentation's orientation is no pair of orthogonal unit vectors; export it again.")
    return np.asarray(axes / lengths[:, None])


def _shift(offsets: FloatArray, axes: FloatArray, spacing: Sequence[float]) -> float:
    """How far frames lie beside the first one, in pixels."""
    return float(np.abs(offsets @ axes.T / np.array(spacing)).max())


def _by_images(heights: FloatArray, frames: Frames, normal: FloatArray) -> tuple[Slices, float] | None:
    """The slices counted by the images that the frames lie on; None where they do not lie on the images given."""
    places = [numbers(header, "ImagePositionPatient") for header in frames.headers.values()]
    levels = np.unique(np.round([np.array(place) @ normal for place in places if len(place) == 3], 3))
    if len(levels) < 2:
        return None
    step = float(np.median(np.diff(levels)))
    k = np.abs(levels[None, :] - heights[:, None]).argmin(axis=1)
    if np.abs(levels[k] - heights).max() > 0.1 * step + 0.01:
        return None
    span = int(np.ptp(k))
    mean = float(np.ptp(levels[k])) / span if span else step
    return k - k.min(), round(mean, 6)


def _slices(heights: FloatArray, frames: Frames) -> tuple[Slices, float]:
    """Slice index of each frame, and the distance of neighbouring slices in mm. Raises UnusableImage."""
    order = np.argsort(heights, kind="stable")
    rises = np.diff(heights[order])
    new = rises > 0.02
    gaps, declared = _gaps(heights[order], new), _declared(frames)
    unit = _unit(gaps, declared)
    counts = np.rint(gaps / unit)
    if len(gaps) and (np.abs(gaps / unit - counts).max() > 0.25 or counts.min() < 1 or counts.sum() >= MOST_SLICES):
        raise UnusableImage("The segmentation's slices are not evenly spaced; segment the original PET series.")
    levels = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    k = np.empty(len(heights), np.int64)
    k[order] = levels[np.concatenate([[0], np.cumsum(new)])]
    return k, round(float(gaps.sum() / counts.sum()), 6) if len(gaps) else unit


def _gaps(heights: FloatArray, new: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> FloatArray:
    """Distances of neighbouring levels; frames of one level may differ by rounding."""
    return np.asarray(np.diff(heights[np.concatenate([[True], new])]))


def _declared(frames: Frames) -> tuple[float, float]:
    """SpacingBetweenSlices and SliceThickness, 0 where not given."""
    between = frames.numbers(0, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = frames.numbers(0, "PixelMeasuresSequence", "SliceThickness")
    return abs(between[0]) if between else 0.0, abs(thickness[0]) if thickness else 0.0


def _unit(gaps: FloatArray, declared: tuple[float, float]) -> float:
    """Distance of neighbouring slices: as declared where that fits the positions, else that of the closest frames.

    Scanners round positions, so the closest are averaged (their median): a gap of many slices is then still counted right.
    """
    between, thickness = declared
    if not len(gaps):
        return between or thickness or 1.0
    multiple = gaps / between if between > 0 else np.zeros(1)
    if between > 0 and np.abs(multiple - np.rint(multiple)).max() < 0.1 and np.rint(multiple).min() >= 1:
        return between
    return float(np.median(gaps[gaps < 1.5 * gaps.min()]))

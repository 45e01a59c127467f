"""Pairs of the size that scanners make, as compressed DICOM files below build/bench: made once, used by several benchmarks.

CT 512 x 512 x 350, PET 200 x 200 x 350, both tracers; the digital patient of `duet phantom`, sampled on these matrices.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.uid import UID, JPEGLSLossless

from analysis.phantom.patient import _conceive
from analysis.phantom.scan import Scanner
from analysis.phantom.traps import Trap
from analysis.phantom.truth import truth_of
from analysis.phantom.values import PhantomSettings
from analysis.values import Grid, PetCt, Tracer
from dicom_io.synthetic import PairSpec, write_patient

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"
CT_SHAPE, PET_SHAPE = (350, 512, 512), (350, 200, 200)
# Slice distance and pixels in mm: the whole field of a scanner of 70 cm (CT) and 80 cm (PET).
SLICE_MM, CT_PIXEL_MM, PET_PIXEL_MM = 3.0, 1.3671875, 4.07283


class FullScanner(Scanner):
    """The phantom's scanner with the matrices of a clinical one."""

    def _grid(self, slice_mm: float, pixel_mm: float) -> Grid:
        usual = super()._grid(slice_mm, pixel_mm)
        middle = usual.to_world((np.array(usual.shape) - 1) / 2)
        finer = pixel_mm < 3.5  # the small preset's CT has 3.0 and 3.3 mm, its PET 4.07 and 4.5 mm
        shape, pixel = (CT_SHAPE, CT_PIXEL_MM) if finer else (PET_SHAPE, PET_PIXEL_MM)
        affine = np.eye(4)
        affine[:3, :3] = np.fliplr(np.diag([pixel, pixel, SLICE_MM]))
        affine[:3, 3] = middle - (np.array(shape)[::-1] - 1) / 2 * np.array([pixel, pixel, SLICE_MM])
        return Grid(shape=shape, affine=affine)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """Where one pair's files lie: `fdg` and `pentixafor` below the folder, each with `pet` and `ct`."""

    folder: Path

    @property
    def studies(self) -> tuple[Path, Path]:
        return self.folder / "fdg", self.folder / "pentixafor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which pair. name: of its folder."""

    name: str
    settings: PhantomSettings
    syntax: UID = field(default=JPEGLSLossless)


FULL = Wanted(name="full", settings=PhantomSettings(seed=1))
MANY = Wanted(name="many", settings=PhantomSettings(seed=2, traps=frozenset({Trap.MANY_LESIONS})))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patient:
    """What `write_patient` wants of a digital patient, without the label maps of its truth."""

    fdg: PetCt
    pentixafor: PetCt
    truth: dict[str, object]


def full_pair(wanted: Wanted = FULL) -> PairFiles:
    """The pair's files; made on the first call (some minutes), in a process of its own, so that its memory is given back."""
    folder = BUILD / wanted.name
    if not (folder / "truth.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with ProcessPoolExecutor(max_workers=1) as pool:
            pool.submit(_make, wanted, folder).result()
    return PairFiles(folder=folder)


def _make(wanted: Wanted, folder: Path) -> None:
    patient = _conceive(wanted.settings)
    studies = {tracer: FullScanner(patient, tracer).scan().study for tracer in Tracer}
    digital = _Patient(fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR], truth=truth_of(patient, studies))
    write_patient(digital, folder, PairSpec(transfer_syntax=wanted.syntax))

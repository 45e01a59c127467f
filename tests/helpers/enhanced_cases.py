"""Studies of enhanced objects on disk: small grids with known SUV and HU, and how tests read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from enhanced_scans import EnhancedSpec, ct_objects, pet_objects
from pydicom import Dataset

from analysis.values import Grid
from dicom_io.headers import group, read_folder
from dicom_io.studies import Series, TracerStudy
from dicom_io.tracers import recognise

Change = Callable[[list[Dataset]], Any]


def make_grid(slices: int = 12, shape: tuple[int, int] = (10, 12)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 5.0], [0, 4.0, 0], [3.0, 0, 0]])
    affine[:3, 3] = (-30, -20, -40)
    return Grid(shape=(slices, *shape), affine=affine)


GRID = make_grid()
SUV = np.random.default_rng(3).uniform(0.0, 9.0, GRID.shape).astype(np.float32)
HOUNSFIELD = np.rint(SUV * 150 - 400)


def write(folder: Path, datasets: Iterable[Dataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ds in datasets:
        paths.append(folder / f"{len(list(folder.iterdir())):02d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def read(folder: Path) -> TracerStudy:
    found, unusable = read_folder(folder)
    assert unusable == []
    (study,) = group(found)
    return recognise(study)


def pet_of(folder: Path) -> Series:
    (study,) = group(read_folder(folder)[0])
    return next(s for s in study.series if s.modality == "PT")


def written(folder: Path, spec: EnhancedSpec, change: Change | None = None, change_ct: Change | None = None) -> Path:
    pets, cts = pet_objects(SUV, GRID, spec), ct_objects(HOUNSFIELD, GRID, spec)
    for objects, edit in ((pets, change), (cts, change_ct)):
        if edit is not None:
            edit(objects)
    write(folder, [*pets, *cts])
    return folder

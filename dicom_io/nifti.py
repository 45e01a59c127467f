"""The researcher's files: SUV, lesions, anatomy and the transform, as NIfTI and an ITK transform file.

SimpleITK turns our LPS positions into NIfTI's RAS by itself: both speak of the same points of the patient.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from analysis.grids import to_image, to_itk_transform
from analysis.values import Anatomy, Labelmap, PatientAnalysis, Tracer

TRANSFORM_NAME = "transform-pentixafor-to-fdg.h5"
_HEADER_BYTES = 352  # of a NIfTI-1 file, before its values


def write_nifti(folder: Path, analysis: PatientAnalysis) -> list[Path]:
    """Writes all files for a pair into `folder`.

    suv-*.nii.gz: float32, SUVbw. lesions-*.nii.gz: the number in the lesion's id ("F12" is 12 in lesions-fdg); none where
    lesions were not segmented.
    anatomy-*.nii.gz: the labels of anatomy.json, the same in both. The transform takes PentixaFor points to FDG points
    (LPS mm), so it resamples FDG images onto PentixaFor grids.
    """
    regions = common_labels(analysis.anatomy)
    written = []
    for tracer in Tracer:
        study, name = analysis.aligned.study(tracer), tracer.value.lower()
        lesions = analysis.lesions[tracer].labelmap
        images = {
            f"suv-{name}.nii.gz": to_image(study.pet.grid, study.pet.values),
            f"anatomy-{name}.nii.gz": to_image(regions[tracer].grid, regions[tracer].labels.astype(np.int16)),
        }
        if tracer not in analysis.not_run:
            images[f"lesions-{name}.nii.gz"] = to_image(lesions.grid, lesions.labels.astype(np.int16))
        for file, image in images.items():
            write_image(image, folder / file)
            written.append(folder / file)
    table = [{"label": label, "name": name} for label, name in regions[Tracer.FDG].names.items()]
    (folder / "anatomy.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    _write_transform(to_itk_transform(analysis.aligned.transform), folder / TRANSFORM_NAME)
    return [*written, folder / "anatomy.json", folder / TRANSFORM_NAME]


def write_image(image: sitk.Image, path: Path) -> None:
    """Writes .nii or .nii.gz, whole or not at all. Raises OSError where it cannot be written: a full disk, no folder.

    The writer tells nothing of a full disk, so what it wrote is read back.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        temporary.touch(exist_ok=False)
        sitk.WriteImage(image, str(temporary), useCompression=path.suffix == ".gz")
        if _length(temporary) < _HEADER_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent():
            raise OSError(errno.ENOSPC, "the file is cut off; the disk may be full", str(path))
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (RuntimeError, EOFError, zlib.error):
        raise OSError(errno.EIO, "the file cannot be written whole; the disk may be full", str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _length(path: Path) -> int:
    """Bytes of the file, of what it holds where it is compressed; a damaged end raises."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with gzip.open(path) as stream:
        return sum(len(chunk) for chunk in iter(lambda: stream.read(1 << 20), b""))


def _write_transform(transform: sitk.Transform, path: Path) -> None:
    try:
        sitk.WriteTransform(transform, str(path))
        sitk.ReadTransform(str(path))
    except RuntimeError:
        raise OSError(errno.EIO, "the file cannot be written whole; the disk may be full", str(path)) from None


def common_labels(anatomy: Mapping[Tracer, Anatomy]) -> dict[Tracer, Labelmap]:
    """Both studies' regions with one table of labels: where the tables differ, names are numbered anew in order."""
    tables = [anatomy[t].regions.names for t in Tracer]
    agree = all(first == second for label, first in tables[0].items() if (second := tables[1].get(label, first)))
    merged = {**tables[0], **tables[1]}
    if agree and len(set(merged.values())) == len(merged):
        names = dict(sorted(merged.items()))
    else:
        names = dict(enumerate(sorted(set(tables[0].values()) | set(tables[1].values())), start=1))
    return {t: _renumbered(anatomy[t].regions, names) for t in Tracer}


def _renumbered(regions: Labelmap, names: Mapping[int, str]) -> Labelmap:
    labels_of = {name: label for label, name in names.items()}
    lookup = np.zeros(max([int(regions.labels.max(initial=0)), *regions.names, 0]) + 1, np.int32)
    for label, name in regions.names.items():
        lookup[label] = labels_of[name]
    return Labelmap(grid=regions.grid, labels=lookup[regions.labels], names=names)

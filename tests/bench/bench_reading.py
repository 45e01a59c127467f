"""Reading 700 compressed CT slices, from files to HU, beside SimpleITK (GDCM) and dcm2niix on the same folders."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from cost import BIN, Cost, python, run
from pydicom import dcmread
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless
from results import Figure, keep
from scans import BUILD, FULL, full_pair

from dicom_io.headers import group, read_folder
from dicom_io.volumes import read_ct

LIMIT_S = 6.0
SYNTAXES = {"JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless, "RLE": RLELossless}
FEWER = 60  # slices of a CT in the slow syntaxes
READERS = ("duet", "SimpleITK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Elapsed seconds of the reading alone, and what the whole process cost."""

    seconds: float
    cost: Cost


def _rewrite(one: tuple[Path, Path, UID]) -> None:
    source, target, syntax = one
    ds = dcmread(source)
    ds.decompress(generate_instance_uid=False)
    ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(target, enforce_file_format=True)


def folders(name: str, syntax: UID) -> tuple[Path, Path]:
    """Both CTs of the full pair, 350 slices each, in one syntax; but for the pair's own only the first slices."""
    found = [study / "ct" for study in full_pair(FULL).studies]
    if syntax == FULL.syntax:
        return found[0], found[1]
    made = [BUILD / "syntaxes" / name.replace(" ", "") / study for study in ("fdg", "pentixafor")]
    for source, target in zip(found, made, strict=True):
        paths = sorted(source.iterdir())[:FEWER]
        if len(list(target.glob("*.dcm"))) != len(paths):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            with ProcessPoolExecutor(2) as pool:
                list(pool.map(_rewrite, [(path, target / path.name, syntax) for path in paths], chunksize=10))
    return made[0], made[1]


def by_duet(folder: Path) -> np.ndarray:
    """As `duet analyse` reads a series: every header first, then the volume."""
    return read_ct(group(read_folder(folder)[0])[0].series[0]).values


def by_simpleitk(folder: Path) -> np.ndarray:
    """The stock way: the series reader, whose GDCM decodes and rescales."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


def child(reader: str, out: str, *given: str) -> None:
    """In a process of its own: seconds, and a few voxels by which the readers are compared."""
    work = by_duet if reader == "duet" else by_simpleitk
    began = time.perf_counter()
    volumes = [work(Path(folder)) for folder in given]
    seconds = time.perf_counter() - began
    np.savez(out, seconds=seconds, **{f"v{n}": np.maximum(v[::7, ::5, ::5], -1024) for n, v in enumerate(volumes)})


def measured(reader: str, given: tuple[Path, Path], scratch: Path) -> tuple[Read, list[np.ndarray]]:
    out = scratch / f"{reader}.npz"
    cost = python(Path(__file__), reader, out, *given, log=scratch / f"{reader}.txt")
    if cost.exit_status:
        raise RuntimeError((scratch / f"{reader}.txt").read_text())
    found = np.load(out)
    return Read(seconds=float(found["seconds"]), cost=cost), [found["v0"], found["v1"]]


def converted(given: tuple[Path, Path], scratch: Path) -> Cost | None:
    """dcm2niix on both folders; None where it cannot decode the syntax."""
    costs = []
    for folder in given:
        out = scratch / f"nii-{folder.parent.name}"
        out.mkdir(exist_ok=True)
        costs.append(run(BIN / "dcm2niix", "-z", "n", "-o", out, folder))
        if costs[-1].exit_status or not list(out.glob("*.nii")):
            return None
        shutil.rmtree(out)
    return Cost(
        seconds=sum(c.seconds for c in costs),
        cpu_seconds=sum(c.cpu_seconds for c in costs),
        memory_mb=max(c.memory_mb for c in costs),
    )


def rows(name: str, given: tuple[Path, Path], scratch: Path) -> list[Figure]:
    (ours, mine), (theirs, others) = (measured(reader, given, scratch) for reader in READERS)
    agree = all(np.array_equal(a, b) for a, b in zip(mine, others, strict=True))
    count = sum(len(list(folder.iterdir())) for folder in given)
    limit = LIMIT_S * count / 700
    met = ours.seconds <= limit
    what = f"{count} slices in {name} to HU" + ("" if agree else " (voxels DIFFER from SimpleITK's)")
    found = [
        Figure(
            what=what,
            ours=ours.seconds,
            unit="s",
            peer="SimpleITK ImageSeriesReader",
            theirs=theirs.seconds,
            target=f"{limit:.2g} s",
            met=met and agree,
        ),
        Figure(
            what="... memory",
            ours=ours.cost.memory_mb,
            unit="MB",
            peer="SimpleITK ImageSeriesReader",
            theirs=theirs.cost.memory_mb,
        ),
    ]
    if (niix := converted(given, scratch)) is not None:
        found.append(
            Figure(
                what="... as a process",
                ours=ours.cost.seconds,
                unit="s",
                peer="dcm2niix, to NIfTI without compression",
                theirs=niix.seconds,
            )
        )
    return found


def main() -> int:
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for syntax_name, syntax in SYNTAXES.items():
            figures += rows(syntax_name, folders(syntax_name, syntax), Path(name))
    note = (
        "Two CTs with slices of 512 x 512 and 12 HU of noise; elapsed time in a process of its own, without the start of "
        "Python; voxels are compared with SimpleITK's. JPEG 2000 is bound by OpenJPEG, which all three use."
    )
    keep("Reading compressed slices", figures, note)
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        child(*sys.argv[1:])
    else:
        sys.exit(main())

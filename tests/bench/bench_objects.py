"""SEG and SR of 109 lesions on each tracer: every object but the fusion picture, from an analysis to files."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench_features import SETTINGS, by_duet
from crowd import COUNT, crowd
from results import Figure, keep
from scans import FULL, full_pair

from analysis.patient.features import patient_features
from analysis.patient.matching import match
from analysis.values import PatientAnalysis
from dicom_io.headers import group, read_folder
from dicom_io.pairing import one_pair
from dicom_io.results import measured_objects
from dicom_io.studies import DualTracerPair
from dicom_io.tracers import recognise
from dicom_io.writing import save

LIMIT_S = 3.0
BY_OBJECT = 3  # the fastest of so many runs


def pair_of(folder: Path) -> DualTracerPair:
    """The headers that the objects refer to."""
    fdg, pentixafor = ([recognise(s) for s in group(read_folder(folder / name)[0])] for name in ("fdg", "pentixafor"))
    return one_pair(fdg, pentixafor)


def analysis_of() -> PatientAnalysis:
    """Measured as in the benchmark of features; its PET has the size of the pair's."""
    aligned, anatomy, masks = crowd()
    lesions = by_duet(aligned, anatomy, masks)
    matches = match(aligned, lesions, SETTINGS)
    return PatientAnalysis(
        aligned=aligned,
        anatomy=anatomy,
        lesions=lesions,
        matches=matches,
        features=patient_features(aligned, anatomy, lesions, matches, SETTINGS),
        findings=(),
        settings={},
        software={"duet-node": "bench"},
    )


def main() -> int:
    pair, analysis = pair_of(full_pair(FULL).folder), analysis_of()
    making, saving = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(BY_OBJECT):
            began = time.perf_counter()
            made = measured_objects(pair, analysis)
            making.append(time.perf_counter() - began)
            began = time.perf_counter()
            for name, ds in made.items():
                save(ds, Path(folder) / f"{name}.dcm")
            saving.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
    best = min(a + b for a, b in zip(making, saving, strict=True))
    figures = [
        Figure(what=f"{len(made)} objects of 2 x {COUNT} lesions", ours=best, unit="s", target="3 s", met=best <= LIMIT_S),
        Figure(what="... made", ours=min(making), unit="s"),
        Figure(what="... saved", ours=min(saving), unit="s"),
        Figure(what="their size", ours=size, unit="MB"),
    ]
    keep("SEG and SR of 109 lesions", figures, f"{', '.join(made)}; PET 200 x 200 x 350; the fastest of {BY_OBJECT} runs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

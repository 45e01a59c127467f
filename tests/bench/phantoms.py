"""Digital patients through the whole analysis, each lesion of at least 8 mm radius judged: `make bench-phantoms`.

With noise, blur and deformation; a lesion counts where it is found on each tracer that has it, with its site and
class. A quality finding that is not ok is a fault too: these patients have none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
from rich.console import Console

from analysis.patient.pipeline import analyse
from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.values import PatientAnalysis, Tracer, Verdict

LEAST_RADIUS_MM = 8.0


def faults(patient: DigitalPatient, analysis: PatientAnalysis, tracer: Tracer) -> Iterator[str]:
    """What is wrong with one tracer's lesions, in words."""
    found, truth, key = analysis.lesions[tracer], patient.lesions[tracer].labels, tracer.value.lower()
    hit: set[int] = set()
    for sphere in (each for each in patient.truth["lesions"] if each[f"{key}_suv"] is not None):
        labels = found.labelmap.labels[(truth == sphere["id"]) & (found.labelmap.labels > 0)]
        hit |= set(labels.tolist())
        if sphere["radius_mm"] < LEAST_RADIUS_MM:
            continue
        if not labels.size:
            yield f"{tracer} lesion {sphere['id']} missed"
            continue
        lesion = found.lesions[int(np.bincount(labels).argmax()) - 1]
        wanted = "concordant" if sphere["concordance"] == "concordant" else "discordant"
        if lesion.site != sphere["site"]:
            yield f"{tracer} lesion {sphere['id']} is {sphere['site']}, called {lesion.site}"
        if analysis.match_of(lesion).concordance != wanted:
            yield f"{tracer} lesion {sphere['id']} is {wanted}, called {analysis.match_of(lesion).concordance}"
    yield from (f"{tracer} {x.id}: no lesion, {x.volume_ml:.1f} ml, {x.region}" for x in found.lesions if x.label not in hit)


def main(first: int, last: int) -> int:
    wrong = 0
    for seed in range(first, last + 1):
        patient = make_patient(PhantomSettings(seed=seed))
        began = time.perf_counter()
        analysis = analyse(patient.fdg, patient.pentixafor)
        seconds = time.perf_counter() - began
        said = [fault for tracer in Tracer for fault in faults(patient, analysis, tracer)]
        said += [f"{f.verdict}: {f.message}" for f in analysis.findings if f.verdict is not Verdict.OK]
        wrong += len(said)
        error = analysis.aligned.quality.error_mm
        count = len(patient.truth["lesions"])
        Console().print(
            f"seed {seed}: {count} lesions, {len(said)} faults, {seconds:.0f} s, registration error {error:.1f} mm",
            *said,
            sep="\n  ",
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(int(number) for number in (sys.argv[1:] or ["1", "20"]))))

"""duet's registration beside elastix, greedy and SimpleITK's examples, in error and in time: python bench_registration.py [N]

N: only the first N real cases of each torso and no digital patients, for a first look.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")

import numpy as np
from registration_cases import REACHES_MM, Case, phantom_cases, real_cases
from registration_peers import Found, bspline_mi, demons, duet, elastix, greedy, timed
from results import Figure, keep
from rich.console import Console

from analysis.grids import apply
from analysis.patient.registration import folding

PEERS = {"greedy": greedy, "SimpleITK demons": demons, "SimpleITK B-spline": bspline_mi}
COLUMNS = ("mean error", "95th percentile", "bone error", "folding", "wall", "processor")
Row = tuple[float, ...]


def judged(case: Case, found: Found) -> Row:
    """The figures of COLUMNS: mm, mm, mm, part of the field, s, s."""
    error = np.linalg.norm(apply(found.there, case.points) - case.true, axis=1)
    folds = folding(found.there)
    return (
        float(error.mean()),
        float(np.percentile(error, 95)),
        float(error[case.bone].mean()),
        folds,
        found.seconds,
        found.cpu_seconds,
    )


def trusted(case: Case, found: Found) -> float:
    """The part of the body's points whose true error is below the one that was told for them."""
    if found.error is None:
        return float("nan")
    error = np.linalg.norm(apply(found.there, case.points) - case.true, axis=1)
    return float((error <= found.error.at(case.points)).mean())


def all_of(case: Case) -> Mapping[str, Found]:
    """Every method on one case; one that fails is told and left out."""
    whole, rigid = duet(case.fixed, case.moving)
    found = {"duet": whole, "rigid alone": rigid}
    found["elastix"] = elastix(case.fixed, case.moving)
    return found | {name: timed(method, case.fixed, case.moving) for name, method in PEERS.items()}


def main(first: int) -> int:
    console = Console(width=150)
    rows: dict[str, list[Row]] = defaultdict(list)
    shares, worse = [], 0
    cases = real_cases(REACHES_MM[:first])
    for case in cases if first < len(REACHES_MM) else chain(cases, phantom_cases()):
        found = all_of(case)
        for name, one in found.items():
            rows[name].append(judged(case, one))
            console.print(f"{case.name:32s} {name:20s}" + "".join(f"{value:10.2f}" for value in rows[name][-1]))
        shares.append(trusted(case, found["duet"]))
        console.print(f"{case.name:32s} true error below the told one at {shares[-1]:.0%} of the places")
        worse += rows["duet"][-1][0] > 1.02 * rows["rigid alone"][-1][0]
    means = {name: np.mean(values, axis=0) for name, values in rows.items()}
    keep("Registration", _figures(means, float(np.mean(shares)), worse), f"{len(rows['duet'])} cases; {', '.join(COLUMNS)}.")
    return 0


def _figures(means: Mapping[str, np.ndarray], share: float, worse: int) -> list[Figure]:
    ours = means["duet"]
    figures = [
        Figure(what="bone error", ours=ours[2], unit="mm", target="< 2 mm", met=bool(ours[2] < 2.0)),
        Figure(what="folding", ours=ours[3], unit="", target="none", met=bool(ours[3] == 0)),
        Figure(what="cases worse than rigid", ours=worse, unit="", target="none", met=worse == 0),
        Figure(
            what="places with less error than told", ours=share, unit="", target="about two thirds", met=0.6 <= share <= 0.8
        ),
    ]
    for peer, theirs in means.items():
        if peer == "duet":
            continue
        limit = {"elastix": (0.9, 0.75)}.get(peer, (1.0, 1.0))
        for place, unit, most in ((0, "mm", limit[0]), (1, "mm", 0.0), (2, "mm", 0.0), (4, "s", limit[1]), (5, "s", 0.0)):
            if np.isfinite(theirs[place]):
                met = bool(ours[place] < most * theirs[place]) if most else None
                target = f"< {most:g} x" if most else ""
                figures.append(
                    Figure(
                        what=COLUMNS[place],
                        ours=ours[place],
                        unit=unit,
                        peer=peer,
                        theirs=theirs[place],
                        target=target,
                        met=met,
                    )
                )
    return figures


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else len(REACHES_MM)))

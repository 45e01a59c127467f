"""duet's registration beside elastix, greedy and SimpleITK's examples, in error and in time: python bench_registration.py [N]

N: only the first N gentle and harsh cases of each torso and no digital patients, for a first look; "held-out": eight cases
whose seeds no setting was chosen on, printed and not kept. The exit status is the
number of cases in which duet is worse than its rigid stage alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")

import numpy as np
from registration_cases import HARSH_MM, REACHES_MM, Case, held_out_cases, phantom_cases, real_cases
from registration_peers import Found, bspline_mi, careful_elastix, demons, duet, elastix, greedy, timed
from results import Figure, keep
from rich.console import Console

from analysis.grids import apply
from analysis.patient.registration import folding
from analysis.values import Transform, Volume

Method = Callable[[Volume, Volume], Transform]
# What takes a minute runs on one case only (the number in the list).
SLOW: Mapping[str, Method] = {"greedy": greedy, "SimpleITK demons": demons, "SimpleITK B-spline": bspline_mi}
SLOW_CASE = 0
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


def all_of(case: Case, slow: Mapping[str, Method]) -> Mapping[str, Found]:
    """duet, elastix and the slow methods on one case; one that fails is told and left out."""
    whole, rigid = duet(case.fixed, case.moving)
    found = {"duet": whole, "rigid alone": rigid}
    try:
        found["elastix"] = elastix(case.fixed, case.moving)
    except subprocess.SubprocessError as error:
        Console(width=150).print(f"{case.name:32s} elastix ended without a result: {type(error).__name__}")
    if slow:
        found["elastix, twice the work"] = careful_elastix(case.fixed, case.moving)
    return found | {name: timed(method, case.fixed, case.moving) for name, method in slow.items()}


def main(first: int) -> int:
    console = Console(width=150)
    rows: dict[str, dict[str, Row]] = defaultdict(dict)
    shares, worse = [], 0
    cases = real_cases(REACHES_MM[:first], HARSH_MM[:first])
    for number, case in enumerate(cases if first < len(REACHES_MM) else chain(cases, phantom_cases())):
        found = all_of(case, SLOW if number == SLOW_CASE else {})
        for name, one in found.items():
            rows[name][case.name] = judged(case, one)
            console.print(f"{case.name:32s} {name:20s}" + "".join(f"{value:10.2f}" for value in rows[name][case.name]))
        shares.append(trusted(case, found["duet"]))
        console.print(f"{case.name:32s} true error below the told one at {shares[-1]:.0%} of the places")
        worse += rows["duet"][case.name][0] > 1.02 * rows["rigid alone"][case.name][0]
    keep("Registration", _figures(rows, float(np.mean(shares)), worse), f"{len(rows['duet'])} cases; {', '.join(COLUMNS)}.")
    return worse


def held_out() -> int:
    """Eight cases, and what is told of their errors beside the truth."""
    console = Console(width=150)
    worse = 0
    for case in held_out_cases():
        found = all_of(case, {})
        rows = {name: judged(case, one) for name, one in found.items()}
        for name, row in rows.items():
            console.print(f"{case.name:44s} {name:14s}" + "".join(f"{value:10.2f}" for value in row))
        error = np.linalg.norm(apply(found["duet"].there, case.points) - case.true, axis=1)
        ratio = found["duet"].told_mm / float(np.sqrt(np.mean(error**2)))
        share = trusted(case, found["duet"])
        console.print(f"{case.name:44s} below the told error {share:.0%}, told over true root mean square {ratio:.2f}")
        worse += rows["duet"][0] > 1.02 * rows["rigid alone"][0]
    return worse


def _figures(rows: Mapping[str, Mapping[str, Row]], share: float, worse: int) -> list[Figure]:
    """Means; beside a peer, over the cases in which it had a result."""
    ours = np.mean(list(rows["duet"].values()), axis=0)
    figures = [
        Figure(what="bone error", ours=ours[2], unit="mm", target="< 2 mm", met=bool(ours[2] < 2.0)),
        Figure(what="folding", ours=ours[3], unit="", target="none", met=bool(ours[3] == 0)),
        Figure(what="cases worse than rigid", ours=worse, unit="", target="none", met=worse == 0),
        Figure(what="places with less error than told", ours=share, unit="", target=">= 0.67", met=share >= 0.67),
    ]
    for peer, cases in rows.items():
        if peer == "duet":
            continue
        theirs = np.mean(list(cases.values()), axis=0)
        ours = np.mean([rows["duet"][name] for name in cases], axis=0)
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
    if sys.argv[1:] == ["held-out"]:
        sys.exit(held_out())
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else len(REACHES_MM)))

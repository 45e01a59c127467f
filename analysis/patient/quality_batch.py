"""A case against the earlier ones: what is unlike all of them is looked at twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, Tracer, Verdict

SCANNER = "scanner"
VOLUME = "lesion volume"
# The findings whose values make a case's row in a batch; volumes are compared by their logarithm, scanners by name.
BATCH_NAMES = tuple(
    f"{tracer} {what}" for what in ("liver SUVmean", "spleen SUVmean", "liver noise", VOLUME, SCANNER) for tracer in Tracer
)
TO_SIGMA = 1.4826  # median absolute deviation of normal values to their standard deviation, as R's mad()

# Tumour burden differs between patients by factors: an outlier lies at least 11-fold beside the median.
VOLUME_SCALE = math.log(2)


def batch_findings(
    findings: Sequence[Finding], rows: Sequence[Mapping[str, Any]], settings: QualitySettings
) -> tuple[Finding, ...]:
    """This case's findings against the rows {finding name: value} of earlier cases; () where there are none.

    Values are compared with earlier cases of the same scanner, or with all where those are too few.
    """
    if not rows:
        return ()
    values = {f.name: f.value for f in findings if f.name in BATCH_NAMES}
    return tuple(finding for name in BATCH_NAMES for finding in _compared(name, values, rows, settings))


def robust_z(value: float, earlier: Sequence[float], floor: float) -> float:
    """(value - median) / scale, with scale = 1.4826 MAD but at least `floor` (Iglewicz and Hoaglin 1993: above 3.5 an outlier).

    Their 0.6745 (x - median) / MAD is the same, since 0.6745 = 1 / 1.4826.
    """
    middle = float(np.median(earlier))
    mad = float(np.median(np.abs(np.asarray(earlier, dtype=np.float64) - middle)))
    return (value - middle) / max(TO_SIGMA * mad, floor)


def _compared(
    name: str, values: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], settings: QualitySettings
) -> Iterator[Finding]:
    value, scanner = values.get(name), f"{_tracer(name)} {SCANNER}"
    if name == scanner:
        if isinstance(value, str):
            yield _scanner(name, value, [row[name] for row in rows if isinstance(row.get(name), str)], settings)
        return
    if not _number(value):
        return
    machine = values.get(scanner)
    alike = [row for row in rows if machine is not None and row.get(scanner) == machine]
    near, every = ([float(row[name]) for row in some if _number(row.get(name))] for some in (alike, rows))
    same = len(near) >= settings.batch_min
    whose = "of the same scanner" if same else "of all scanners"
    yield _outlier(name, float(value), near if same else every, whose, settings)


def _tracer(name: str) -> str:
    return name.split(maxsplit=1)[0]


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _outlier(name: str, value: float, earlier: Sequence[float], whose: str, settings: QualitySettings) -> Finding:
    limit = f"-{settings.batch_z:g} to {settings.batch_z:g} against at least {settings.batch_min} cases"
    count = len(earlier)
    if count < settings.batch_min:
        return _too_few(f"{name} in batch", limit, count, settings)
    if name.endswith(VOLUME):  # ln(1 + ml): volumes spread over decades, and none at all is a volume too
        z = robust_z(math.log1p(value), [math.log1p(v) for v in earlier], max(VOLUME_SCALE, settings.batch_floor))
    else:
        z = robust_z(value, earlier, settings.batch_floor * abs(float(np.median(earlier))) or settings.batch_floor)
    usual = abs(z) <= settings.batch_z
    ends = "within their spread" if usual else "unlike them; look for the reason"
    return Finding(
        name=f"{name} in batch",
        value=round(z, 2),
        limit=limit,
        verdict=Verdict.OK if usual else Verdict.WARN,
        message=f"{name} is {value:.3g} where {count} earlier cases {whose} have a median of {np.median(earlier):.3g}: "
        f"robust z {z:.1f}, {ends}.",
    )


def _scanner(name: str, value: str, earlier: Sequence[str], settings: QualitySettings) -> Finding:
    limit = f"at least 1 of at least {settings.batch_min} cases"
    if len(earlier) < settings.batch_min:
        return _too_few(f"{name} in batch", limit, len(earlier), settings)
    same = sum(each == value for each in earlier)
    ends = f"as were {same} of {len(earlier)} earlier cases" if same else f"as none of {len(earlier)} earlier cases was"
    return Finding(
        name=f"{name} in batch",
        value=same,
        limit=limit,
        verdict=Verdict.OK if same else Verdict.WARN,
        message=f"{_tracer(name)} was measured on {value}, {ends}.",
    )


def _too_few(name: str, limit: str, count: int, settings: QualitySettings) -> Finding:
    message = f"Only {count} earlier case{'' if count == 1 else 's'} can be compared, {settings.batch_min} are needed."
    return Finding(name=name, value=None, limit=limit, verdict=Verdict.OK, message=message)

"""How `duet suv` shows one series' way to SUV on a terminal, or as JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_WIDEST = 100
_RULE_WIDTH = 59


@dataclass(frozen=True, slots=True, kw_only=True)
class SuvText:
    """What `duet suv` prints. facts: names and plain values, as the report gives them."""

    facts: Mapping[str, Any]

    def as_json(self) -> str:
        return json.dumps(self.facts, indent=2)

    def as_text(self) -> str:
        """The series, its way to SUV, what other rules would have given, and warnings; at most 100 columns."""
        lines = [*_head(self.facts), "", *_table(self.facts), "", *_warnings(self.facts), "Research use only."]
        return "\n".join(lines)


def _width() -> int:
    return max(min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST), 60)


def _head(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrapped("", f"{facts['series_description'] or 'PET without a description'}, {facts['instances']} images")
    rows = {
        "scanner": " ".join(word for word in (facts["manufacturer"], facts["model"]) if word) or "not named",
        "tracer": f"{facts['tracer'] or 'not told'}: {facts['tracer_note'].rstrip('.')}",
        "stored as": f"{facts['units']}, decay correction {facts['decay_correction'] or 'not given'}",
        "patient": _patient(facts),
        "dose": _dose(facts),
        "injected": _moment(facts["administered"]),
        "scan": _scan(facts),
        "SUVbw": _factor(facts),
        "by": facts["rule"],
    }
    for name, words in rows.items():
        yield from _wrapped(f"  {name:<11}", words)


def _patient(facts: Mapping[str, Any]) -> str:
    height = f"{facts['height_m']:g} m" if facts["height_m"] else "height not given"
    return f"{facts['weight_kg']:g} kg, {height}, sex {facts['sex'] or 'not given'}"


def _dose(facts: Mapping[str, Any]) -> str:
    if facts["dose_bq"] is None:
        return "not given"
    return f"{facts['dose_bq'] / 1e6:.4g} MBq, half-life {facts['half_life_s']:g} s"


def _scan(facts: Mapping[str, Any]) -> str:
    uptake = facts["uptake_min"]
    return f"{_moment(facts['scan_started'])}{'' if uptake is None else f', {uptake:.1f} min after the injection'}"


def _factor(facts: Mapping[str, Any]) -> str:
    low, high = facts["suv_factor_min"], facts["suv_factor_max"]
    spread = "" if low == high else f" (slice by slice {low:.6g} to {high:.6g})"
    return f"rescaled value x {facts['suv_factor']:.6g}{spread}"


def _moment(written: str | None) -> str:
    """To the second; back-computed times have fractions."""
    return "not known" if written is None else f"{datetime.fromisoformat(written) + timedelta(seconds=0.5):%Y-%m-%d %H:%M:%S}"


def _table(facts: Mapping[str, Any]) -> Iterator[str]:
    """The rule that holds, then the others with their differences and why they were not taken."""
    yield f"  {'Rule':<{_RULE_WIDTH}}{'Reference time':<20}{'Factor':<11}{'SUV':>8}"
    rule = facts["reference_rule"] or facts["rule"]
    yield from _row("> ", rule, (_when(facts), f"{facts['suv_factor']:.4g}", "used"))
    for other in facts["alternatives"]:
        factor, difference = other["suv_factor"], other["difference_percent"]
        cells = (_when(other), "-" if factor is None else f"{factor:.4g}", "-" if difference is None else _percent(difference))
        yield from _row("  ", other["rule"], cells)
        yield from _wrapped("      not used: ", other["why_not"])


def _when(facts: Mapping[str, Any]) -> str:
    return "-" if facts["reference_time"] is None else _moment(facts["reference_time"])


def _row(mark: str, rule: str, cells: tuple[str, str, str]) -> Iterator[str]:
    *above, last = textwrap.wrap(rule, _RULE_WIDTH - 1) or [""]
    yield from (f"{mark}{line}" for line in above)
    when, factor, difference = cells
    yield f"{mark if not above else '  '}{last:<{_RULE_WIDTH}}{when:<20}{factor:<11}{difference:>8}"


def _percent(difference: float) -> str:
    return "same" if abs(difference) < 0.005 else f"{difference:+.2f} %"


def _warnings(facts: Mapping[str, Any]) -> Iterator[str]:
    warnings: Sequence[str] = facts["warnings"]
    for warning in warnings:
        yield from _wrapped("warning: ", warning)
    if warnings:
        yield ""


def _wrapped(before: str, words: str) -> list[str]:
    return textwrap.wrap(words, _width(), initial_indent=before, subsequent_indent=" " * len(before)) or [before.rstrip()]

"""What other rules than the one that holds would have given, so that a reader sees how much depends on the choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dicom_io.suv_checks import WARN_ABOVE
from dicom_io.suv_reference import DECAY_FACTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What another rule would have given: the time of the first instance, the median factor (g/ml per unit of the rescaled
    value), by how many percent SUV would differ, and why it was not taken. None where the rule gives none."""

    rule: str
    why_not: str
    reference_time: datetime | None = None
    suv_factor: float | None = None
    difference_percent: float | None = None

    def scaled(self, scale: float) -> Alternative:
        """The same where one unit of the rescaled value is `scale` of the units that the factor was for."""
        return self if self.suv_factor is None else replace(self, suv_factor=scale * self.suv_factor)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rule": self.rule,
            "reference_time": None if self.reference_time is None else self.reference_time.isoformat(),
            "suv_factor": self.suv_factor,
            "difference_percent": self.difference_percent,
            "why_not": self.why_not,
        }


def alternative(
    rule: str, why_not: str, factor: float | None, chosen: float, reference_time: datetime | None = None
) -> Alternative:
    """Another rule's factor beside the chosen one, both in g/ml per unit of the rescaled value; None where it gives none."""
    return Alternative(
        rule=rule,
        why_not=why_not,
        reference_time=reference_time,
        suv_factor=factor,
        difference_percent=None if factor is None else (factor / chosen - 1) * 100,
    )


def disagreements(alternatives: Iterable[Alternative]) -> tuple[str, ...]:
    """A sentence for each rule by which SUV would differ by more than WARN_ABOVE."""
    return tuple(
        f"DecayFactor fits a reference time that would change SUV by {other.difference_percent:+.1f} %."
        if other.rule == DECAY_FACTOR
        else f"By {other.rule} SUV would be {other.difference_percent:+.1f} %."
        for other in alternatives
        if other.difference_percent is not None and abs(other.difference_percent) > WARN_ABOVE * 100
    )

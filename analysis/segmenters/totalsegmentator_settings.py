"""How TotalSegmentator is run. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.segmenters.anatomy_names import Kind

VARIANTS = {1.5: "default", 3.0: "fast", 6.0: "fastest"}  # resolution in mm > what TotalSegmentator calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalSegmentatorSettings:
    """[totalsegmentator].

    resolution_mm: 1.5 (five networks, the full task `total`), 3 or 6 (one network each: quicker, and coarser; 6 mm misses
    thin ribs). parts: what is looked for: bones, organs, vessels, muscles. Fewer parts leave out networks at 1.5 mm and crop
    the CT, for which the 6 mm network must be there too; bones cannot be left out; organs that are, come from the rules.
    timeout_s: both CTs of a pair together. cache_mb: label maps that are kept; the oldest go first, 0 keeps none.
    """

    resolution_mm: float = 1.5
    parts: tuple[Kind, ...] = tuple(Kind)
    timeout_s: float = 7200.0
    cache_mb: float = 2000.0

    def __post_init__(self) -> None:
        if self.resolution_mm not in VARIANTS:
            raise ValueError(f"resolution_mm is to be one of {', '.join(f'{mm:g}' for mm in VARIANTS)}")
        object.__setattr__(self, "parts", tuple(kind for kind in Kind if kind in self.parts))
        if Kind.BONE not in self.parts:
            raise ValueError("parts is to hold bones: sites of lesions rest on them")
        if self.timeout_s <= 0 or self.cache_mb < 0:
            raise ValueError("timeout_s is to be above 0, cache_mb 0 or more")

    @property
    def variant(self) -> str:
        return VARIANTS[self.resolution_mm]

    @property
    def complete(self) -> bool:
        """Whether everything is looked for."""
        return set(self.parts) == set(Kind)

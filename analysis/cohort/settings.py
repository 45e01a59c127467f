"""What steers the cohort's analysis: the science of the section [cohort]. Each default stands with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cohort.values import Folds, Rule
from analysis.space import require

RESPONSE_SOURCES = ("m_protein", "flc", "category")
BATCHES = ("scanner",)  # columns of the clinical table that may tell which cycles were measured alike


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSettings:
    """The settings of the cohort's statistics.

    preset: "paper": the paper's reading (an unknown response is none, rows are held out one by one) is the main one; else
    complete cases and whole patients; both are always shown. features: names examined beside the paper's 42.
    response_from: which source of response goes first. reuse_pairs: whether a pair may stand for a second therapy after it.
    most_days: from the last scan to therapy; 0: no limit. landmark_days: about six months. permutations, resamples: of the
    survival tests. repeats, relabelings: of the trees. cutoffs of robustness: the least overlap of a concordant lesion, the
    least part in bone of a medullary one. harmonise: the column by which image features are brought together (ComBat)
    inside each training fold of the trees, "scanner"; empty: none. seed: of everything that is drawn.
    """

    preset: str = ""
    features: tuple[str, ...] = ()
    response_from: tuple[str, ...] = RESPONSE_SOURCES
    reuse_pairs: bool = False
    most_days: int = 0
    landmark_days: int = 183
    permutations: int = 1999
    resamples: int = 200
    repeats: int = 10
    relabelings: int = 200
    max_depth: int = 3
    overlap_cutoffs: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    bone_cutoffs: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)
    harmonise: str = ""
    seed: int = 1

    def __post_init__(self) -> None:
        require(self.preset in ("", "paper"), 'preset: expected "" or "paper"')
        require(self.harmonise in ("", *BATCHES), 'harmonise: expected "" or "scanner", the column of the clinical table')
        unknown = [name for name in self.response_from if name not in RESPONSE_SOURCES]
        require(not unknown, f"response_from: expected some of {', '.join(RESPONSE_SOURCES)}")
        require(self.relabelings >= 0 and self.permutations >= 0 and self.resamples >= 0, "expected counts of 0 or more")
        require(self.repeats >= 1 and self.max_depth >= 1, "repeats, max_depth: expected 1 or more")
        require(self.landmark_days > 0 and self.most_days >= 0, "landmark_days, most_days: expected days")
        require(
            all(0 < c < 1 for c in (*self.overlap_cutoffs, *self.bone_cutoffs)), "cut-offs: expected values between 0 and 1"
        )

    @property
    def rule(self) -> Rule:
        """What an unknown response counts as in the main reading."""
        return Rule.PAPER if self.preset == "paper" else Rule.COMPLETE

    @property
    def folds(self) -> Folds:
        """How rows are held out in the main reading."""
        return Folds.PAPER if self.preset == "paper" else Folds.GROUPED

"""Who finds anatomy and lesions, and where a lesion's border lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.presets import preset_error
from analysis.segmenters.rules import RuleSettings
from analysis.segmenters.thresholds import Threshold
from analysis.values import Tracer

Method = Literal["", "rules", "network", "network and rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationSettings(RuleSettings):
    """[segmentation], with the keys of ThresholdSettings and RuleSettings beside its own.

    preset: a named set of values, which keys beside it override (analysis/presets.py).
    anatomy: "auto" takes TotalSegmentator where its weights are present and allowed, else rules.
    fdg_network, pentixafor_network: names of model folders; empty: none.
    fdg_method, pentixafor_method: "network": its mask, cut by the threshold; "network and rules": uptake of physiological
    organs is removed from it, too; empty: "network and rules" where a network is named, else "rules". A network that is
    asked for and cannot be loaded leaves its tracer's lesions "not run".
    threshold: where a lesion's border lies. "fixed": fdg_threshold, pentixafor_threshold. "relative": relative_threshold.
    "liver", "blood pool": see ThresholdSettings. "none": a network's mask as it is; rules then take "fixed".
    min_probability: a network's mask is where its probability is above. organ_probability: what it finds in a
    physiological organ stays a lesion where its mean probability there is above this; 1: never, since networks are sure
    also where they are wrong.
    pentixafor_from_fdg: FDG lesions carried to the PentixaFor PET are looked at there, too: what exceeds the threshold
    within them joins PentixaFor's own lesions.
    """

    preset: str = ""
    anatomy: Literal["auto", "rules", "totalsegmentator"] = "auto"
    fdg_network: str = ""
    pentixafor_network: str = ""
    fdg_method: Method = ""
    pentixafor_method: Method = ""
    threshold: Threshold = "fixed"
    min_probability: float = 0.5
    organ_probability: float = 1.0
    pentixafor_from_fdg: bool = False

    def __post_init__(self) -> None:
        if wrong := preset_error(self.preset):
            raise ValueError(wrong)
        for name, value in (("min_probability", self.min_probability), ("organ_probability", self.organ_probability)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is to be between 0 and 1")
        for tracer in Tracer:
            if self.method(tracer) != "rules" and not self.network(tracer):
                raise ValueError(f"{tracer.lower()}_method asks for a network; name it in {tracer.lower()}_network")

    def network(self, tracer: Tracer) -> str:
        """The name of the tracer's model folder; empty: none."""
        return self.fdg_network if tracer is Tracer.FDG else self.pentixafor_network

    def method(self, tracer: Tracer) -> Method:
        """How the tracer's lesions are found, never empty."""
        named = self.fdg_method if tracer is Tracer.FDG else self.pentixafor_method
        return named or ("network and rules" if self.network(tracer) else "rules")

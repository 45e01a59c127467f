"""Two reporting checklists, filled as far as the data allow: TRIPOD+AI for models, REMARK for markers."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from analysis.cohort.report_values import Section, Sentences, TableBlock
from analysis.cohort.values import Results

AUTHORS = "to be told by the authors"


def checklist_section(results: Results) -> Section:
    """A table for each checklist; what the software cannot know is left to the authors by name."""
    lists = tomllib.loads(files("analysis.cohort").joinpath("checklists.toml").read_text(encoding="utf-8"))["list"]
    made = _made(results)
    told = Sentences(
        lines=(
            "The items are given in our own words; the published checklists are what counts. "
            "What only the authors of a study know is marked so.",
        )
    )
    return Section(key="checklists", title="Reporting checklists", blocks=(told, *(_table(entry, made) for entry in lists)))


def _made(results: Results) -> dict[str, bool]:
    """What is in this report, by the names that checklists.toml uses after "of"."""
    return {
        "response": any(not math.isnan(row.p) for row in results.response),
        "survival": any(not math.isnan(split.row.logrank_p) for split in results.splits),
        "trees": bool(results.trees.models),
        "calibration": bool(results.trees.calibrations),
        "robustness": bool(results.robustness),
        "facts": bool(results.table.facts),
        "follow_up": bool(results.table.follow_up),
        "notes": bool(results.table.notes),
        "settings": bool(results.settings),
    }


def _table(entry: Mapping[str, Any], made: Mapping[str, bool]) -> TableBlock:
    return TableBlock(
        label="",
        title=entry["title"],
        head=("Item", "What is asked", "Where"),
        rows=tuple((item["number"], item["asks"], _where(item, made)) for item in entry["item"]),
        widths=(0.08, 0.5, 0.42),
        footnotes=(entry["source"],),
    )


def _where(item: Mapping[str, str], made: Mapping[str, bool]) -> str:
    """reported here: where; not applicable: why; or to be told by the authors, also where this cohort lacks it."""
    if "not_applicable" in item:
        return f"not applicable: {item['not_applicable']}"
    if "reported" not in item:
        return AUTHORS
    if "of" in item and not made[item["of"]]:
        return "not in this cohort"
    also = f"; the rest {AUTHORS}" if item.get("in_part") else ""
    return f"reported here: {item['reported']}{also}"

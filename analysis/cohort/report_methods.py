"""The methods paragraph, written from the settings and versions that were used, and the list of all settings."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from analysis.cohort.report_numbers import counted, joined, number
from analysis.cohort.report_rows import endpoints, landmarks
from analysis.cohort.report_values import Block, Section, Sentences, TableBlock
from analysis.cohort.values import Results, Target

_PLACE = re.compile(r"\{([\w.]+)\}")


def methods_paragraph(results: Results) -> str:
    """The sentences of methods.toml that hold for these results, with what was used in them; a blank line between subjects."""
    spoken = tomllib.loads(files("analysis.cohort").joinpath("methods.toml").read_text(encoding="utf-8"))
    known = {**flat(results.settings), **_counts(results)}
    made = _made(results)
    told: dict[str, list[str]] = {}
    for entry in spoken["sentence"]:
        sentence = _filled(entry, known) if "of" not in entry or made[entry["of"]] else ""
        told.setdefault(entry["about"], []).extend([sentence] if sentence else [])
    return "\n\n".join(" ".join(sentences) for sentences in told.values() if sentences)


def methods_section(results: Results, paragraph: str) -> Section:
    """The paragraph and each setting that was in force."""
    blocks: tuple[Block, ...] = (Sentences(lines=tuple(paragraph.split("\n\n"))),)
    rows = tuple((name, words) for name, words in flat(results.settings).items())
    if rows:
        head, widths = ("Setting", "Value"), (0.45, 0.55)
        blocks += (TableBlock(label="", title="Settings in force", head=head, rows=rows, widths=widths),)
    return Section(key="methods", title="Methods", blocks=blocks)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """ "section.key" > value in words, however deep the sections lie."""
    told: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            told |= flat(value, f"{before}{key}.")
        else:
            told[f"{before}{key}"] = _words(value)
    return told


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else number(value, 6).rstrip("0")
    if isinstance(value, list | tuple):
        return joined([_words(item) for item in value]) or "none"
    return str(value) or "none"


def _filled(entry: Mapping[str, str], known: Mapping[str, str]) -> str:
    """The sentence with its places filled; the plain one where a place is not known."""
    for text in (entry["text"], entry.get("plain", "")):
        if all(name in known for name in _PLACE.findall(text)):
            return _PLACE.sub(lambda place: known[place[1]], text)
    return ""


def _made(results: Results) -> dict[str, bool]:
    """Which parts of the analysis were made, by the names that methods.toml uses."""
    survival = any(row.row.logrank_p == row.row.logrank_p for row in results.splits)
    response = any(row.p == row.p for row in results.response)
    trees = bool(results.trees.models)
    by = results.settings.get("cohort", {}).get("harmonise")
    return {
        "repeats": len(set(results.table.patients)) < len(results.table),
        "response": response,
        "unknown": response and bool(np.isnan(results.table.response).any()),
        "survival": survival,
        "landmark": bool(landmarks(results)),
        "tests": response or survival,
        "trees": trees,
        "harmonised": trees and bool(by),
        "unharmonised": by == "",
        "nulls": any(row.relabelings for row in results.trees.models),
        "robustness": bool(results.robustness),
        "software": bool(results.software),
    }


def _counts(results: Results) -> dict[str, str]:
    table = results.table
    relabelled = sorted({row.relabelings for row in results.trees.models if row.relabelings})
    targets = [str(target) for target in Target if any(row.target is target for row in results.trees.models)]
    return {
        "n": str(len(table)),
        "patients": str(len(set(table.patients))),
        "repeated": str(sum(n > 1 for n in Counter(table.patients).values())),
        "columns": str(len(table.columns)),
        "clinical": str(sum(column.clinical for column in table.columns)),
        "unknown": str(int(np.isnan(table.response).sum())),
        "endpoints": joined([str(endpoint) for endpoint in endpoints(results)]),
        "landmarks": joined([number(days) for days in sorted({row.landmark_days for row in landmarks(results)})]),
        "targets": joined(targets),
        "relabelings": " or ".join(map(str, relabelled)),
        "choices": counted(len({(row.setting, row.choice) for row in results.robustness}), "choice"),
        "settings": counted(len({row.setting for row in results.robustness}), "setting"),
        "software": joined(list(_versions(results.software))),
    }


def _versions(software: Mapping[str, str]) -> Iterator[str]:
    for name, version in software.items():
        yield f"{name} {version}"

"""`duet show`: the content of a SEG or SR in lines that a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.lines import plain

SUV_METHOD = "126410"  # says of each SUV that it is by body weight, as its unit does


def show(file: Path, *, as_json: bool) -> str:
    """What the object says, as text or JSON. Raises Rejected."""
    from dicom_io.contents import contents

    found = contents(file)
    return json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for name in ("kind", "series_description", "manufacturer", "model", "software_versions", "content_date"):
        if found[name]:
            yield f"{name.replace('_', ' '):<20}{plain(found[name])}"
    yield from _segments(found) if "segments" in found else _report(found)


def _segments(found: Mapping[str, Any]) -> Iterator[str]:
    segments = found["segments"]
    yield f"{'segments':<20}{len(segments)}"
    if found["overlapping_voxels"]:
        yield f"{'overlap':<20}{found['overlapping_voxels']} voxels lie in several segments and count for the first"
    for one in segments:
        size = f"{one['voxels']:>10} pixels" if one["volume_ml"] is None else f"{one['volume_ml']:>10.2f} ml"
        yield f"{one['number']:>5}  {size}  {plain(one['label'])}"
    for note in found["notes"]:
        yield f"  {plain(note)}"


def _report(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'title':<20}{_meaning(found['title'])}, {'verified' if found['verified'] else 'unverified'}"
    for sentence in found["texts"]:
        yield f"  {plain(sentence)}"
    for group in found["groups"]:
        sites = ", ".join(_meaning(code) for code in group["sites"])
        finding = _meaning(group["finding"])
        yield f"{plain(group['tracking_id']) or '(no name)'}: {', '.join(x for x in (finding, sites) if x)}"
        for one in group["measurements"]:
            yield f"    {_measurement(one)}"
        for one in group["evaluations"]:
            yield f"    {_meaning(one['concept'])}: {plain(one['value'])}"


def _measurement(one: Mapping[str, Any]) -> str:
    value = f"no value ({one['qualifier']})" if one.get("qualifier") else "no value"
    shown = value if one["value"] is None else f"{one['value']:.6g} {one['unit']}"
    said = [one[name] for name in ("derivation", "site", "method") if name in one]
    details = ", ".join(_meaning(code) for code in said if code["value"] != SUV_METHOD)
    return f"{_meaning(one['concept'])}{f' ({details})' if details else ''}: {shown}"


def _meaning(code: Mapping[str, str] | None) -> str:
    return plain(code["meaning"] or code["value"]) if code else ""

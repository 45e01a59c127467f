"""A case that a quality check held, let go by an operator: its reports and results.json say so; everything else stays.

The measurements are those that the operator saw: nothing is analysed again, segmentations and picture keep their bytes. The
reports get new SOP Instance UIDs, since their content is another. They name no predecessor: the held ones never left, and a
reference to an object that no archive has would be a dead end. Release is no verification: VerificationFlag stays UNVERIFIED.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from highdicom.sr import RelationshipTypeValues, TextContentItem
from pydicom import Dataset, dcmread
from pydicom.charset import python_encoding
from pydicom.multival import MultiValue

from dicom_io import codes
from dicom_io.studies import stable_uid

HELD = "held"  # folder within the case: reports and results as they were before the release
UNICODE = "ISO_IR 192"
_RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Who let a held case go, when (aware), and why."""

    by: str
    why: str
    at: datetime

    @property
    def moment(self) -> str:
        """ISO 8601 in UTC, to the second."""
        return self.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def plain(self) -> dict[str, str]:
        """As results.json holds it."""
        return {"by": self.by, "at": self.moment, "why": self.why}


def is_released(folder: Path, release: Release) -> bool:
    """Whether the case in `folder` bears exactly this release."""
    return bool(_results(folder).get("release") == release.plain())


def write_released(folder: Path, draft: Path, release: Release) -> None:
    """Writes the case of `folder` as released into `draft`, a new folder, where it is complete; `folder` stays as it is.

    Where the case bears another release, which did not hold, that one is replaced. The same release gives the same bytes.
    Raises OSError.
    """
    shutil.copytree(folder, draft)
    held = _originals(draft)
    results = _results(held)
    names = [name for name in results["objects"] if (held / f"{name}.dcm").is_file()]
    reports = {name: dcmread(held / f"{name}.dcm") for name in names}
    renewed = {str(ds.SOPInstanceUID): _released_uid(str(ds.SOPInstanceUID), release) for ds in reports.values()}
    holds = [finding["message"] for finding in results["quality"] if finding["verdict"] == "hold"]
    for name, ds in reports.items():
        _renew(ds, renewed)
        _state(ds, holds, release)
        ds.save_as(draft / f"{name}.dcm", enforce_file_format=True)
    changed = {**_replaced(results, renewed), "release": release.plain()}
    (draft / _RESULTS).write_text(json.dumps(changed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="")


def write_held(folder: Path, draft: Path) -> None:
    """Writes the released case of `folder` as it was before into `draft`, a new folder. Raises OSError."""
    shutil.copytree(folder, draft)
    for path in (draft / HELD).iterdir():
        path.rename(draft / path.name)
    (draft / HELD).rmdir()


def _originals(draft: Path) -> Path:
    """The reports and results before any release, kept within the case."""
    held = draft / HELD
    if not held.is_dir():
        held.mkdir()
        for path in [*draft.glob("sr-*.dcm"), draft / _RESULTS]:
            shutil.copyfile(path, held / path.name)
    return held


def _results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / _RESULTS).read_text(encoding="utf-8"))
    return results


def _released_uid(uid: str, release: Release) -> str:
    return stable_uid(uid, "release", release.by, release.moment, release.why)


def _renew(ds: Dataset, renewed: Mapping[str, str]) -> None:
    """New UIDs for the report itself and wherever it refers to another one."""
    for element in ds.iterall():
        if element.VR == "UI" and element.value:
            many = isinstance(element.value, MultiValue)
            values = [renewed.get(str(uid), str(uid)) for uid in (element.value if many else [element.value])]
            element.value = values if many else values[0]
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


def _replaced(value: Any, renewed: Mapping[str, str]) -> Any:
    """The JSON value with new UIDs in place of old ones."""
    if isinstance(value, dict):
        return {key: _replaced(each, renewed) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, renewed) for each in value]
    return renewed.get(value, value) if isinstance(value, str) else value


def _state(ds: Dataset, holds: Sequence[str], release: Release) -> None:
    """The statement, after the intended use among the sentences that every reader must see."""
    words = [
        *((codes.HELD_FOR, hold) for hold in holds),
        (codes.RELEASED_BY, release.by),
        (codes.RELEASED_AT, release.moment),
        (codes.RELEASED_WHY, release.why),
    ]
    _make_writable(ds, "".join(text for _, text in words))
    items = [TextContentItem(name=c, value=t, relationship_type=RelationshipTypeValues.CONTAINS) for c, t in words]
    content = _statements(ds).ContentSequence
    place = 1 + max((n for n, item in enumerate(content) if _is(item, codes.INTENDED_USE.value)), default=-1)
    for offset, item in enumerate(items):
        content.insert(place + offset, item)


def _statements(ds: Dataset) -> Dataset:
    """The container of sentences, or the document itself where it has none."""
    return next((item for item in ds.ContentSequence if _is(item, codes.QUALITATIVE_EVALUATIONS.value)), ds)


def _is(item: Dataset, code: str) -> bool:
    return any(name.get("CodeValue") == code for name in item.get("ConceptNameCodeSequence", ()))


def _make_writable(ds: Dataset, text: str) -> None:
    """Where the source's character set does not have these words, the report is written in Unicode instead."""
    if text.isascii() or _holds(ds.get("SpecificCharacterSet"), text):
        return
    ds.decode()
    ds.SpecificCharacterSet = UNICODE


def _holds(character_set: Any, text: str) -> bool:
    """Whether a single character set can write the text; code extensions are left to ASCII, as few readers agree on them."""
    if not isinstance(character_set, str) or character_set.startswith("ISO 2022") or character_set not in python_encoding:
        return False
    try:
        text.encode(python_encoding[character_set])
    except UnicodeEncodeError:
        return False
    return bool(character_set)

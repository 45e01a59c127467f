"""Where a pair's features lie within a cohort, written into the pair's report after the fact: a description, no prediction.

The report is that on disk, with all that it says, a release among it: only the positions are new, each a group (TID 1501), and
a sentence that every reader must see. Since the older form has left, it is named as the predecessor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread

from analysis.cohort.values import Position
from dicom_io import codes
from dicom_io.cohort_occasion import Predecessor, reference_items
from dicom_io.derived import Kind, plain
from dicom_io.sr_items import evaluation, group, number, text
from dicom_io.sr_text import legible
from dicom_io.studies import stable_uid

_MEASUREMENTS = "126010"  # Imaging Measurements, the container of a report's groups


def with_positions(folder: Path, positions: Sequence[Position], cohort_version: int) -> Dataset:
    """The pair's report of the case in `folder`, with the positions in place of any that it bears; nothing is written.

    For a case that was delivered, since an archive shall find the predecessor. The new UID is derived from the older one
    and the positions: the same call gives the same bytes, and a report that bears these positions comes back as it is.
    Raises OSError.
    """
    ds = dcmread(folder / f"{Kind.SR_PAIR.stem}.dcm")
    older = _predecessor_uid(ds)
    if older and str(ds.SOPInstanceUID) == _uid(older, positions, cohort_version):
        return ds
    measurements = _container(ds, _MEASUREMENTS)
    measurements.ContentSequence = [
        *(item for item in measurements.ContentSequence if not _is_position(item)),
        *(_group(position, str(ds.SeriesInstanceUID)) for position in positions),
    ]
    _state(_container(ds, codes.QUALITATIVE_EVALUATIONS.value), cohort_version)
    ds.PredecessorDocumentsSequence = reference_items([Predecessor.of(ds)])
    ds.SOPInstanceUID = _uid(str(ds.SOPInstanceUID), positions, cohort_version)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _uid(older: str, positions: Sequence[Position], version: int) -> str:
    return stable_uid(older, "positions", str(version), json.dumps(plain(positions)))


def _predecessor_uid(ds: Dataset) -> str:
    for study in ds.get("PredecessorDocumentsSequence", ()):
        return str(study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    return ""


def _container(ds: Dataset, code: str) -> Dataset:
    found: Dataset = next(item for item in ds.ContentSequence if _names(item, code))
    return found


def _names(item: Dataset, code: str) -> bool:
    return any(name.get("CodeValue") == code for name in item.get("ConceptNameCodeSequence", ()))


def _is_position(item: Dataset) -> bool:
    """Whether a group's finding is a position."""
    found = [code for child in item.get("ContentSequence", ()) for code in child.get("ConceptCodeSequence", ())]
    return any((x.get("CodeValue"), x.get("CodingSchemeDesignator")) == (codes.POSITION.value, codes.OWN_SCHEME) for x in found)


def _state(statements: Dataset, version: int) -> None:
    """The sentences, after those that stand there."""
    ours = (codes.POSITION.value, codes.COHORT_VERSION.value)
    kept = [item for item in statements.ContentSequence if not any(_names(item, code) for code in ours)]
    said = (
        f"Positions within the cohort (version {version} of its report) describe where this patient's values lie among the "
        "cohort's treatment cycles. They are no prediction for this patient. Research use only."
    )
    statements.ContentSequence = [*kept, text(codes.POSITION, said), text(codes.COHORT_VERSION, str(version))]


def _group(position: Position, series_uid: str) -> Dataset:
    """Percentile, number of cycles, position to the median and a sentence; without the first and the third where undefined."""
    content: list[Dataset] = []
    if not math.isnan(position.percentile):
        content.append(number(codes.PERCENTILE, float(position.percentile), codes.PERCENT))
    content.append(number(codes.CYCLE_COUNT, float(position.n), codes.CYCLES))
    if position.above_median is not None:
        content.append(evaluation(codes.MEDIAN_RELATION, codes.MEDIAN_RELATIONS[position.above_median]))
    concept = codes.UNDEFINED if math.isnan(position.percentile) else codes.COMMENT
    content.append(text(concept, sentence(position)))
    tracking = stable_uid(series_uid, "position", position.feature), f"position {position.feature}"
    made = group("1501", tracking, (None, codes.POSITION), content)
    legible(made)
    return made


def sentence(position: Position) -> str:
    """The position as a reader says it."""
    if math.isnan(position.percentile) or position.above_median is None:
        return f"{position.feature} has no position in the cohort ({position.n} cycles with a value)."
    relation = codes.MEDIAN_RELATIONS[position.above_median].meaning.lower()
    return f"{position.feature}: percentile {position.percentile:.3g} of {position.n} cycles, {relation} (descriptive)."

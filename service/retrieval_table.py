"""What a retrieval found, moved and lacks: as a CSV file and as lines for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.inbox import write_durably
from service.lines import plain
from service.retrieval import StudyAnswer, Wanted
from service.retrieval_study import Fetched

HEAD = (
    "patient_id",
    "accession",
    "study_uid",
    "study_date",
    "state",
    "series_found",
    "objects_found",
    "had_before",
    "moved",
    "missing",
    "sentence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One study, or one row of the list of which there is none. fetched: None where the archive did not tell what it has.

    failed: the archive could not be asked, or did not tell all.
    """

    wanted: Wanted
    study: StudyAnswer | None = None
    fetched: Fetched | None = None
    sentence: str = ""
    failed: bool = False

    @property
    def complete(self) -> bool:
        return self.fetched is not None and self.fetched.complete

    @property
    def state(self) -> str:
        """complete, missing (objects), failed, or none (no study)."""
        if self.fetched is None:
            return "failed" if self.failed else "none"
        return "complete" if self.complete else "missing"

    @property
    def words(self) -> str:
        return self.sentence if self.fetched is None else self.fetched.sentence

    @property
    def numbers(self) -> tuple[int | str, ...]:
        """Series, objects, had before, moved, missing; empty where they are not known."""
        f = self.fetched
        return ("",) * 5 if f is None else (f.series, f.objects, f.had, f.moved, f.missing)

    def cells(self) -> tuple[object, ...]:
        """In the order of HEAD."""
        study, wanted = self.study, self.wanted
        if study is None:
            return (wanted.patient_id, wanted.accession, wanted.study_uid, "", self.state, *self.numbers, self.words)
        day = written(study.study_date)
        return (study.patient_id, study.accession, study.study_uid, day, self.state, *self.numbers, self.words)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """The table as CSV; replaces an older one as a whole. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows([plain(cell) for cell in row.cells()] for row in rows)
    write_durably(path, (text.getvalue().encode(),))


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table for a terminal, with a sentence below each study of which something is missing."""
    width = max([len("patient"), *(len(_patient(row)) for row in rows)])
    yield f"{'patient':<{width}}  {'date':<10}  {'state':<8}  series  objects      had    moved  missing"
    for row in rows:
        day = written(row.study.study_date) if row.study is not None else ""
        numbers = "  ".join(f"{number:>{room}}" for number, room in zip(row.numbers, (6, 7, 7, 7, 7), strict=True))
        yield f"{_patient(row):<{width}}  {day:<10}  {row.state:<8}  {numbers}".rstrip()
        if row.words:
            yield f"    {plain(row.words)}"
    yield summary(rows)


def summary(rows: Sequence[Row]) -> str:
    """One sentence on all of them."""
    fetched = [row.fetched for row in rows if row.fetched is not None]
    moved, missing = sum(each.moved for each in fetched), sum(each.missing for each in fetched)
    complete, without = sum(each.complete for each in fetched), len(rows) - len(fetched)
    return (
        f"{len(fetched)} PET/CT studies, {complete} complete: {moved} objects moved, {missing} missing. "
        f"{without} row(s) without an answer or a study."
    )


def _patient(row: Row) -> str:
    return plain((row.study.patient_id if row.study is not None else "") or row.wanted.label)


def written(date: str) -> str:
    """A DA with dashes; as it is where it is none."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else plain(date)

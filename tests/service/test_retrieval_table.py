"""The table of a retrieval: what is not known is empty, and words from outside stay on one line."""

from __future__ import annotations

import csv
from pathlib import Path

from service.retrieval import StudyAnswer, Wanted
from service.retrieval_study import Fetched
from service.retrieval_table import Row, lines, summary, write_table

STUDY = StudyAnswer(study_uid="1.2", patient_id="P1", accession="A7", study_date="20260310")
WHOLE = Row(wanted=Wanted(accession="A7"), study=STUDY, fetched=Fetched(study=STUDY, series=2, objects=9, had=4, moved=5))
PART = Row(
    wanted=Wanted(patient_id="P1"),
    study=STUDY,
    fetched=Fetched(study=STUDY, series=2, objects=9, had=4, moved=3, missing=2, sentence="pacs could\nnot send 2."),
)
DOUBTED = Row(wanted=Wanted(patient_id="P1"), study=STUDY, fetched=Fetched(study=STUDY, objects=9, had=9, sentence="More?"))
NOBODY = Row(wanted=Wanted(patient_id="P=1"), sentence="pacs has no study of P=1.")
FAILED = Row(wanted=Wanted(study_uid="1.9"), sentence="PACS at h:104 cannot be reached.", failed=True)


def test_the_file_holds_every_row(tmp_path: Path) -> None:
    path = tmp_path / "retrieve.csv"
    path.write_text("older")
    write_table(path, (WHOLE, PART, DOUBTED, NOBODY, FAILED))
    with path.open(newline="", encoding="utf-8") as file:
        whole, part, doubted, nobody, failed = csv.DictReader(file)
    assert list(whole.values()) == ["P1", "A7", "1.2", "2026-03-10", "complete", "2", "9", "4", "5", "0", ""]
    assert (part["state"], part["missing"], part["sentence"]) == ("missing", "2", "pacs could not send 2.")
    assert (doubted["state"], doubted["missing"]) == ("missing", "0")
    assert list(nobody.values()) == ["P=1", "", "", "", "none", "", "", "", "", "", "pacs has no study of P=1."]
    assert (failed["study_uid"], failed["state"], failed["objects_found"]) == ("1.9", "failed", "")
    assert [path.name for path in tmp_path.iterdir()] == ["retrieve.csv"]


def test_the_terminal_shows_the_same() -> None:
    shown = list(lines((WHOLE, PART, FAILED)))
    assert shown[1].split() == ["P1", "2026-03-10", "complete", "2", "9", "4", "5", "0"]
    assert shown[3] == "    pacs could not send 2."
    assert shown[4].split() == ["study", "1.9", "failed"]
    assert shown[-1] == summary((WHOLE, PART, FAILED))
    assert shown[-1] == "2 PET/CT studies, 1 complete: 8 objects moved, 2 missing. 1 row(s) without an answer or a study."

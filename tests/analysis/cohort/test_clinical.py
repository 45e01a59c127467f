"""The clinical table: what is right is taken as it stands, what is wrong is told with its row and column."""

from __future__ import annotations

import random
import re
from pathlib import Path

import openpyxl
import pytest
from clinical_tables import TODAY, clinical, csv_file

from analysis.cohort.clinical import data_dictionary, read_clinical
from analysis.cohort.clinical_columns import COLUMNS
from analysis.errors import BadSettings

ROOT = Path(__file__).resolve().parents[3]


def told(folder: Path, text: str) -> str:
    with pytest.raises(BadSettings) as refused:
        clinical(folder, text)
    return str(refused.value)


def test_values_dates_and_words_are_read(tmp_path: Path) -> None:
    table = clinical(
        tmp_path,
        """patient_id;therapy_date;sex;age;b2m_mg_l;high_risk_cytogenetics;response;death_date
        0012;2024-03-31;w;61;4.5;ja;VGPR;
        Müller;31.03.2024;m;;;0;unbekannt;2024-12-01""",
    )
    first, second = table.rows
    assert (first.patient_id, second.patient_id) == ("0012", "Müller")
    assert first.therapy == second.therapy
    assert first.values["sex"] == "F"
    assert first.number_of("b2m_mg_l") == 4.5
    assert first.number_of("high_risk_cytogenetics") == 1
    assert second.number_of("high_risk_cytogenetics") == 0
    assert first.text_of("response") == "VGPR"
    assert second.values["response"] is None
    assert second.number_of("age") is None
    assert table.columns == (
        "patient_id",
        "therapy_date",
        "sex",
        "age",
        "high_risk_cytogenetics",
        "b2m_mg_l",
        "response",
        "death_date",
    )


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        ("weight_kg", "720", "another unit? pounds"),
        ("height_cm", "1.75", "metres x 100"),
        ("activity_gbq", "7400", "MBq / 1000"),
        ("b2m_mg_l", "390", "nmol/l"),
        ("age", "61 years", "no number"),
        ("age", "61,5", "decimal point"),
        ("age", "nan(1)", "no number"),
        ("prior_lines", "2.5", "whole number"),
        ("death_date", "2024-02-30", "no day of the calendar"),
        ("death_date", "03/31/2024", "no date"),
        ("death_date", "2031-01-01", "in the future"),
        ("death_date", "2024-01-01", "death on 2024-01-01 is before therapy on 2024-03-01"),
        ("progression_date", "2023-12-31", "before therapy"),
        ("last_contact_date", "2023-12-31", "before therapy"),
        ("response", "besser", "not known here; write one of sCR"),
        ("response", "partial", "not known here"),
        ("sex", "1", "M, F or O"),
        ("hsct", "vielleicht", "yes or no"),
        ("response_source", "guess", "serology"),
        ("os_days", "-3", "outside 0"),
        ("os_days", "120", "os_event"),
        ("therapy_date", "", "required"),
        ("patient_id", "", "required"),
    ],
)
def test_a_wrong_cell_is_told_with_row_and_column(tmp_path: Path, column: str, cell: str, why: str) -> None:
    cells = {"patient_id": "A", "therapy_date": "2024-03-01"} | {column: cell}
    good = {"patient_id": "B", "therapy_date": "2024-03-01"}
    rows = [";".join(row.get(name, "") for name in cells) for row in (good, cells)]
    sentence = told(tmp_path, "\n".join([";".join(cells), *rows]))
    assert why in sentence
    assert "row 3, column " in sentence
    assert column in sentence


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("patient_id", "'therapy_date' is missing"),
        ("patient_id,therapy_date,weight_lb", "'weight_kg' (in kg)"),
        ("patient_id,therapy_date,m_protein_before_g_dl", "'m_protein_before_g_l' (in g/L)"),
        ("patient_id,therapy_date,therapy_dat", "'therapy_date'"),
        ("patient_id,therapy_date,age,age", "twice"),
    ],
)
def test_a_wrong_head_is_told(tmp_path: Path, head: str, why: str) -> None:
    assert why in told(tmp_path, f"{head}\nA")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    sentence = told(tmp_path, "patient_id,therapy_date,age,weight_kg\nA,2024-03-01,7,1000\nB,2024-13-01,60,70")
    assert re.findall(r"row (\d), column (\w+)", sentence) == [("2", "age"), ("2", "weight_kg"), ("3", "therapy_date")]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("A,2024-03-01,,,,\nA,2024-03-01,,,,", "same patient and day as in row 2"),
        ("A,2024-03-01,2024-09-01,,,\nA,2024-05-01,2024-10-01,,,", "but 2024-09-01 in row 2"),
        ("A,2024-03-01,2024-09-01,,,\nA,2024-05-01,,2024-08-01,,", "death_date: empty, but 2024-09-01 in row 2"),
        ("A,2024-03-01,2024-09-01,2024-10-01,,", "last contact on 2024-10-01 is after death"),
        ("A,2024-03-01,2024-09-01,,300,1", "300 d to death contradict death_date 2024-09-01"),
        ("A,2024-03-01,,2024-10-01,100,1", "after death 100 d after therapy"),
    ],
)
def test_what_cannot_be_true_together_is_told(tmp_path: Path, rows: str, why: str) -> None:
    assert why in told(tmp_path, f"patient_id,therapy_date,death_date,last_contact_date,os_days,os_event\n{rows}")


def test_words_are_told_as_they_were_read(tmp_path: Path) -> None:
    table = clinical(tmp_path, "patient_id,therapy_date,response,ward\nA,2024-03-01,Teilremission,3\nB,2024-03-01,PR,4")
    assert [row.text_of("response") for row in table.rows] == ["PR", "PR"]
    assert "Column response: 'Teilremission' is read as PR in row 2." in table.notes
    assert "Column 'ward' of the clinical table is not used." in table.notes


def test_a_spreadsheet_gives_the_same_as_its_csv(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["patient_id", "therapy_date", "age", "hsct", "response"])
    sheet.append([12, TODAY, 61.5, True, "PR"])
    sheet.append([None] * 5)
    sheet.append(["0012", "31.03.2024", None, "nein", None])
    book.save(tmp_path / "clinical.xlsx")
    rows = read_clinical(tmp_path / "clinical.xlsx", TODAY).rows
    assert [(row.number, row.patient_id) for row in rows] == [(2, "12"), (4, "0012")]
    assert rows[0].values["therapy_date"] == TODAY
    assert rows[0].number_of("age") == 61.5
    assert [row.number_of("hsct") for row in rows] == [1, 0]


def test_broken_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 no spreadsheet")
    (tmp_path / "b.csv").write_bytes("patient_id,therapy_date\nMüller,2024-03-01".encode("latin-1"))
    (tmp_path / "c.csv").write_bytes(b"")
    (tmp_path / "d.csv").write_text('patient_id,therapy_date\n"A,2024-03-01')
    (tmp_path / "e.csv").write_text("patient_id,therapy_date\nA,2024-03-01,7\n")
    (tmp_path / "f.csv").write_text("patient_id,therapy_date\n")
    for path, word in zip(
        sorted(tmp_path.iterdir()), ("XLSX", "UTF-8", "empty", "CSV", "without a name", "no row"), strict=True
    ):
        with pytest.raises(BadSettings, match=word):
            read_clinical(path, TODAY)


def test_the_dictionary_in_docs_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "CLINICAL.md").read_text(encoding="utf-8")
    for name, what, values, meaning in data_dictionary():
        assert f"| `{name}` | {what} | {values} | {meaning} |" in page


def test_the_example_file_is_right_and_has_every_column() -> None:
    example = read_clinical(ROOT / "docs" / "clinical-example.csv", TODAY)
    assert example.columns == tuple(column.name for column in COLUMNS)
    assert len(example.rows) >= 5


def test_a_table_is_written_and_read_in_utf8(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "\ufeffpatient_id,therapy_date\nÄ,2024-03-01")
    assert read_clinical(path, TODAY).rows[0].patient_id == "Ä"


def test_a_spreadsheet_that_was_damaged_anywhere_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    """Bytes changed and the end cut off, as disks and mail do it."""
    path = tmp_path / "clinical.xlsx"
    book = openpyxl.Workbook()
    for row in ([column.name for column in COLUMNS], ["A", TODAY, "M", 61, 80.5]):
        book.active.append(row)
    book.save(path)
    whole, chance, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(150):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.choice([1, 5, 30])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_clinical(path, TODAY)
        except BadSettings:
            refused += 1
    assert refused > 50

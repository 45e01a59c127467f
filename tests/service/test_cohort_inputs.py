"""[cohort] and what a version depends on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.errors import BadSettings
from service.cohort_inputs import CohortSection, clinical_table, cohort_section, fingerprint
from service.config import load


def settings(folder: Path, text: str) -> CohortSection:
    path = folder / "duet.toml"
    path.write_text(f"[cohort]\n{text}\n")
    return cohort_section(load(path))


def test_the_section_and_its_defaults(tmp_path: Path) -> None:
    assert settings(tmp_path, 'clinical = ""') == CohortSection()
    assert settings(tmp_path, 'clinical = "a.csv"\npreset = "paper"').clinical == Path("a.csv")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('preset = "papers"', "preset"),
        ("quiet_s = -1", "quiet_s"),
        ('patient_id = ""', "patient_id"),
        ('patient_name = "A=B"', "patient_name"),
        ('response_from = ["guess"]', "response_from"),
        ("bone_cutoffs = [10]", "between 0 and 1"),
        ("relabeling = 3", "did you mean 'relabelings'"),
        ("relabelings = -3", "0 or more"),
    ],
)
def test_a_wrong_key_or_value_is_told(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadSettings, match=why):
        settings(tmp_path, text)


def test_the_fingerprint_changes_with_every_input_and_with_nothing_else(tmp_path: Path) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text("patient_id,therapy_date\nA,2024-01-01\n")
    section = CohortSection(clinical=table)
    mark = fingerprint(section, ["2.25.1", "2.25.2"])
    assert fingerprint(replace(section, quiet_s=1.0), ["2.25.2", "2.25.1"]) == mark
    os.utime(table, (1, 1))
    assert fingerprint(section, ["2.25.1", "2.25.2"]) == mark
    others = {
        fingerprint(section, ["2.25.1"]),
        fingerprint(replace(section, seed=2), ["2.25.1", "2.25.2"]),
        fingerprint(replace(section, patient_id="X"), ["2.25.1", "2.25.2"]),
    }
    table.write_text("patient_id,therapy_date\nA,2024-01-02\n")
    others.add(fingerprint(section, ["2.25.1", "2.25.2"]))
    assert len(others | {mark}) == 5


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no such file"):
        clinical_table(tmp_path / "clinical.csv")

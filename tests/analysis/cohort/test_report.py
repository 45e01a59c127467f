"""The document: its parts in their order, numbered, with nothing that names a patient or overclaims."""

from __future__ import annotations

import re
from dataclasses import replace

import cohorts
import pytest
from cohort_reports import document

from analysis.cohort.report import cohort_document
from analysis.cohort.report_values import DISCLAIMER, FigureBlock, Sentences, TableBlock

EVERY = pytest.mark.parametrize("name", ["usual", "tiny", "long", "small"])
ORDER = [
    "summary",
    "patients",
    "response",
    "six-months",
    "survival",
    "influence",
    "robustness",
    "methods",
    "checklists",
    "tables",
    "notes",
]


def words(name: str) -> str:
    lines: list[str] = []
    for section in document(name).sections:
        for block in section.blocks:
            if isinstance(block, Sentences):
                lines += block.lines
            elif isinstance(block, TableBlock):
                lines += [block.title, *block.footnotes, *(cell for row in block.rows for cell in row)]
            else:
                lines += [block.title, block.alt, block.shows, block.shows_not]
    return "\n".join(lines)


@EVERY
def test_every_cohort_has_every_section_in_the_order_of_the_paper(name: str) -> None:
    assert [section.key for section in document(name).sections] == ORDER
    assert all(section.blocks for section in document(name).sections)
    assert document(name).disclaimer == DISCLAIMER


@EVERY
def test_tables_and_figures_are_numbered_as_they_come(name: str) -> None:
    for kind, word in ((TableBlock, "Table"), (FigureBlock, "Figure")):
        labels = [block.label for section in document(name).sections for block in section.blocks if isinstance(block, kind)]
        assert labels == [f"{word} {place + 1}" for place in range(len(labels))]
    names = [block.name for block in document(name).figures]
    assert len(set(names)) == len(names)


@EVERY
def test_every_figure_tells_what_it_shows_and_what_not_in_one_sentence_each(name: str) -> None:
    for block in document(name).figures:
        assert block.shows_not.startswith("It does not show")
        for sentence in (block.shows, block.shows_not):
            assert sentence.endswith(".")


@pytest.mark.parametrize("name", ["usual", "tiny", "long"])
def test_no_patient_is_named(name: str) -> None:
    table = {"usual": cohorts.usual, "tiny": cohorts.tiny, "long": cohorts.long_names}[name]().table
    named = [patient for patient in table.patients if len(patient) > 1 and patient in words(name)]
    assert named == []
    assert not any(cycle in words(name) for cycle in table.cycles)


@EVERY
def test_no_word_claims_more_than_a_cohort_gives(name: str) -> None:
    assert (
        re.search(r"\b(significant|proves?|predicts|prognostic (factor|value)|biomarker|will respond)\b", words(name)) is None
    )
    assert re.search(r"\bnan\b|\bNone\b|\binf\b", words(name)) is None


def test_a_cohort_without_anything_says_so_in_each_place() -> None:
    told = {section.key: section.blocks for section in document("tiny").sections}
    assert all(isinstance(block, Sentences) for key in ORDER[2:7] for block in told[key])
    text = words("tiny")
    for sentence in (
        "No feature could be compared between responders and non-responders.",
        "No trees were grown for 6-month survival in this cohort.",
        "No curves could be compared.",
        "Progression-free survival (progression or death): this cohort has no such follow-up.",
        "the influence of single patients is not known",
        "No other setting was tried",
        "Response, complete cases: none of 42 features could be examined",
    ):
        assert sentence in text


def test_an_empty_cohort_still_gives_a_document() -> None:
    results = replace(cohorts.tiny(), response=(), splits=())
    assert [section.key for section in cohort_document(results, cohorts.OCCASION).sections] == ORDER


def test_notes_bear_letters() -> None:
    notes = document("usual").sections[-1].blocks[0]
    assert isinstance(notes, Sentences)
    assert notes.lines[0] == "patient A: beta-2 microglobulin of 210 mg/l looks odd and was left as it is."

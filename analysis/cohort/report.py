"""The cohort report: results become a document, in the order of the paper. Names the parts; each part speaks for itself."""

from __future__ import annotations

from dataclasses import replace

from analysis.cohort.checklists import checklist_section
from analysis.cohort.report_methods import methods_paragraph, methods_section
from analysis.cohort.report_numbers import Letters, counted
from analysis.cohort.report_response import response_section
from analysis.cohort.report_robustness import influence_section, robustness_section
from analysis.cohort.report_summary import summary
from analysis.cohort.report_survival import survival_section
from analysis.cohort.report_tables import full_tables
from analysis.cohort.report_trees import six_month_section
from analysis.cohort.report_values import Block, Document, FigureBlock, Occasion, Section, Sentences, TableBlock
from analysis.cohort.table_one import table_one
from analysis.cohort.values import CohortTable, Results

__all__ = ["Document", "Occasion", "cohort_document"]


def cohort_document(results: Results, occasion: Occasion) -> Document:
    """The whole report as values; tables and figures are numbered in the order in which they stand."""
    table, methods = results.table, methods_paragraph(results)
    sections = (
        Section(key="summary", title="Summary", blocks=(Sentences(lines=summary(results), boxed=True, listed=True),)),
        Section(key="patients", title="Patients", blocks=(table_one(table),)),
        response_section(results),
        six_month_section(results),
        survival_section(results),
        influence_section(results),
        robustness_section(results),
        methods_section(results, methods),
        checklist_section(results),
        Section(key="tables", title="Full tables", blocks=full_tables(results)),
        _notes(table),
    )
    facts = f"{counted(len(table), 'treatment cycle')} of {counted(len(set(table.patients)), 'patient')}"
    return Document(occasion=occasion, facts=facts, sections=_numbered(sections), methods=methods)


def _notes(table: CohortTable) -> Section:
    """What was left out or looks odd, with letters for patients."""
    letters = Letters(table.patients)
    lines = tuple(letters.without_names(note) for note in table.notes) or ("Nothing was left out, and nothing looked odd.",)
    return Section(key="notes", title="Notes of the table", blocks=(Sentences(lines=lines, listed=True),))


def _numbered(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    seen = {TableBlock: 0, FigureBlock: 0}

    def labelled(block: Block) -> Block:
        if isinstance(block, Sentences):
            return block
        seen[type(block)] += 1
        return replace(block, label=f"{'Table' if isinstance(block, TableBlock) else 'Figure'} {seen[type(block)]}")

    return tuple(replace(section, blocks=tuple(labelled(block) for block in section.blocks)) for section in sections)

"""Reports of the cohorts in memory, each drawn once for all tests of a process."""

from __future__ import annotations

from functools import cache

import cohorts
from matplotlib.figure import Figure

from analysis.cohort.figures import canvas, pdf_of, svg_of
from analysis.cohort.report import cohort_document
from analysis.cohort.report_html import html_of
from analysis.cohort.report_pdf import pdf_of_document
from analysis.cohort.report_values import Document

COHORTS = {"usual": cohorts.usual, "tiny": cohorts.tiny, "long": cohorts.long_names, "small": cohorts.small}


@cache
def document(name: str) -> Document:
    return cohort_document(COHORTS[name](), cohorts.OCCASION)


@cache
def figures(name: str) -> dict[str, Figure]:
    return {block.name: block.draw() for block in document(name).figures}


@cache
def html(name: str) -> str:
    """Only the small cohort's with its drawings: of the others the words and their places are looked at."""
    drawn = {key: svg_of(figure) if name == "small" else "" for key, figure in figures(name).items()}
    return html_of(document(name), drawn)


@cache
def pdf(name: str) -> bytes:
    """Only the small cohort's with its drawings, the others' with empty ones of the same size."""
    drawn = list(figures(name).values())
    if name != "small":
        drawn = [canvas(*reversed(figure.get_size_inches())) for figure in drawn]
    return pdf_of_document(document(name), pdf_of(drawn) if drawn else b"")

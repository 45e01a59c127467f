"""The PDF: every section, the disclaimer on each page, embedded fonts, the same bytes at each run."""

from __future__ import annotations

import io
import re
from functools import cache

import cohorts
import pytest
from pypdf import PageObject, PdfReader
from pypdf.generic import DictionaryObject

from analysis.cohort.figures import pdf_of
from analysis.cohort.report import cohort_document
from analysis.cohort.report_pdf import pdf_of_document
from analysis.cohort.report_values import Document

COHORTS = {"usual": cohorts.usual, "tiny": cohorts.tiny, "long": cohorts.long_names}
EVERY = pytest.mark.parametrize("name", COHORTS)


@cache
def made(name: str) -> tuple[Document, bytes]:
    document = cohort_document(COHORTS[name](), cohorts.OCCASION)
    figures = [block.draw() for block in document.figures]
    return document, pdf_of_document(document, pdf_of(figures) if figures else b"")


@cache
def pages(name: str) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(made(name)[1])).pages]


def squeezed(text: str) -> str:
    """Without spaces and line ends, which a PDF places as it likes."""
    return re.sub(r"\s+", "", text)


@EVERY
def test_every_page_says_research_use_only_and_its_number(name: str) -> None:
    for number, text in enumerate(pages(name), start=1):
        assert "Research use only. Cohort-level and hypothesis-generating" in text
        assert f"Page {number}" in text


@EVERY
def test_no_page_is_empty(name: str) -> None:
    assert [number for number, text in enumerate(pages(name), start=1) if len(text) < 140] == []


@EVERY
def test_it_holds_every_section_and_its_title(name: str) -> None:
    document, content = made(name)
    text = squeezed("".join(pages(name)))
    assert [section.title for section in document.sections if squeezed(section.title) not in text] == []
    outline = [str(entry.title) for entry in PdfReader(io.BytesIO(content)).outline]  # type: ignore[union-attr]
    assert outline == [section.title for section in document.sections]
    for words in (document.occasion.title, document.occasion.site, document.disclaimer, *document.methods.split("\n\n")):
        assert squeezed(words) in text


@EVERY
def test_every_figure_lies_on_a_page_with_its_caption(name: str) -> None:
    """The words inside a figure are found beside its caption: it was laid on the right page."""
    document, _ = made(name)
    for block in document.figures:
        home = next(text for text in pages(name) if squeezed(f"{block.label}. {block.title}") in squeezed(text))
        inside = next(words for text in block.draw().findobj() if (words := _words(text)))
        assert squeezed(inside) in squeezed(home)


def _words(artist: object) -> str:
    text = getattr(artist, "get_text", str)
    words = text() if callable(text) else ""
    return words if isinstance(words, str) and len(words) > 12 and "\n" not in words and "<" not in words else ""


def fonts(page: PageObject | DictionaryObject) -> list[DictionaryObject]:
    resources = page["/Resources"].get_object()
    found = [font.get_object() for font in resources.get("/Font", {}).values()]  # type: ignore[union-attr]
    for form in resources.get("/XObject", {}).values():  # type: ignore[union-attr]
        if form.get_object().get("/Subtype") == "/Form":
            found += fonts(form.get_object())
    return found


def test_every_font_that_draws_is_embedded() -> None:
    names = set()
    for page in PdfReader(io.BytesIO(made("usual")[1])).pages:
        for font in fonts(page):
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            if "/FontDescriptor" in inner:
                assert "/FontFile2" in inner["/FontDescriptor"].get_object()
                names.add(str(inner["/BaseFont"]).split("+")[-1])
            else:
                assert str(font["/BaseFont"]) == "/Helvetica"  # reportlab declares it and writes nothing with it
    assert {"DejaVuSans", "DejaVuSans-Bold"} <= names


def test_its_properties() -> None:
    about = PdfReader(io.BytesIO(made("usual")[1])).metadata
    assert about is not None
    assert about.title == cohorts.OCCASION.title
    assert about.subject is not None
    assert "Research use only" in about.subject
    assert about.creation_date == cohorts.OCCASION.made_at


def test_the_same_document_gives_the_same_bytes() -> None:
    document = cohort_document(cohorts.usual(), cohorts.OCCASION)
    again = pdf_of_document(document, pdf_of([block.draw() for block in document.figures]))
    assert again == made("usual")[1]

"""The PDF: every section, the disclaimer on each page, embedded fonts, the same bytes at each run."""

from __future__ import annotations

import io
import re
from functools import cache

import cohorts
import pytest
from cohort_reports import document, figures, pdf
from matplotlib.text import Text
from pypdf import PageObject, PdfReader
from pypdf.generic import DictionaryObject

from analysis.cohort.report_values import DISCLAIMER

EVERY = pytest.mark.parametrize("name", ["usual", "tiny", "long", "small"])


@cache
def pages(name: str) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(pdf(name))).pages]


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
    text = squeezed("".join(pages(name)))
    assert [section.title for section in document(name).sections if squeezed(section.title) not in text] == []
    outline = [str(entry.title) for entry in PdfReader(io.BytesIO(pdf(name))).outline]  # type: ignore[union-attr]
    assert outline == [section.title for section in document(name).sections]
    for words in (cohorts.OCCASION.title, cohorts.OCCASION.site, DISCLAIMER, *document(name).methods.split("\n\n")):
        assert squeezed(words) in text


def test_every_figure_lies_on_a_page_with_its_caption() -> None:
    """The words inside a figure are found beside its caption: it was laid on the right page."""
    for block in document("small").figures:
        home = next(text for text in pages("small") if squeezed(f"{block.label}. {block.title}") in squeezed(text))
        inside = next(words for text in figures("small")[block.name].findobj() if (words := _words(text)))
        assert squeezed(inside) in squeezed(home)


def _words(artist: object) -> str:
    lines = artist.get_text().split("\n") if isinstance(artist, Text) and artist.get_visible() else [""]
    return lines[0] if len(lines[0]) > 9 else ""


def fonts(page: PageObject | DictionaryObject) -> list[DictionaryObject]:
    resources = page.get("/Resources", DictionaryObject()).get_object()
    found = [font.get_object() for font in resources.get("/Font", {}).values()]  # type: ignore[union-attr]
    for form in resources.get("/XObject", {}).values():  # type: ignore[union-attr]
        if form.get_object().get("/Subtype") == "/Form":
            found += fonts(form.get_object())
    return found


def test_every_font_that_draws_is_embedded() -> None:
    names = set()
    for page in PdfReader(io.BytesIO(pdf("small"))).pages:
        for font in fonts(page):
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            if "/FontDescriptor" in inner:
                assert "/FontFile2" in inner["/FontDescriptor"].get_object()
                names.add(str(inner["/BaseFont"]).split("+")[-1])
            else:
                assert str(font["/BaseFont"]) == "/Helvetica"  # reportlab declares it and writes nothing with it
    assert {"DejaVuSans", "DejaVuSans-Bold"} <= names


def test_its_properties() -> None:
    about = PdfReader(io.BytesIO(pdf("small"))).metadata
    assert about is not None
    assert about.title == cohorts.OCCASION.title
    assert about.subject is not None
    assert "Research use only" in about.subject
    assert about.creation_date == cohorts.OCCASION.made_at

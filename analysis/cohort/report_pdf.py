"""The document as a PDF on A4: embedded fonts, figures as vectors, page numbers, and "Research use only" on every page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import cast
from xml.sax.saxutils import escape

import matplotlib as mpl
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, ContentStream, DecodedStreamObject, DictionaryObject, NameObject
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from analysis.cohort.report_values import Block, Document, FigureBlock, Section, Sentences, TableBlock

MARGIN, FOOT = 18 * mm, 16 * mm
WIDTH = A4[0] - 2 * MARGIN
INK, SOFT, LINE, PALE = (colors.HexColor(c) for c in ("#1f2933", "#55616d", "#d5dbe1", "#f3f5f7"))
ORANGE, PALE_ORANGE = colors.HexColor("#c8580a"), colors.HexColor("#fdf4ec")
OWN_PAGE = ("response", "six-months", "survival", "influence", "methods", "tables")
_PLAIN, _BOLD = "Duet", "Duet-Bold"
_FULL = A4[1] - MARGIN - FOOT - 4 * mm  # height of what a page holds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a figure belongs: page from 0, lower left corner and scale in points."""

    name: str
    page: int
    x: float
    y: float
    scale: float


class _Room(Flowable):  # type: ignore[misc]
    """The empty room of a figure, which remembers where it came to lie."""

    def __init__(self, name: str, size: tuple[float, float], places: list[_Place]) -> None:
        super().__init__()
        self.spaceBefore = 6
        self.name, self.places = name, places
        self.scale = min(1.0, WIDTH / size[0])
        self.width, self.height = size[0] * self.scale, size[1] * self.scale

    def draw(self) -> None:
        x, y = self.canv.absolutePosition(0, 0)
        page = self.canv.getPageNumber() - 1
        self.places.append(_Place(name=self.name, page=page, x=x, y=y, scale=self.scale))


def pdf_of_document(document: Document, figures: bytes) -> bytes:
    """figures: a PDF with a page for each figure of the document, in their order; empty where there are none.

    The same document gives the same bytes.
    """
    _fonts()
    pages = PdfReader(io.BytesIO(figures)).pages if figures else []
    drawn = {block.name: page for block, page in zip(document.figures, pages, strict=True)}
    sizes = {name: (float(page.mediabox.width), float(page.mediabox.height)) for name, page in drawn.items()}
    places: list[_Place] = []
    out = io.BytesIO()
    template = _template(out, document)
    template.build(list(_story(document, sizes, places)))
    return _with_figures(out.getvalue(), document, drawn, places)


def _fonts() -> None:
    """DejaVu Sans as matplotlib brings it: no font of the system is needed, and all of it is embedded."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name, file in ((_PLAIN, "DejaVuSans.ttf"), (_BOLD, "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))


def _template(out: io.BytesIO, document: Document) -> BaseDocTemplate:
    template = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=FOOT + 6 * mm,
        title=document.occasion.title,
        author="duet",
        lang="en",
        invariant=1,
    )
    frame = Frame(MARGIN, FOOT + 4 * mm, WIDTH, _FULL, 0, 0, 0, 0, id="page")
    template.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=_footer)])
    return template


def _footer(canvas: Canvas, _: BaseDocTemplate) -> None:
    canvas.saveState()
    canvas.setStrokeColor(LINE)
    canvas.line(MARGIN, FOOT, A4[0] - MARGIN, FOOT)
    canvas.setFont(_PLAIN, 6.5)
    canvas.setFillColor(SOFT)
    canvas.drawString(
        MARGIN, FOOT - 10, "Research use only. Cohort-level and hypothesis-generating; no prediction for any patient."
    )
    canvas.drawRightString(A4[0] - MARGIN, FOOT - 10, f"Page {canvas.getPageNumber()}")
    canvas.restoreState()


def _style(size: float, **more: object) -> ParagraphStyle:
    given = {"fontName": _PLAIN, "fontSize": size, "leading": size * 1.42, "textColor": INK, "splitLongWords": 1, **more}
    return ParagraphStyle("style", **given)


def _styles() -> dict[str, ParagraphStyle]:
    return {
        "h1": _style(19, fontName=_BOLD, spaceAfter=5, leading=24),
        "h2": _style(12.5, fontName=_BOLD, spaceBefore=12, spaceAfter=6),
        "text": _style(8.6, spaceAfter=5),
        "facts": _style(8.6, textColor=SOFT, spaceAfter=2),
        "bullet": _style(8.6, leftIndent=10, bulletIndent=0, spaceAfter=3),
        "title": _style(8.6, fontName=_BOLD, spaceBefore=3, spaceAfter=2),
        "table": _style(8.6, fontName=_BOLD, spaceBefore=12, spaceAfter=2),
        "caption": _style(7.6, spaceAfter=2),
        "last": _style(7.6, textColor=SOFT, spaceAfter=9),
        "note": _style(6.4, textColor=SOFT, spaceAfter=1),
        "warning": _style(9, fontName=_BOLD),
        "cell": _style(5.9, leading=7.6),
        "head": _style(5.9, leading=7.6, fontName=_BOLD),
        "wide": _style(7.6, leading=10),
        "wide-head": _style(7.6, leading=10, fontName=_BOLD),
    }


def _story(document: Document, sizes: Mapping[str, tuple[float, float]], places: list[_Place]) -> Iterator[Flowable]:
    styles = _styles()
    occasion = document.occasion
    yield Paragraph(escape(occasion.title), styles["h1"])
    if occasion.site:
        yield Paragraph(escape(occasion.site), styles["facts"])
    made = f"{document.facts}. Made on {occasion.made_at:%Y-%m-%d %H:%M} with duet {occasion.version}."
    yield Paragraph(escape(made), styles["facts"])
    yield Spacer(1, 5)
    yield _boxed([Paragraph(escape(document.disclaimer), styles["warning"])], PALE_ORANGE, ORANGE)
    for section in document.sections:
        yield from _section(section, sizes, places, styles)


def _section(
    section: Section, sizes: Mapping[str, tuple[float, float]], places: list[_Place], styles: Mapping[str, ParagraphStyle]
) -> Iterator[Flowable]:
    """A heading never stands alone, nor do sentences that lead to a figure; long sections begin a page."""
    own_page = section.key in OWN_PAGE and not all(isinstance(block, Sentences) for block in section.blocks)
    tabled = any(isinstance(block, TableBlock) for block in section.blocks)
    yield CondPageBreak(_FULL - 1 if own_page else 75 * mm if tabled else 40 * mm)
    waiting: list[Flowable] = [_Heading(section.title, section.key, styles["h2"])]
    for block, following in zip_longest(section.blocks, section.blocks[1:]):
        flowables = list(_block(block, sizes, places, styles))
        if isinstance(block, Sentences) and isinstance(following, FigureBlock):
            waiting += flowables
            continue
        together = flowables if isinstance(block, FigureBlock) else flowables[:1] if isinstance(block, Sentences) else []
        yield KeepTogether([*waiting, *together])
        yield from flowables[len(together) :]
        waiting = []


class _Heading(Paragraph):  # type: ignore[misc]
    """A heading that also stands in the PDF's outline."""

    def __init__(self, title: str, key: str, style: ParagraphStyle) -> None:
        super().__init__(escape(title), style)
        self.title, self.key = title, key

    def draw(self) -> None:
        self.canv.bookmarkPage(self.key)
        self.canv.addOutlineEntry(self.title, self.key, 0)
        super().draw()


def _block(
    block: Block, sizes: Mapping[str, tuple[float, float]], places: list[_Place], styles: Mapping[str, ParagraphStyle]
) -> Iterator[Flowable]:
    if isinstance(block, Sentences):
        yield from _sentences(block, styles)
    elif isinstance(block, TableBlock):
        yield from _table(block, styles)
    else:
        yield from _figure(block, _Room(block.name, sizes[block.name], places), styles)


def _sentences(block: Sentences, styles: Mapping[str, ParagraphStyle]) -> Iterator[Flowable]:
    style = styles["bullet" if block.listed else "text"]
    lines = [Paragraph(escape(line), style, bulletText="•" if block.listed else None) for line in block.lines]
    yield from [_boxed(lines, PALE, LINE)] if block.boxed else lines


def _boxed(flowables: list[Flowable], fill: colors.Color, line: colors.Color) -> Table:
    look = [("BACKGROUND", (0, 0), (-1, -1), fill), ("BOX", (0, 0), (-1, -1), 0.6, line)]
    look += [("LEFTPADDING", (0, 0), (-1, -1), 7), ("TOPPADDING", (0, 0), (-1, -1), 3), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]
    return Table([[flowable] for flowable in flowables], colWidths=[WIDTH], style=TableStyle(look))


def _figure(block: FigureBlock, room: _Room, styles: Mapping[str, ParagraphStyle]) -> Iterator[Flowable]:
    yield room
    yield Paragraph(escape(f"{block.label}. {block.title}"), styles["title"])
    yield Paragraph(escape(block.shows), styles["caption"])
    yield Paragraph(escape(block.shows_not), styles["last"])


def _table(block: TableBlock, styles: Mapping[str, ParagraphStyle]) -> Iterator[Flowable]:
    few = "wide" if len(block.head) <= 4 else "cell"
    cell, head = styles[few], styles["wide-head" if few == "wide" else "head"]
    look = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        *((name, (0, 0), (-1, -1), size) for name, size in (("LEFTPADDING", 2), ("RIGHTPADDING", 2))),
        *((name, (0, 0), (-1, -1), 1.6) for name in ("TOPPADDING", "BOTTOMPADDING")),
    ]
    content = [[Paragraph(escape(words), head) for words in block.head]]
    for place, row in enumerate(block.rows, start=1):
        if len(row) == 1 < len(block.head):
            look += [("SPAN", (0, place), (-1, place)), ("BACKGROUND", (0, place), (-1, place), PALE)]
            look += [("NOSPLIT", (0, place), (-1, place + 1))] if place < len(block.rows) else []
            content.append([Paragraph(escape(row[0]), head), *[""] * (len(block.head) - 1)])
        else:
            content.append([Paragraph(escape(words), cell) for words in row])
    widths = [WIDTH * share / sum(block.widths) for share in block.widths]
    yield CondPageBreak(45 * mm)
    yield Paragraph(escape(f"{block.label}. {block.title}"), styles["table"])
    yield Table(content, colWidths=widths, repeatRows=1, style=TableStyle(look), spaceAfter=3)
    yield KeepTogether([Paragraph(escape(note), styles["note"]) for note in block.footnotes])


def _with_figures(content: bytes, document: Document, figures: Mapping[str, PageObject], places: list[_Place]) -> bytes:
    """The pages with each figure laid into its room, as the vectors that were drawn."""
    writer = PdfWriter(clone_from=io.BytesIO(content))
    for number, place in enumerate(places):
        _lay(writer, writer.pages[place.page], figures[place.name], place, NameObject(f"/Figure{number}"))
    made = document.occasion.made_at.strftime("D:%Y%m%d%H%M%S")
    about = {
        "/Title": document.occasion.title,
        "/Author": "duet",
        "/Subject": document.disclaimer,
        "/Creator": f"duet {document.occasion.version}",
        "/CreationDate": made,
        "/ModDate": made,
    }
    writer.add_metadata(about)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _lay(writer: PdfWriter, page: PageObject, figure: PageObject, place: _Place, name: NameObject) -> None:
    """The figure as a form of its own (ISO 32000-1, 8.10), drawn after all else on the page."""
    form = DecodedStreamObject()
    form.set_data(cast(ContentStream, figure.get_contents()).get_data())
    form[NameObject("/Type")], form[NameObject("/Subtype")] = NameObject("/XObject"), NameObject("/Form")
    form[NameObject("/BBox")] = ArrayObject(figure.mediabox)
    form[NameObject("/Resources")] = figure["/Resources"].clone(writer)
    resources = cast(DictionaryObject, page["/Resources"].get_object())
    forms = cast(DictionaryObject, resources.setdefault(NameObject("/XObject"), DictionaryObject()).get_object())
    forms[name] = writer._add_object(form.flate_encode())
    draw = DecodedStreamObject()
    draw.set_data(f"q {place.scale:.5f} 0 0 {place.scale:.5f} {place.x:.3f} {place.y:.3f} cm {name} Do Q".encode())
    before = page.raw_get("/Contents")
    streams = list(before) if isinstance(before, ArrayObject) else [before]
    page[NameObject("/Contents")] = ArrayObject([*streams, writer._add_object(draw)])

"""What a report consists of: sections of sentences, tables and figures, as values that HTML and PDF render alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from matplotlib.figure import Figure

from analysis.space import require

DISCLAIMER = "Research use only. Cohort-level and hypothesis-generating; gives no prediction for any patient."


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """When and where a report is made. version: of duet; site: a line of the hospital or study, may be empty."""

    title: str
    made_at: datetime
    version: str
    site: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """Lines that are read one by one. boxed: set apart, as the summary is; listed: with a bullet each."""

    lines: tuple[str, ...]
    boxed: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBlock:
    """A table of words. rows: as long as head, or one cell that heads a group. widths: shares of the page's width.

    label: its number, "Table 1". footnotes: one sentence each, in the order of their marks.
    """

    label: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    footnotes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.widths) == len(self.head), f"{self.label}: expected a width for each column")
        require(all(len(row) in (1, len(self.head)) for row in self.rows), f"{self.label}: a row of another length")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBlock:
    """A figure that is drawn when it is needed. name: of its file; alt: what a reader who cannot see it is told.

    shows and shows_not: one sentence each, printed below it. draw: the same figure at each call, with an axis in each.
    """

    label: str
    name: str
    title: str
    alt: str
    shows: str
    shows_not: str
    draw: Callable[[], Figure]


Block = Sentences | TableBlock | FigureBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report. key: its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report. facts: the line below the title; methods: the paragraph that methods.txt also holds."""

    occasion: Occasion
    facts: str
    sections: tuple[Section, ...]
    methods: str
    disclaimer: str = DISCLAIMER

    @property
    def figures(self) -> tuple[FigureBlock, ...]:
        return tuple(block for section in self.sections for block in section.blocks if isinstance(block, FigureBlock))

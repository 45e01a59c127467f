"""The HTML file: self-contained, escaped, in order, told to who cannot see it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from cohort_reports import document, html

from analysis.cohort.report_values import DISCLAIMER, FigureBlock, TableBlock

VOID = {"meta", "br", "col", "link", "img", "hr"}
EVERY = pytest.mark.parametrize("name", ["usual", "tiny", "long", "small"])


class Reader(HTMLParser):
    """Tags with attributes, the words outside of style, and whether every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


@cache
def read(name: str) -> Reader:
    reader = Reader()
    reader.feed(html(name))
    reader.close()
    assert reader.open == []
    return reader


@EVERY
def test_nothing_is_fetched_and_no_script_runs(name: str) -> None:
    for tag, attributes in read(name).tags:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed", "base")
        for key, value in attributes.items():
            assert key not in ("src", "srcset", "action", "data", "poster")
            assert not key.startswith("on")
            assert key not in ("href", "xlink:href") or value.startswith("#")
    urls = [found for found in re.findall(r"url\(([^)]*)\)|@import", html(name)) if not found.startswith("#")]
    assert urls == []


@EVERY
def test_every_word_is_escaped(name: str) -> None:
    assert "<script" not in html(name)
    words = " ".join(read(name).words)
    assert 'Ward "B" <script>' in words
    assert "Cohort <1> & more" in words
    if name == "long":
        assert "paraossär <angrenzend> & unscharf" in words


@EVERY
def test_references_inside_lead_somewhere_and_each_id_is_there_once(name: str) -> None:
    counts = Counter(attributes["id"] for _, attributes in read(name).tags if "id" in attributes)
    assert [key for key, n in counts.items() if n > 1] == []
    wanted = {a[key][1:] for _, a in read(name).tags for key in ("href", "xlink:href") if key in a}
    wanted |= {a["aria-labelledby"] for _, a in read(name).tags if "aria-labelledby" in a}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", html(name)))
    assert wanted <= set(counts)


@EVERY
def test_headings_come_in_order(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in read(name).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


@EVERY
def test_every_figure_is_told_in_words(name: str) -> None:
    told = [attributes["aria-label"] for _, attributes in read(name).tags if attributes.get("role") == "img"]
    assert told == [block.alt for block in document(name).figures]
    assert all(len(alt) > 30 for alt in told)


@EVERY
def test_it_holds_every_sentence_cell_and_the_disclaimer(name: str) -> None:
    words = re.sub(r"\s+", " ", " ".join(read(name).words))
    assert words.count(DISCLAIMER) == 2
    for section in document(name).sections:
        assert section.title in words
        for block in section.blocks:
            if isinstance(block, TableBlock):
                lines = [block.title, *block.footnotes, *(cell for row in block.rows for cell in row)]
            elif isinstance(block, FigureBlock):
                lines = [block.title, block.shows, block.shows_not]
            else:
                lines = list(block.lines)
            assert [line for line in lines if re.sub(r"\s+", " ", line) not in words] == []


def test_table_heads_have_a_scope_and_repeat_in_print() -> None:
    heads = [attributes for tag, attributes in read("usual").tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in heads)
    assert "display: table-header-group" in html("usual")
    assert "size: A4" in html("usual")

"""The document as one HTML file that needs nothing beside it: styles and figures stand inside, no script, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from analysis.cohort.report_values import Block, Document, FigureBlock, TableBlock

_OWN = re.compile(r'(\bid="|url\(#|href="#)')
_SIZE = re.compile(r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', re.DOTALL)


def html_of(document: Document, figures: Mapping[str, str]) -> str:
    """figures: name > SVG. Every word is escaped; only the drawings go in as they are."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["kind"] = _kind
    template = environment.from_string(files("analysis.cohort").joinpath("report.html").read_text(encoding="utf-8"))
    inline = {name: Markup(_inline(svg, name)) for name, svg in figures.items()}  # noqa: S704 - drawn here, holds no markup of others
    return template.render(document=document, figures=inline, made_at=document.occasion.made_at.strftime("%Y-%m-%d %H:%M"))


def _kind(block: Block) -> str:
    return "table" if isinstance(block, TableBlock) else "figure" if isinstance(block, FigureBlock) else "sentences"


def _inline(svg: str, name: str) -> str:
    """The drawing with ids of its own, as wide as its place, and hidden from readers who are told the alternative text."""
    own = _OWN.sub(rf"\g<1>{name}-", svg)
    return _SIZE.sub(r'<svg aria-hidden="true" focusable="false" \1', own, count=1)

"""Where the report comes to lie: every file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from analysis.cohort.figures import pdf_of, svg_of
from analysis.cohort.report_csv import csv_tables
from analysis.cohort.report_html import html_of
from analysis.cohort.report_pdf import pdf_of_document
from analysis.cohort.report_values import Document
from analysis.cohort.values import Results


def write_report(document: Document, results: Results, out: Path) -> tuple[Path, ...]:
    """Writes report.html, report.pdf, methods.txt, figures/ and tables/ below out; returns their paths.

    A file of an earlier report is exchanged in one step; a figure that this report does not have is taken away.
    """
    contents = dict(_contents(document, results))
    for folder in ("figures", "tables"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for stale in sorted(set((out / "figures").glob("*.svg")) - {out / name for name in contents}):
        stale.unlink()
    return tuple(_write(out / name, content) for name, content in contents.items())


def _contents(document: Document, results: Results) -> Iterator[tuple[str, bytes]]:
    drawn = {block.name: block.draw() for block in document.figures}
    vectors = {name: svg_of(figure) for name, figure in drawn.items()}
    yield "report.html", html_of(document, vectors).encode()
    yield "report.pdf", pdf_of_document(document, pdf_of(list(drawn.values())) if drawn else b"")
    yield "methods.txt", f"{document.methods}\n\n{document.disclaimer}\n".encode()
    for name, svg in vectors.items():
        yield f"figures/{name}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'.encode()
    for name, text in csv_tables(results).items():
        yield f"tables/{name}", text.encode()


def _write(path: Path, content: bytes) -> Path:
    """The content under a temporary name beside it, on the disk, then under its own."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path

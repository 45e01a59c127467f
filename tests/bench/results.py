"""What the benchmarks found, each beside its peer: printed, and kept in tests/bench/RESULTS.md, one section a benchmark."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).with_name("RESULTS.md")
HEAD = """# What was measured

Written by `make bench`, each figure beside the peer that was run next to it on the same machine and input. The ratio is
ours / theirs; times vary from machine to machine, ratios less. A target that was not met says so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure. unit: "s", "mm", "MB", ...; peer: what `theirs` was measured of; target: in words; met: None without one."""

    what: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None
    target: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        theirs = "" if self.theirs is None else f"{self.theirs:.3g} {self.unit}"
        ratio = "" if not self.theirs else f"{self.ours / self.theirs:.2f}"
        met = {True: "met", False: "**not met**", None: ""}[self.met]
        return self.what, f"{self.ours:.3g} {self.unit}", self.peer, theirs, ratio, self.target, met


COLUMNS = ("what", "duet", "peer", "peer's", "ratio", "target", "")


def keep(title: str, figures: Sequence[Figure], note: str = "") -> None:
    """Print the figures and put them into RESULTS.md in place of the section that bears the same title."""
    table = Table(*COLUMNS, title=title)
    for figure in figures:
        table.add_row(*figure.cells)
    Console(width=150).print(table)
    rows = "\n".join(f"| {' | '.join(figure.cells)} |" for figure in figures)
    machine = f"{datetime.now(UTC).date().isoformat()}, {os.cpu_count()} cores, {platform.machine()}."
    section = f"## {title}\n\n{machine} {note}".rstrip() + f"\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n{rows}\n"
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else HEAD
    parts = [part for part in re.split(r"(?m)^(?=## )", old) if part.strip()]
    heads = [part.split("\n", 1)[0] for part in parts]
    if f"## {title}" in heads:
        parts[heads.index(f"## {title}")] = section
    else:
        parts.append(section)
    PAGE.write_text("\n".join(part.strip() + "\n" for part in parts), encoding="utf-8")

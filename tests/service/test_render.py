"""What `duet status` prints: every word of a sentence, and nothing that steers a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from service import render
from service.overview import Line, Overview

SENTENCE = "PT 'PET [/WB]' and [red]CT[/red]\tare\nhere\x1b[2J."
KNOWN = Overview(lines=(Line(patient_id="P\t1\n[b]", what="study", state="held", sentence=SENTENCE),), objects={"filed": 2})


def test_brackets_are_no_markup_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(render, "Console", lambda: terminal)
    render._print(KNOWN, with_totals=False)
    shown = screen.getvalue()
    assert "PT 'PET [/WB]' and [red]CT[/red] are here [2J." in shown
    assert "P 1 [b]" in shown
    assert "\t" not in shown
    assert "\x1b[2J" not in shown


def test_plain_lines_have_four_columns(capsys: pytest.CaptureFixture[str]) -> None:
    render._print(KNOWN, with_totals=True)
    line, total = capsys.readouterr().out.splitlines()
    assert line.split("\t") == ["P 1 [b]", "study", "held", "PT 'PET [/WB]' and [red]CT[/red] are here [2J."]
    assert total == "2 objects received: 2 filed."

"""Words from outside as one line of a terminal, a log or a report."""

from __future__ import annotations


def plain(words: object) -> str:
    """Without control characters, which would shift columns or steer the terminal: a space stands in for each."""
    return "".join(c if c.isprintable() else " " for c in str(words))

"""The commands by which a node is kept over the years: what [retention] lets go, `duet backup` and `duet restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", help="duet.toml; without it the defaults hold, below ./duet-data.")]


def retention(config: Config = None) -> None:
    """What [retention] would delete now; only the running node deletes, each hour."""
    from service.config import load
    from service.desk import journal_of
    from service.inbox import Inbox
    from service.node import rules_of
    from service.retention import RetentionSettings, would_go

    settings = load(config)
    data = settings.node.data.absolute()
    with journal_of(settings) as journal:
        max_days = rules_of(settings).pairing.max_days
        typer.echo(would_go(journal, Inbox(data), settings.section("retention", RetentionSettings), max_days))

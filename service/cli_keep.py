"""The commands by which a node is kept over the years: `duet backup`, `duet restore`, and what [retention] lets go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from analysis.errors import BadSettings

Config = Annotated[Path | None, typer.Option("--config", help="duet.toml; without it the defaults hold, below ./duet-data.")]


def add_to(app: typer.Typer) -> None:
    """The commands as part of `duet`."""
    for command in (backup, restore, retention):
        app.command()(command)


def backup(
    target: Annotated[Path | None, typer.Argument(help="The file, or a folder in which it gets a name.")] = None,
    images: Annotated[bool, typer.Option("--images", help="Also everything that was received; large.")] = False,
    verify: Annotated[
        Path | None, typer.Option("--verify", exists=True, dir_okay=False, help="Instead: check every digest of this backup.")
    ] = None,
    config: Config = None,
) -> None:
    """Journal, cases, cohort reports and settings of a node, running or not, as one file."""
    from service import audit_events
    from service import backup as backups
    from service.config import load
    from service.render import progress_bar

    if (target is None) == (verify is None):
        raise BadSettings("Say where the backup goes, or which one is checked: --verify FILE.")
    with progress_bar() as tell:
        if verify is not None:
            made, manifest = verify, backups.verify(verify, tell)
        else:
            settings = load(config)
            made, manifest = backups.back_up(settings, backups.Wish(target=target or Path(), images=images), tell)
            with audit_events.trail_of(settings):
                audit_events.backed_up(settings.node.ae_title, made)
    typer.echo(backups.summary(made, manifest))


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A backup made by duet backup.")],
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="The data folder; not there yet, or empty.")],
    config: Config = None,
) -> None:
    """A new data folder from a backup, and what is not in it; of a PostgreSQL journal --config names a new, empty database."""
    from service import audit_events
    from service.backup_restore import Request
    from service.backup_restore import restore as restored
    from service.config import load
    from service.render import progress_bar

    settings = load(config)
    with progress_bar() as tell:
        lines = restored(Request(backup=file, data=to, journal=settings.node.journal), tell)
    with audit_events.trail_of(settings, to):
        audit_events.restored(settings.node.ae_title, file)
    for line in lines:
        typer.echo(line)


def retention(config: Config = None) -> None:
    """What [retention] would delete now; only the running node deletes, each hour."""
    from service.config import load
    from service.desk import journal_of
    from service.inbox import Inbox
    from service.node_settings import rules_of
    from service.retention import Retention, RetentionSettings, sentence

    settings = load(config)
    data = settings.node.data.absolute()
    wanted = settings.section("retention", RetentionSettings)
    with journal_of(settings) as journal:
        going = Retention(journal, Inbox(data), wanted, rules_of(settings).pairing.max_days).would_go(time.time())
    typer.echo(sentence(going, data))

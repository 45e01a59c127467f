"""A node that starts brings its journal to the newest revision; before that a copy of the journal is made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import BadSettings
from service.journal import HEAD, Journal, journal_url, named, newer, telling_errors
from service.journal_copy import CopyError, copy_journal, ending
from service.journal_folder import require_own, take
from service.logs import logger

FOLDER = "backups"  # below the data folder
KEPT = 3  # copies of one revision: an upgrade that fails again and again must not fill the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """[backup]. before_upgrade: whether the journal is copied before it is upgraded."""

    before_upgrade: bool = True


def upgraded_journal(journal: str, data: Path, settings: BackupSettings) -> Journal:
    """The journal of a node that starts: made, or copied and then upgraded, where needed.

    Raises BadSettings where it cannot be used or copied, serves another folder, or a later duet has written it; then nothing
    was changed.
    """
    url = journal_url(journal, data)
    with telling_errors(url):
        opened = Journal(url)
        if told := newer(opened, url):
            opened.close()
            raise BadSettings(told)
        revision = opened.revision()
        if revision is not None:
            require_own(opened, url, data)
        old = revision not in (None, HEAD)
        if old and settings.before_upgrade:
            _copy(url, f"journal-{revision}", data / FOLDER)
        opened.migrate()
        take(opened, url, data)
        if old:
            logger().info("journal upgraded", old=revision, new=HEAD)
    return opened


def _copy(url: str, name: str, folder: Path) -> None:
    """Raises BadSettings."""
    target = folder / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{ending(url)}"
    try:
        copy_journal(url, target)
        for old in sorted(folder.glob(f"{name}-*{ending(url)}"))[:-KEPT]:
            old.unlink()
    except (CopyError, OSError) as error:
        raise BadSettings(
            f"The journal {named(url)} was not upgraded, because it could not be copied to {target} first ({error}); "
            "mend that, or set [backup] before_upgrade = false where it is backed up otherwise."
        ) from None

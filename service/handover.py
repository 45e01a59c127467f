"""A released case takes the place of the held one in its folder, as a whole or not at all."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from service.inbox import sync_folder, sync_tree
from service.releases import ReleaseRow
from service.worker import CaseResult, case_result, draft_beside

if TYPE_CHECKING:
    from dicom_io.release import Release

_ASIDE = ".aside"  # ending of the held case's folder while the released one takes its name


def hand_over(folder: Path, given: ReleaseRow) -> CaseResult | None:
    """The case folder with the release in its reports; the same result however often it is called or was cut off.

    None where the results that were released are not there any more. Raises OSError.
    """
    from dicom_io.release import is_released, write_released

    release = _release(given)
    put_back(folder)
    if not folder.is_dir():
        return None
    if not is_released(folder, release):
        with draft_beside(folder) as draft:
            write_released(folder, draft, release)
            sync_tree(draft)
            exchange(draft, folder)
    return case_result(folder)


def take_back(folder: Path) -> CaseResult:
    """The case folder as it was before a release that does not hold any more: the case has changed since. Raises OSError."""
    from dicom_io.release import write_held

    with draft_beside(folder) as draft:
        write_held(folder, draft)
        sync_tree(draft)
        exchange(draft, folder)
    return case_result(folder)


def _release(given: ReleaseRow) -> Release:
    from dicom_io.release import Release

    return Release(by=given.released_by, why=given.why, at=datetime.fromtimestamp(int(given.released_at), UTC))


def exchange(draft: Path, folder: Path) -> None:
    """A finished draft takes the folder's place; cut off in between, `put_back` undoes it. Raises OSError: nothing changed."""
    aside = folder.with_name(folder.name + _ASIDE)
    folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(aside)


def put_back(folder: Path) -> None:
    """Where the exchange of the folder was cut off between its two steps, the held case is put back; else it is cleared."""
    aside = folder.with_name(folder.name + _ASIDE)
    if not aside.is_dir():
        return
    if folder.is_dir():
        shutil.rmtree(aside)
    else:
        aside.rename(folder)
        sync_folder(folder.parent)


def put_all_back(cases: Path) -> None:
    """At start, before anything looks at a case folder."""
    for aside in cases.glob(f"*{_ASIDE}"):
        put_back(aside.with_name(aside.name.removesuffix(_ASIDE)))

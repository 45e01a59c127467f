"""A password or token that stands in a file or in an environment variable, never in duet.toml itself."""

from __future__ import annotations

import os
from pathlib import Path

from analysis.errors import BadSettings


def secret(where: str, file: str, variable: str) -> str:
    """The secret, without the line's end. where: the section and key, for the message. Raises BadSettings."""
    if variable:
        if not os.environ.get(variable):
            raise BadSettings(f"{where}_env: there is no environment variable {variable}, or it is empty.")
        return os.environ[variable]
    if not file:
        raise BadSettings(f"{where}_file or {where}_env is to be set.")
    try:
        found = Path(file).read_text(encoding="utf-8").strip("\r\n")
    except OSError as error:
        raise BadSettings(f"{where}_file: {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadSettings(f"{where}_file: {file} is no text in UTF-8.") from None
    if not found:
        raise BadSettings(f"{where}_file: {file} is empty.")
    return found

"""Secrets from files or the environment, so that none stands in duet.toml; none is ever put into a message."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from analysis.errors import BadSettings


class SecretError(Exception):
    """A secret cannot be had; the message is a sentence that names its key, file or variable, and never its value."""


def check_one(key: str, file: Path | str | None, variable: str) -> None:
    """At most one source is named: KEY_file or KEY_env."""
    if file and variable:
        raise ValueError(f"{key}_file and {key}_env are both set; one is enough")


def secret(key: str, file: Path | None, variable: str) -> str:
    """What stands in the file or in the environment variable, "" where neither is named. Raises SecretError."""
    if variable and variable not in os.environ:
        raise SecretError(f"{key}_env: there is no environment variable {variable}.")
    return os.environ[variable] if variable else text_of(f"{key}_file", file).strip("\r\n")


def needed_secret(where: str, file: str, variable: str) -> str:
    """A secret without which something cannot work. where: section and key, for the message. Raises BadSettings."""
    if not (file or variable):
        raise BadSettings(f"{where}_file or {where}_env is to be set.")
    if variable and not os.environ.get(variable):
        raise BadSettings(f"{where}_env: there is no environment variable {variable}, or it is empty.")
    try:
        found = secret(where, Path(file) if file else None, variable)
    except SecretError as error:
        raise BadSettings(str(error)) from None
    if not found:
        raise BadSettings(f"{where}_file: {file} is empty.")
    return found


def text_of(key: str, path: Path | None) -> str:
    """The whole file, "" where none is named. Raises SecretError."""
    try:
        return path.read_text(encoding="utf-8") if path is not None else ""
    except OSError as error:
        raise SecretError(f"{key}: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SecretError(f"{key}: {path} is no text in UTF-8.") from None


def open_to_others(path: Path) -> bool:
    """Whether every user of this machine may read a file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False

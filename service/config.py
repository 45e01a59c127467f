"""One TOML file > Settings. A section is a frozen dataclass owned by the module that it steers; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from analysis.errors import BadSettings
from analysis.presets import filled
from service.bounds import check_ae_title, check_scheduler, is_local, oddity, unset_empty_paths
from service.secret import SecretError, check_one, secret

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

# The first word of pydantic's error types > what is to be written in the file.
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "path": "a path",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "dataclass": "a table",
}

LONGEST_WORD = 100  # characters of a wrong value that are repeated to its writer

TABLES = (
    "node",
    "receiver",
    "intake",
    "tracers",
    "pairing",
    "engine",
    "objects",
    "delivery",
    "retrieval",
    "cohort",
    "backup",
    "retention",
    "tls",
    "audit",
    "web",
    "alerts",
)
ANALYSIS_TABLES = ("registration", "segmentation", "models", "totalsegmentator", "measurement", "quality")
PRESET_SECTIONS = ("segmentation", "measurement")
LISTS = ("destination", "sender", "archive")
PLANNED: tuple[str, ...] = ()  # sections of the plan that nothing heeds yet: said, and left alone


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """[node]. data: inbox, cases, journal and logs lie below; journal, scheduler: empty for SQLite and a local Dask cluster.

    The database's password comes from journal_password_file or the environment variable journal_password_env.
    scheduler_insecure: a scheduler on another machine may be spoken to without TLS.
    """

    ae_title: str = "DUET"
    data: Path = Path("duet-data")
    journal: str = field(default="", repr=False)
    journal_password_file: Path | None = None
    journal_password_env: str = ""
    scheduler: str = ""
    scheduler_insecure: bool = False

    def __post_init__(self) -> None:
        if self.data == Path():
            raise ValueError('data is empty; name a folder, or "." for the one where the node is started')
        unset_empty_paths(self)
        check_ae_title("ae_title", self.ae_title)
        if self.scheduler:
            check_scheduler("scheduler: ", self.scheduler)
        check_one("journal_password", self.journal_password_file, self.journal_password_env)
        if self.journal_password_file or self.journal_password_env:
            user = self.journal.partition("://")[2].partition("@")
            if not self.journal.startswith("postgresql") or not user[1] or ":" in user[0]:
                raise ValueError("journal is written postgresql+psycopg://user@host/database where its password stands apart")
        if self.scheduler.startswith("tcp://") and not (self.scheduler_insecure or is_local(self.scheduler)):
            raise ValueError(
                "scheduler is on another machine and speaks no TLS, so that anybody on the way could run code; "
                "write tls://host:port with certificates in [tls], or scheduler_insecure = true"
            )

    def with_password(self) -> NodeSettings:
        """The same, with the password in the journal's address. Raises SecretError."""
        password = secret("journal_password", self.journal_password_file, self.journal_password_env)
        if not password:
            return self
        user, _, rest = self.journal.partition("@")
        apart = {"journal_password_file": None, "journal_password_env": ""}
        return dataclasses.replace(self, journal=f"{user}:{urllib.parse.quote(password, safe='')}@{rest}", **apart)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings file, section by section. source: its name, for messages; unheeded: sections without effect so far."""

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lists: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    source: str = "the defaults"
    unheeded: tuple[str, ...] = ()

    @property
    def node(self) -> NodeSettings:
        """[node], with the journal's password in its address. Raises BadSettings."""
        try:
            return self.section("node", NodeSettings).with_password()
        except SecretError as error:
            raise BadSettings(f"{self.source}: [node] {error}") from None

    def section(self, name: str, kind: type[T]) -> T:
        """One section as the dataclass of its owner, with that one's defaults. Raises BadSettings."""
        table = filled(name, self.tables.get(name, {}))
        if name == "models" and not table.get("folder"):
            table = {**table, "folder": self.node.data / "models"}
        return build(kind, table, where=f"{self.source}: [{name}]")

    def with_preset(self, name: str) -> Settings:
        """The same settings with this preset in every section that has one; keys of the file still override it."""
        tables = {section: {**self.tables.get(section, {}), "preset": name} for section in PRESET_SECTIONS}
        return dataclasses.replace(self, tables={**self.tables, **tables})

    def sections(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """Every [[name]] of the file; whoever may be called by TLS also gets the section [tls]. Raises BadSettings."""
        where, shared = f"{self.source}: [[{name}]]", {}
        if any(f.name == "tls" for f in dataclasses.fields(kind)):  # type: ignore[arg-type]
            shared = {"tls": self.tables.get("tls", {})}
        if any("tls" in table for table in self.lists.get(name, ())):
            raise BadSettings(f"{where}: unknown key 'tls'; there is one section [tls] for all.")
        return tuple(build(kind, {**table, **shared}, where=where) for table in self.lists.get(name, ()))

    def group(self, kind: type[T], names: tuple[str, ...]) -> T:
        """Several sections as the fields of one dataclass, for instance the settings of the analysis. Raises BadSettings."""
        types = {f.name: _field_type(kind, f.name) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: self.section(name, types[name]) for name in names if name in types})


def load(path: Path | None) -> Settings:
    """The settings in a TOML file, or the defaults where none is named. Raises BadSettings."""
    if path is None:
        return Settings()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"The settings file {path} is no valid TOML: {error}.") from None
    known = (*TABLES, *ANALYSIS_TABLES, *LISTS)
    unheeded = tuple(name for name in document if name in PLANNED)
    heeded = {name: value for name, value in document.items() if name not in unheeded}
    for name, value in heeded.items():
        _check_section(path, name, value, known)
    return Settings(
        tables={name: value for name, value in heeded.items() if name not in LISTS},
        lists={name: tuple(value) for name, value in heeded.items() if name in LISTS},
        source=str(path),
        unheeded=unheeded,
    )


def build(kind: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """The dataclass from a TOML table; unknown keys and wrong values are told in a sentence."""
    _check_keys(kind, table, where)
    try:
        built = TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        raise BadSettings(f"{where}: {_sentence(error.errors()[0])}") from None
    except BadSettings as error:  # raised by a dataclass of the analysis, which knows no file
        name, words = where.rpartition("[")[2].strip("[]"), str(error).rstrip(".")
        raise BadSettings(f"{where}: {words.removeprefix(f'{name}: ')}.") from None
    for key, value in table.items():
        if odd := oddity(value):
            raise BadSettings(f"{where}: {key} {odd}.")
    return built


def _sentence(mistake: ErrorDetails) -> str:
    """What is wrong with one value, in our words."""
    place = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "value_error":  # raised by the dataclass itself, which names the key
        return f"{place}{': ' if place else ''}{mistake['ctx']['error']}."
    if mistake["type"] in ("missing", "missing_keyword_only_argument"):
        return f"{place} is missing."
    wanted = _WANTED.get(mistake["type"].split("_")[0], "something else")
    if mistake["type"] in ("enum", "literal_error"):
        wanted = str(mistake["ctx"]["expected"])
    given = repr(mistake["input"])
    return f"{place} is to be {wanted}, not {given if len(given) <= LONGEST_WORD else given[:LONGEST_WORD] + '...'}."


def _check_section(path: Path, name: str, value: Any, known: tuple[str, ...]) -> None:
    if name not in known:
        raise BadSettings(f"{path}: unknown section {name!r}{_suggestion(name, known)}")
    wanted = list if name in LISTS else dict
    items = value if isinstance(value, list) else []
    if not isinstance(value, wanted) or not all(isinstance(item, dict) for item in items):
        brackets = f"[[{name}]]" if name in LISTS else f"[{name}]"
        raise BadSettings(f"{path}: {name} is to be written as a section {brackets}.")


def _check_keys(kind: type[Any], table: Mapping[str, Any], where: str) -> None:
    """Raises BadSettings for a key that the dataclass, or a dataclass within it, does not have."""
    names = [f.name for f in dataclasses.fields(kind)]
    for key, value in table.items():
        if key not in names:
            raise BadSettings(f"{where}: unknown key {key!r}{_suggestion(key, names)}")
        field_type = _field_type(kind, key)
        inner = next((t for t in (field_type, *typing.get_args(field_type)) if dataclasses.is_dataclass(t)), None)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(inner, type) and isinstance(each, Mapping):
                _check_keys(inner, each, f"{where} {key}")


def _suggestion(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})."


def _field_type(kind: type[Any], name: str) -> type[Any]:
    return typing.get_type_hints(kind)[name]  # type: ignore[no-any-return]

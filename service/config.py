"""One TOML file > Settings. A section is a frozen dataclass owned by the module that it steers; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from analysis.errors import BadSettings
from analysis.presets import filled
from service.bounds import check_ae_title

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

TABLES = (
    "node",
    "receiver",
    "intake",
    "tracers",
    "pairing",
    "objects",
    "delivery",
    "retrieval",
    "cohort",
    "backup",
    "retention",
)
ANALYSIS_TABLES = ("registration", "segmentation", "models", "totalsegmentator", "measurement", "quality")
PRESET_SECTIONS = ("segmentation", "measurement")
LISTS = ("destination", "sender", "archive")
PLANNED = ("web",)  # sections of the plan that nothing heeds yet: said, and left alone


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """[node]. data: inbox, cases, journal and logs lie below; journal, scheduler: empty for SQLite and a local Dask cluster."""

    ae_title: str = "DUET"
    data: Path = Path("duet-data")
    journal: str = ""
    scheduler: str = ""

    def __post_init__(self) -> None:
        check_ae_title("ae_title", self.ae_title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings file, section by section. source: its name, for messages; unheeded: sections without effect so far."""

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lists: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    source: str = "the defaults"
    unheeded: tuple[str, ...] = ()

    @property
    def node(self) -> NodeSettings:
        return self.section("node", NodeSettings)

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
        """Every [[name]] of the file. Raises BadSettings."""
        return tuple(build(kind, table, where=f"{self.source}: [[{name}]]") for table in self.lists.get(name, ()))

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
        return TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        raise BadSettings(f"{where}: {_sentence(error.errors()[0])}") from None


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
    return f"{place} is to be {wanted}, not {mistake['input']!r}."


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

"""The table of what headers write for isotopes and tracers: tracers.toml as frozen values, read and checked once."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from analysis.values import Tracer

# A code, and where it was seen; a text, and where it was seen.
_CODE_KEYS, _TEXT_KEYS = {"value", "source"}, {"pattern", "where", "source"}
_PLACES = {"any", "compound"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What shows one isotope or compound. anywhere, compound: patterns for all elements, and for those beside the activity."""

    name: str
    codes: frozenset[str] = frozenset()
    anywhere: tuple[re.Pattern[str], ...] = ()
    compound: tuple[re.Pattern[str], ...] = ()

    def said(self, words: str, *, beside: bool) -> bool:
        """Whether a text names it; beside: the text stands beside the activity."""
        plainly = plain(words)
        return any(p.search(plainly) for p in (*self.anywhere, *(self.compound if beside else ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """isotopes: by name, in the order of the file, with the half-lives in s that scanners write; others: what is neither."""

    isotopes: Mapping[str, Named]
    half_lives: Mapping[str, tuple[float, float]]
    other_isotopes: tuple[Named, ...]
    tracers: Mapping[Tracer, Named]
    isotope_of: Mapping[Tracer, str]
    others: tuple[Named, ...]

    def isotope_by_code(self, value: str) -> Named | None:
        """The isotope that a code value names, also one that is neither of ours; None where it is unknown."""
        return next((each for each in (*self.isotopes.values(), *self.other_isotopes) if value in each.codes), None)

    def tracer_with(self, isotope: str) -> Tracer:
        """The one of our tracers that bears this isotope."""
        return next(tracer for tracer, its in self.isotope_of.items() if its == isotope)


@cache
def table() -> Table:
    """The table of the installation."""
    return read_table(files("dicom_io").joinpath("tracers.toml").read_text(encoding="utf-8"))


def read_table(words: str) -> Table:
    """A table from TOML. Raises ValueError, which names the entry: a fault of the program, not of the data."""
    document = tomllib.loads(words)
    _require_keys("the file", document, {"isotope", "other_isotope", "tracer", "other"})
    isotopes = [_entry(e, "isotope", {"half_life_s"}) for e in document["isotope"]]
    tracers = [_entry(e, "tracer", {"isotope"}) for e in document["tracer"]]
    names = {each.name for each in isotopes}
    isotope_of = {Tracer(e["name"]): str(e["isotope"]) for e in document["tracer"]}
    if set(isotope_of) != set(Tracer) or set(isotope_of.values()) != names:
        raise ValueError("tracers.toml: each tracer needs an entry with an isotope of its own from the file")
    found = Table(
        isotopes={each.name: each for each in isotopes},
        half_lives={str(e["name"]): _half_life(e) for e in document["isotope"]},
        other_isotopes=tuple(_entry(e, "other_isotope", set()) for e in document["other_isotope"]),
        tracers={Tracer(each.name): each for each in tracers},
        isotope_of=isotope_of,
        others=tuple(_entry(e, "other", set()) for e in document["other"]),
    )
    _require_distinct(isotopes + list(found.other_isotopes))
    _require_distinct(tracers + list(found.others))
    return found


def plain(words: str) -> str:
    """A text without accents, case, raised figures and underscores, so that spellings differ in letters alone."""
    return re.sub(r"[\s_]+", " ", _bare(words).casefold())


def _bare(words: str) -> str:
    letters = unicodedata.normalize("NFKD", words)
    return unicodedata.normalize("NFC", "".join(letter for letter in letters if not unicodedata.combining(letter)))


def _entry(entry: Any, kind: str, more: set[str]) -> Named:
    place = f"{kind} {entry.get('name', '?')!r}" if isinstance(entry, dict) else kind
    _require_keys(place, entry, {"name", "codes", "texts", *more}, needed={"name", *more})
    codes, texts = entry.get("codes", []), entry.get("texts", [])
    for each, keys in (*((c, _CODE_KEYS) for c in codes), *((t, _TEXT_KEYS) for t in texts)):
        _require_keys(place, each, keys, needed=keys - {"where"})
        if not all(isinstance(word, str) and word.strip() for word in each.values()):
            raise ValueError(f"tracers.toml: {place}: every key of {each} is a text")
        if each.get("where", "any") not in _PLACES:
            raise ValueError(f"tracers.toml: {place}: where is one of {sorted(_PLACES)}, not {each['where']!r}")
    return Named(
        name=str(entry["name"]),
        codes=frozenset(str(code["value"]) for code in codes),
        anywhere=tuple(_pattern(t, place) for t in texts if t.get("where", "any") == "any"),
        compound=tuple(_pattern(t, place) for t in texts if t.get("where", "any") == "compound"),
    )


def _pattern(entry: Mapping[str, str], place: str) -> re.Pattern[str]:
    try:
        found = re.compile(_bare(entry["pattern"]), re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"tracers.toml: {place}: {entry['pattern']!r} is no regular expression ({error})") from None
    if found.search(""):
        raise ValueError(f"tracers.toml: {place}: {entry['pattern']!r} fits everything")
    return found


def _half_life(entry: Mapping[str, Any]) -> tuple[float, float]:
    bounds = entry["half_life_s"]
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, int | float) for b in bounds)):
        raise ValueError(f"tracers.toml: isotope {entry['name']!r}: half_life_s is a list of two numbers")
    low, high = (float(b) for b in bounds)
    if not 0 < low < high:
        raise ValueError(f"tracers.toml: isotope {entry['name']!r}: half_life_s is to rise from above 0")
    return low, high


def _require_keys(place: str, entry: Any, keys: set[str], needed: set[str] | None = None) -> None:
    wanted = keys if needed is None else needed
    if not isinstance(entry, dict) or not wanted <= set(entry) <= keys:
        raise ValueError(f"tracers.toml: {place} is to have the keys {', '.join(sorted(keys))}")


def _require_distinct(entries: Iterable[Named]) -> None:
    """Raises ValueError where one code stands for two things."""
    seen: dict[str, str] = {}
    for each in entries:
        for code in each.codes:
            if seen.setdefault(code, each.name) != each.name:
                raise ValueError(f"tracers.toml: code {code} stands for {seen[code]} and {each.name}")

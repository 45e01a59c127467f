"""Published networks that can be fetched, as catalogue.toml beside this file names them, and how a sidecar is completed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from analysis.errors import ModelUnavailable
from analysis.segmenters.model_card import DATASET, PLANS, ModelCard, card_of_table
from analysis.segmenters.model_files import file_sums

SHIPPED = Path(__file__).with_name("shipped")  # models that come with duet: digital patients only


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One published model. record: its number at Zenodo; file: the archive in it; unconfirmed: what was not checked.

    card: what of its sidecar is known; the rest is taken from the model's own files.
    """

    name: str
    title: str
    record: str
    file: str
    unconfirmed: tuple[str, ...]
    card: Mapping[str, Any]


@cache
def catalogue() -> tuple[Entry, ...]:
    """Every entry, in the file's order."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(Entry(**{**each, "unconfirmed": tuple(each["unconfirmed"])}) for each in table["model"])


def entry(name: str) -> Entry:
    """The entry of that name. Raises ModelUnavailable."""
    known = {each.name: each for each in catalogue()}
    if name not in known:
        raise ModelUnavailable(f"{name} is not in the catalogue; it has {', '.join(known)}.")
    return known[name]


def completed(table: Mapping[str, Any], name: str, folder: Path) -> ModelCard:
    """A sidecar from what is given and what the model's own files say. Raises ModelUnavailable.

    Given wins: only spacing_mm and folds that are left out are taken from plans.json and the folder, and every SHA-256 is
    taken anew. What a channel is can be read from no file of nnU-Net's, so that is never guessed.
    """
    given = {key: value for key, value in table.items() if key != "files"} | {"name": name}
    given.setdefault("folds", found_folds(folder))
    if "spacing_mm" not in given:
        given["spacing_mm"] = spacing_of(folder, str(given.get("configuration", "3d_fullres")), name)
    card = card_of_table(given, name)
    return card_of_table(given | {"files": file_sums(folder, card)}, name)


def found_folds(folder: Path) -> list[str]:
    """The folds that lie in a model's folder, in order."""
    names = (path.name.removeprefix("fold_") for path in folder.glob("fold_*") if path.is_dir())
    return sorted(name for name in names if name.isdecimal() or name == "all")


def spacing_of(folder: Path, configuration: str, name: str) -> list[float]:
    """(k, j, i) in mm that a configuration of plans.json resamples to. Raises ModelUnavailable."""
    try:
        plans = json.loads((folder / PLANS).read_text(encoding="utf-8"))
        json.loads((folder / DATASET).read_text(encoding="utf-8"))
        place = plans["configurations"][configuration]
        while "spacing" not in place:
            place = plans["configurations"][place["inherits_from"]]
        turned = dict(zip(plans["transpose_forward"], place["spacing"], strict=True))
        return [float(turned[axis]) for axis in range(3)]
    except OSError as error:
        raise ModelUnavailable(f"Model {name}: {Path(str(error.filename)).name} cannot be read: {error.strerror}.") from None
    except (KeyError, TypeError, ValueError):
        raise ModelUnavailable(f"Model {name}: its {PLANS} has no 3D configuration {configuration!r}.") from None

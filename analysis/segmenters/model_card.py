"""What a trained network says of itself: the sidecar `duet-model.toml` in its folder, as a value. Imports nothing heavy.

Channel names in nnU-Net's plans cannot be relied on (a published model calls both of its channels "CT"), so the sidecar
alone decides what each channel is. Whatever it says that cannot be so is refused in one sentence.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, TypeVar

from analysis.errors import ModelUnavailable
from analysis.values import Tracer

T = TypeVar("T")

SIDECAR: Final = "duet-model.toml"
PLANS, DATASET = "plans.json", "dataset.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
AXES: Final = ({"L", "R"}, {"P", "A"}, {"S", "I"})


class ChannelKind(StrEnum):
    """What a channel shows; the unit is HU for CT and SUVbw in g/ml for SUV."""

    CT = "CT"
    SUV = "SUV"

    @property
    def unit(self) -> str:
        return "HU" if self is ChannelKind.CT else "g/ml"


class TargetGrid(StrEnum):
    """On whose voxels the network saw both images: the other one is resampled onto them."""

    PET = "pet"
    CT = "ct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One input of a network: scale x clip(value) + offset, the value in the kind's unit.

    tracer: whose SUV; None where any of the model's tracers will do. outside: the value where the image does not reach.
    """

    kind: ChannelKind
    unit: str
    tracer: Tracer | None = None
    scale: float = 1.0
    offset: float = 0.0
    clip: tuple[float, float] | None = None
    outside: float = 0.0

    def __post_init__(self) -> None:
        if self.unit != self.kind.unit:
            raise ValueError(f"a {self.kind} channel is in {self.kind.unit}, not in {self.unit!r}")
        if self.scale == 0.0:
            raise ValueError("scale 0 would take a channel away")
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError("clip is to be [low, high]")
        if self.kind is ChannelKind.CT and self.tracer is not None:
            raise ValueError("a CT channel has no tracer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A network's sidecar.

    tracers: for which it was trained. channels: in the order that the network takes them. grid: whose voxels it works on.
    orientation: to where its arrays' i, j and k run ("LPS": left, back, head). spacing_mm: (k, j, i) that it resamples to,
    as in its plans. lesion_labels: which of its labels are lesions. folds: of the ensemble ("0", "1", ... or "all").
    drop_keys: regular expressions of weights that belong to heads used in training only. full_pickle: the checkpoint holds
    more than tensors and plain values, and the operator lets it run code. body_crop: the network is only shown the body.
    files: SHA-256 of each file by its path within the folder. training: what it has, and has not, learnt from.
    """

    name: str
    version: str
    manufacturer: str
    tracers: tuple[Tracer, ...]
    channels: tuple[Channel, ...]
    grid: TargetGrid
    spacing_mm: tuple[float, float, float]
    lesion_labels: tuple[str, ...]
    folds: tuple[str, ...]
    licence: str
    citation: str
    training: str
    task: str = "lesions"
    configuration: str = "3d_fullres"
    trainer: str = "nnUNetTrainer"
    checkpoint: str = "checkpoint_final.pth"
    orientation: str = "LPS"
    body_crop: bool = True
    drop_keys: tuple[str, ...] = ()
    full_pickle: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        for fault in faults(self):
            raise ValueError(fault)

    def needed(self, folds: tuple[str, ...]) -> tuple[str, ...]:
        """The files that a run with these folds reads, plans and data set first."""
        return PLANS, DATASET, *(f"fold_{fold}/{self.checkpoint}" for fold in folds)


def faults(card: ModelCard) -> list[str]:
    """What cannot be so in a card, each a part of a sentence."""
    checks = {
        "name is to be letters, digits, dots, dashes and underscores": NAME.fullmatch(card.name),
        "version is empty": card.version,
        "licence is empty; write what the weights' licence is, or that it is unknown": card.licence,
        'task is to be "lesions"': card.task == "lesions",
        "tracers is empty": card.tracers,
        "no [[channel]] is given": card.channels,
        "no channel shows SUV": any(c.kind is ChannelKind.SUV for c in card.channels),
        "spacing_mm is to be three positive numbers (k, j, i)": min(card.spacing_mm) > 0,
        "lesion_labels is empty": card.lesion_labels,
        "folds is empty": card.folds,
        'folds are to be whole numbers or "all"': all(f.isdecimal() or f == "all" for f in card.folds),
        'orientation is to name three ways, as "LPS"': _is_orientation(card.orientation),
        "checkpoint is to be a file's name": NAME.fullmatch(card.checkpoint),
        "a path in [files] leaves the folder": all(_inside(path) for path in card.files),
        "a SHA-256 in [files] is to have 64 hexadecimal digits": all(_is_sha256(each) for each in card.files.values()),
        "drop_keys are to be regular expressions": all(_compiles(each) for each in card.drop_keys),
    }
    return [words for words, holds in checks.items() if not holds]


def read_card(data: bytes, where: str) -> ModelCard:
    """The card in a sidecar's bytes; where: the model's name for messages. Raises ModelUnavailable."""
    return card_of_table(read_table(data, where), where)


def read_table(data: bytes, where: str) -> dict[str, Any]:
    """What a sidecar says, complete or not. Raises ModelUnavailable where it is no TOML."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise _wrong(where, error) from None


def card_of_table(table: Mapping[str, Any], where: str) -> ModelCard:
    """The card of a TOML table. Raises ModelUnavailable."""
    try:
        rest = {key: value for key, value in table.items() if key != "channel"}
        channels = tuple(_build(Channel, each, CHANNEL_KEYS) for each in _tables(table.get("channel", [])))
        return _build(ModelCard, {**rest, "channels": channels}, CARD_KEYS)
    except (ValueError, TypeError) as error:
        raise _wrong(where, error) from None


def _wrong(where: str, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"Model {where}: its {SIDECAR} is wrong: {str(error).rstrip('.')}.")


def write_card(card: ModelCard) -> str:
    """The card as a sidecar's text; reads back as the same card."""
    lines = [f"{key} = {_toml(getattr(card, key))}" for key in CARD_KEYS if key not in ("channels", "files")]
    for channel in card.channels:
        values = {f.name: getattr(channel, f.name) for f in dataclasses.fields(channel)}
        lines += ["", "[[channel]]", *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)]
    lines += ["", "[files]", *(f"{_toml(path)} = {_toml(sha256)}" for path, sha256 in sorted(card.files.items()))]
    return "\n".join(lines) + "\n"


def _build(kind: type[T], table: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]]) -> T:
    """The dataclass from a TOML table. Raises ValueError or TypeError with words for a person."""
    for key in table:
        if key not in readers:
            raise ValueError(f"unknown key {key!r}")
    needed = [f.name for f in dataclasses.fields(kind) if _required(f)]  # type: ignore[arg-type]
    for key in needed:
        if key not in table:
            raise ValueError(f"{key} is missing")
    values = {}
    for key, value in table.items():
        try:
            values[key] = readers[key](value)
        except (TypeError, ValueError, KeyError):
            raise ValueError(f"{key} cannot be {value!r}") from None
    return kind(**values)


def _required(each: dataclasses.Field[Any]) -> bool:
    return each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("channels are to be written as [[channel]]")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _fold(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _many(reader: Callable[[Any], Any], count: int | None = None) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            raise TypeError
        return tuple(reader(each) for each in value)

    return read


def _table(value: Any) -> dict[str, str]:
    return {path: _text(each).lower() for path, each in dict(value).items()}


CHANNEL_KEYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "kind": ChannelKind,
    "unit": _text,
    "tracer": Tracer,
    "scale": _number,
    "offset": _number,
    "clip": _many(_number, 2),
    "outside": _number,
}
CARD_KEYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _text,
    "version": _text,
    "manufacturer": _text,
    "task": _text,
    "tracers": _many(Tracer),
    "grid": TargetGrid,
    "orientation": _text,
    "spacing_mm": _many(_number, 3),
    "lesion_labels": _many(_text),
    "folds": _many(_fold),
    "configuration": _text,
    "trainer": _text,
    "checkpoint": _text,
    "drop_keys": _many(_text),
    "full_pickle": _truth,
    "body_crop": _truth,
    "licence": _text,
    "citation": _text,
    "training": _text,
    "channels": tuple,
    "files": _table,
}


def _is_orientation(word: str) -> bool:
    left = list(AXES)
    for letter in word:
        axis = next((each for each in left if letter in each), None)
        if axis is None:
            return False
        left.remove(axis)
    return not left


def _inside(path: str) -> bool:
    """Whether a relative path with forward slashes stays in its folder."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def _is_sha256(word: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", word) is not None


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is also one of TOML

"""A model's folder on disk: which files it has, whether they are those of the sidecar, and whether they may be loaded.

Checkpoints are pickles and can run code, so nothing is opened before its SHA-256 stands in the sidecar and on the
operator's list. What is loaded are the very bytes that were hashed: a file that is exchanged in between changes nothing.
Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import ModelUnavailable
from analysis.segmenters.model_card import NAME, SIDECAR, ModelCard, read_card
from analysis.segmenters.model_settings import ModelSettings

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A folder with a readable sidecar. sha256: of the sidecar, which itself names the SHA-256 of every other file."""

    path: Path
    card: ModelCard
    sha256: str

    def folds(self, wanted: Iterable[int] = ()) -> tuple[str, ...]:
        """The folds to run: those asked for, else the card's. Raises ModelUnavailable for one that the card does not name."""
        chosen = tuple(str(fold) for fold in wanted) or self.card.folds
        if missing := [fold for fold in chosen if fold not in self.card.folds]:
            raise ModelUnavailable(
                f"Model {self.card.name} has no fold {missing[0]}; its folds are {', '.join(self.card.folds)} ([models] folds)."
            )
        return chosen

    def read(self, file: str, allow: Collection[str]) -> bytes:
        """The bytes of one file, checked against sidecar and list. Raises ModelUnavailable."""
        data = _bytes(self.path / file, self.card.name, file)
        self.check(file, hashlib.sha256(data).hexdigest(), allow)
        return data

    def check(self, file: str, sha256: str, allow: Collection[str]) -> None:
        """Raises ModelUnavailable where a file's SHA-256 is not the sidecar's, or not on the list."""
        stated = self.card.files.get(file)
        if stated is None:
            raise ModelUnavailable(f"Model {self.card.name}: its {SIDECAR} names no SHA-256 of {file}, so it is not loaded.")
        if sha256 != stated:
            raise ModelUnavailable(
                f"Model {self.card.name}: {file} is not the file that its {SIDECAR} names (SHA-256 {sha256[:12]}..., "
                f"expected {stated[:12]}...); fetch or add the model anew."
            )
        _allowed(self.card.name, file, sha256, allow)

    def check_listed(self, allow: Collection[str]) -> None:
        """Raises ModelUnavailable where the sidecar itself is not on the list."""
        _allowed(self.card.name, SIDECAR, self.sha256, allow)

    @property
    def to_allow(self) -> dict[str, str]:
        """What the operator's list has to hold for this model to be loaded: SHA-256 by file, as the sidecar states them."""
        return {SIDECAR: self.sha256, **{file: self.card.files[file] for file in self.card.needed(self.card.folds)}}


def open_folder(settings: ModelSettings, name: str) -> ModelFolder:
    """The folder of a model, its sidecar checked against the list. Raises ModelUnavailable."""
    folder = look_into(settings.folder, name)
    folder.check_listed(settings.allow)
    return folder


def look_into(models: Path, name: str) -> ModelFolder:
    """The folder of a model with what its sidecar says; nothing is checked against the list. Raises ModelUnavailable."""
    if not NAME.fullmatch(name):
        raise ModelUnavailable(f"{name!r} is no name of a model; a name is that of a folder below [models] folder.")
    path = models / name
    if not path.is_dir():
        raise ModelUnavailable(f"Model {name} is not there: no folder {path}; see: duet models list.")
    data = _bytes(path / SIDECAR, name, SIDECAR)
    card = read_card(data, name)
    if card.name != name:
        raise ModelUnavailable(f"The model in folder {name} calls itself {card.name}; give the folder that name.")
    return ModelFolder(path=path, card=card, sha256=hashlib.sha256(data).hexdigest())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def file_sums(folder: Path, card: ModelCard) -> dict[str, str]:
    """SHA-256 of every file that the card's folds need, by path. Raises ModelUnavailable for one that is missing."""
    sums = {}
    for file in card.needed(card.folds):
        try:
            sums[file] = sha256_of(folder / file)
        except OSError as error:
            raise ModelUnavailable(f"Model {card.name}: {file} cannot be read: {error.strerror}.") from None
    return sums


def _bytes(path: Path, name: str, file: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelUnavailable(f"Model {name} has no {file}; add its folder with: duet models add FOLDER.") from None
    except OSError as error:
        raise ModelUnavailable(f"Model {name}: {file} cannot be read: {error.strerror}.") from None


def _allowed(name: str, file: str, sha256: str, allow: Collection[str]) -> None:
    if sha256 not in allow:
        raise ModelUnavailable(
            f"Model {name} is not allowed to be loaded: the SHA-256 of {file} ({sha256}) is not in [models] allow of duet.toml."
        )

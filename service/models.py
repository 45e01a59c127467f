"""Trained networks on this machine: which there are, whether they may be loaded, and how new ones come.

Nothing here puts a SHA-256 on the operator's list: adding a model ends with the lines that a person has to put there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import ModelUnavailable
from analysis.segmenters.catalogue import SHIPPED, Entry, catalogue, completed, entry
from analysis.segmenters.model_card import NAME, SIDECAR, ModelCard, read_table, write_card
from analysis.segmenters.model_files import ModelFolder, look_into, sha256_of
from analysis.segmenters.model_settings import ModelSettings
from service.config import Settings
from service.download import PATIENT, ZENODO, Patience, Told, download, remote_file
from service.unpack import unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A folder of [models] folder. fault: why it cannot be loaded, in a sentence; empty where it can."""

    name: str
    card: ModelCard | None
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where published models come from, and how patiently; another one in tests."""

    api: str = ZENODO
    patience: Patience = PATIENT


ZENODO_SOURCE = Source()


def models_of(settings: Settings) -> ModelSettings:
    """[models], its folder below the node's data where none is named. Raises BadSettings."""
    return settings.section("models", ModelSettings)


def installed(models: ModelSettings, *, thorough: bool = False) -> tuple[Installed, ...]:
    """Every model of the folder. thorough: each file is hashed; else only what the sidecars say is held against the list."""
    if not models.folder.is_dir():
        return ()
    names = sorted(path.name for path in models.folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))
    return tuple(_state(models, name, thorough) for name in names if (models.folder / name / SIDECAR).is_file())


def _state(models: ModelSettings, name: str, thorough: bool) -> Installed:
    card = None
    try:
        folder = look_into(models.folder, name)
        card = folder.card
        check_files(folder, models, thorough=thorough)
    except ModelUnavailable as error:
        return Installed(name=name, card=card, fault=str(error))
    return Installed(name=name, card=card, fault="")


def check_files(folder: ModelFolder, models: ModelSettings, *, thorough: bool) -> None:
    """Raises ModelUnavailable where a file that a run needs is missing, not the sidecar's, or not on the list."""
    folder.check_listed(models.allow)
    for file in folder.card.needed(folder.folds(models.folds)):
        path = folder.path / file
        if not path.is_file():
            raise ModelUnavailable(f"Model {folder.card.name}: {file} is missing.")
        stated = folder.card.files.get(file, "")
        folder.check(file, sha256_of(path) if thorough else stated, models.allow)


def verify(models: ModelSettings, name: str) -> str:
    """Hash every file, load the network as a case would, run it on one small tile; a sentence. Raises ModelUnavailable."""
    from analysis.segmenters.nnunet import try_network  # loads torch

    folder = look_into(models.folder, name)
    check_files(folder, models, thorough=True)
    return f"{name}: {len(folder.to_allow)} files are those of its sidecar and on the list; {try_network(models, name)}."


def add(models: ModelSettings, source: Path, *, like: str | None = None) -> ModelFolder:
    """Copy a trained model's folder into [models] folder with a complete sidecar. Raises ModelUnavailable.

    source: as nnU-Net leaves it, with a sidecar that may leave out spacing_mm, folds and files; or like: an entry of the
    catalogue that says what the sidecar would.
    """
    if not source.is_dir():
        raise ModelUnavailable(f"{source} is no folder.")
    table, name = _given(source, like)
    with _new_folder(models.folder, name) as draft:
        card = completed(table, name, source)
        for file in card.needed(card.folds):
            (draft / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, draft / file)
        _seal(draft, completed(table, name, draft))
    return look_into(models.folder, name)


def _given(source: Path, like: str | None) -> tuple[Mapping[str, Any], str]:
    """What is known of a folder's model beside nnU-Net's own files, and its name."""
    if like is not None:
        return entry(like).card, like
    try:
        data = (source / SIDECAR).read_bytes()
    except OSError:
        raise ModelUnavailable(
            f"{source} has no {SIDECAR}, so it is not known what its channels are; write one (docs/METHOD.md, Networks), "
            f"or say --like {' or '.join(each.name for each in catalogue())} where it is that model."
        ) from None
    table = read_table(data, source.name)
    return table, str(table.get("name", source.name))


@contextmanager
def _new_folder(models: Path, name: str) -> Iterator[Path]:
    """A draft that becomes models/name when all went well. Raises ModelUnavailable where that exists."""
    if not NAME.fullmatch(name):
        raise ModelUnavailable(f"{name!r} is no name of a model: letters, digits, dots, dashes and underscores.")
    if (models / name).exists():
        raise ModelUnavailable(
            f"Model {name} is there already: {models / name}; delete that folder first, or give another name."
        )
    models.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".adding-", dir=models))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(models / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _seal(folder: Path, card: ModelCard) -> None:
    (folder / SIDECAR).write_text(write_card(card), encoding="utf-8")


def fetch(models: ModelSettings, name: str, tell: Told, source: Source = ZENODO_SOURCE) -> ModelFolder:
    """Download a model of the catalogue, check it, unpack it and complete its sidecar. Raises ModelUnavailable.

    What has arrived of the archive stays in [models] folder, `.fetched`, until all of it is there.
    """
    wanted: Entry = entry(name)
    if (models.folder / name).exists():
        raise ModelUnavailable(f"Model {name} is there already: {models.folder / name}; delete that folder first.")
    tell(f"Asking record {wanted.record} for {wanted.file}", 0.0)
    archive = models.folder / ".fetched" / wanted.file
    if not archive.is_file():
        remote = remote_file(wanted.record, wanted.file, api=source.api, patience=source.patience)
        download(remote, archive, tell, patience=source.patience)
    tell("Unpacking", 1.0)
    with _new_folder(models.folder, name) as draft:
        configuration = str(wanted.card["configuration"])
        unpack(archive, draft / "new", configuration=configuration, checkpoint="checkpoint_final.pth")
        for path in (draft / "new").iterdir():
            path.rename(draft / path.name)
        (draft / "new").rmdir()
        _seal(draft, completed(wanted.card, name, draft))
    archive.unlink()
    return look_into(models.folder, name)


def lines_to_allow(folder: ModelFolder) -> str:
    """The lines of duet.toml that let the model be loaded."""
    sums = "".join(f'    "{sha256}",  # {folder.card.name}/{file}\n' for file, sha256 in folder.to_allow.items())
    return f"[models]\nallow = [\n{sums}]"


def overview(models: ModelSettings) -> Iterator[str]:
    """What is installed, what comes with duet, and what could be fetched, a line each."""
    here = installed(models, thorough=True)
    yield f"Installed in {models.folder}:" if here else f"None is installed in {models.folder}."
    yield from (line for each in here for line in _told(each))
    yield "With duet, for tests and demonstration:"
    shipped = installed(ModelSettings(folder=SHIPPED))
    yield from (f"  {_titled(each.card)}; add it with: duet models add {SHIPPED / each.name}" for each in shipped if each.card)
    yield "To be fetched with `duet models fetch NAME`, each under its own licence:"
    for published in catalogue():
        card = published.card
        yield f"  {published.name}: {published.title}; for {' and '.join(card['tracers'])}; licence {card['licence']}"
        yield f"    {card['training']}"
        if published.unconfirmed:
            yield f"    unconfirmed: {', '.join(published.unconfirmed)}"


def _told(each: Installed) -> Iterator[str]:
    yield f"  {_titled(each.card) if each.card is not None else each.name}"
    yield f"    {each.fault or 'verified, and on the list'}"
    if each.card is not None:
        yield f"    {each.card.training}"


def _titled(card: ModelCard) -> str:
    return f"{card.name} {card.version} ({card.manufacturer}); for {' and '.join(card.tracers)}; licence {card.licence}"

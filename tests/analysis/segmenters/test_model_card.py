"""The sidecar: what it says is read back as it was, and what cannot be so is refused in one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nets import Net, card_of, channel

from analysis.errors import ModelUnavailable
from analysis.segmenters.catalogue import catalogue
from analysis.segmenters.model_card import Channel, ChannelKind, ModelCard, card_of_table, read_card, write_card
from analysis.values import Tracer

CARD = replace(
    card_of(Net()),
    channels=(
        Channel(kind=ChannelKind.CT, unit="HU", clip=(-1000.0, 1000.0), scale=0.001, offset=1.0, outside=-1024.0),
        Channel(kind=ChannelKind.SUV, unit="g/ml", tracer=Tracer.FDG),
    ),
    folds=("0", "3", "all"),
    orientation="LAS",
    drop_keys=(r"decoder\.organ_seg_layers\..*",),
    citation='Müller "and" others,\nline two, a \\ and a tab\t.',
    files={"plans.json": "a" * 64, "fold_0/checkpoint_final.pth": "b" * 64},
)


def test_a_card_is_read_back_as_it_was_written() -> None:
    assert read_card(write_card(CARD).encode(), "m") == CARD


def test_folds_may_be_written_as_numbers() -> None:
    text = write_card(CARD).replace('folds = ["0", "3", "all"]', 'folds = [0, 3, "all"]')
    assert read_card(text.encode(), "m") == CARD


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version = "1"', 'version = "1"\nsize = 3', "unknown key 'size'"),
        ('licence = "MIT"', 'licence = ""', "licence is empty"),
        ('licence = "MIT"', "", "licence is missing"),
        ('unit = "HU"', 'unit = "Bq/ml"', "a CT channel is in HU, not in 'Bq/ml'"),
        ('kind = "SUV"', 'kind = "MR"', "kind cannot be 'MR'"),
        ("clip = [-1000.0, 1000.0]", "clip = [3, 3]", r"clip is to be \[low, high\]"),
        ("clip = [-1000.0, 1000.0]", "clip = [3]", r"clip cannot be \[3\]"),
        ("clip = [-1000.0, 1000.0]", "gain = 3", "unknown key 'gain'"),
        ("scale = 0.001", "scale = 0", "scale 0 would take a channel away"),
        ("scale = 0.001", "scale = nan", "scale cannot be nan"),
        ("spacing_mm = [4.0, 4.0, 4.0]", "spacing_mm = [4.0, 4.0]", "spacing_mm cannot be"),
        ("spacing_mm = [4.0, 4.0, 4.0]", "spacing_mm = [4.0, 4.0, -1]", "spacing_mm is to be three positive numbers"),
        ('grid = "pet"', 'grid = "mr"', "grid cannot be 'mr'"),
        ('orientation = "LAS"', 'orientation = "LAR"', "orientation is to name three ways"),
        ('tracers = ["FDG", "PentixaFor"]', 'tracers = ["PSMA"]', "tracers cannot be"),
        ('tracers = ["FDG", "PentixaFor"]', "tracers = []", "tracers is empty"),
        ('task = "lesions"', 'task = "organs"', 'task is to be "lesions"'),
        ('"0", "3", "all"', '"0", "../1"', "folds are to be whole numbers"),
        ("body_crop = true", 'body_crop = "yes"', "body_crop cannot be 'yes'"),
        ('"plans.json" =', '"../plans.json" =', "leaves the folder"),
        ("a" * 64, "a" * 63, "is to have 64 hexadecimal digits"),
        ('["decoder\\\\.organ_seg_layers\\\\..*"]', '["("]', "drop_keys are to be regular expressions"),
        ('name = "', 'name = "../', "name is to be letters"),
        ("version", "version =", "Invalid value"),
    ],
)
def test_what_cannot_be_so_is_refused_in_a_sentence(old: str, new: str, words: str) -> None:
    text = write_card(CARD)
    assert old in text
    with pytest.raises(ModelUnavailable, match=words) as told:
        read_card(text.replace(old, new, 1).encode(), "m")
    assert str(told.value).startswith("Model m: its duet-model.toml is wrong: ")
    assert "\n" not in str(told.value)


def test_a_network_without_suv_or_a_tracer_of_a_ct_is_none() -> None:
    with pytest.raises(ValueError, match="no channel shows SUV"):
        replace(CARD, channels=(channel(ChannelKind.CT),))
    with pytest.raises(ValueError, match="a CT channel has no tracer"):
        replace(channel(ChannelKind.CT), tracer=Tracer.FDG)


def test_the_files_of_a_run_are_those_of_its_folds() -> None:
    assert CARD.needed(("0", "all")) == (
        "plans.json",
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "fold_all/checkpoint_final.pth",
    )


@pytest.mark.parametrize("entry", catalogue(), ids=lambda each: each.name)
def test_every_entry_of_the_catalogue_makes_a_card(entry: Any) -> None:
    card: ModelCard = card_of_table({**entry.card, "name": entry.name, "spacing_mm": [3.0, 2.0, 2.0], "folds": [0]}, entry.name)
    assert [each.kind for each in card.channels] == [ChannelKind.CT, ChannelKind.SUV]
    assert "Not trained on myeloma or PentixaFor." in card.training
    assert "unconfirmed" not in card.licence

"""The small network that comes with duet, through the true loader, on digital patients that it has never seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nets import study

from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.segmenters.catalogue import SHIPPED
from analysis.segmenters.model_files import file_sums, look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.network_input import network_input
from analysis.segmenters.nnunet import load_network
from analysis.values import BoolArray, Grid, PetCt, Tracer, Volume

NAME = "duet-phantom-lesions"
FOLDER = look_into(SHIPPED, NAME)
SETTINGS = ModelSettings(folder=SHIPPED, allow=tuple(FOLDER.to_allow.values()), device="cpu")
SLICES = 44  # of 4.5 to 5 mm


def part_of(patient: DigitalPatient, tracer: Tracer) -> tuple[PetCt, BoolArray]:
    """The slices of a study that hold most lesions, so that a run takes seconds, and where lesions are in them."""
    whole, labels = patient.study(tracer), patient.lesions[tracer].labels > 0
    sums = np.convolve(labels.sum(axis=(1, 2)), np.ones(SLICES), mode="valid")
    first = int(np.argmax(sums))
    pet = whole.pet
    affine = pet.grid.affine.copy()
    affine[:3, 3] = pet.grid.to_world((first, 0, 0))
    grid = Grid(shape=(SLICES, *pet.grid.shape[1:]), affine=affine)
    values = pet.values[first : first + SLICES].copy()
    return replace(whole, pet=Volume(grid=grid, values=values, unit=pet.unit)), labels[first : first + SLICES]


@pytest.fixture(scope="module")
def unseen() -> DigitalPatient:
    """The training's seeds begin at 9001."""
    return make_patient(PhantomSettings(seed=8101, lesions=24))


@pytest.mark.parametrize("tracer", Tracer)
def test_it_finds_the_lesions_of_a_digital_patient_it_has_never_seen(unseen: DigitalPatient, tracer: Tracer) -> None:
    case, truth = part_of(unseen, tracer)
    found = load_network(SETTINGS, NAME, tracer).lesion_probability(case) > 0.5
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert truth.sum() > 100
    assert dice >= 0.8


@pytest.mark.parametrize("tracer", Tracer)
def test_the_answer_is_that_of_nnunets_own_prediction(unseen: DigitalPatient, tracer: Tracer) -> None:
    """nnU-Net's predict_single_npy_array on the same channels; FDG on the network's own voxels, PentixaFor resampled."""
    case, _ = part_of(unseen, tracer)
    small = network_input(case, FOLDER.card).channels[:, :40, 8:48, 20:60]
    grid = lying(small.shape[1:], case.pet.grid.spacing)
    cut = study(tracer, small[1], grid, small[0], grid)
    network = load_network(SETTINGS, NAME, tracer)
    ours, shown = network.lesion_probability(cut), network_input(cut, FOLDER.card)
    spacing = {"spacing": list(shown.spacing_mm)}
    _, theirs = network.resident.predictor.predict_single_npy_array(shown.channels, spacing, None, None, True)
    assert (theirs[1] > 0.5).sum() > 10
    assert np.abs(ours[shown.box] - theirs[1]).max() < 0.01  # half precision
    assert ((ours[shown.box] > 0.5) != (theirs[1] > 0.5)).mean() < 1e-4


def lying(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def test_its_folder_is_small_and_says_what_it_is() -> None:
    assert sum(path.stat().st_size for path in FOLDER.path.rglob("*") if path.is_file()) < 3_000_000
    assert dict(FOLDER.card.files) == file_sums(FOLDER.path, FOLDER.card)
    assert "digital phantoms only" in FOLDER.card.training
    assert "never seen a patient" in FOLDER.card.training

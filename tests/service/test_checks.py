"""What `duet check` says of networks and of the GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from archives import ScriptedArchive
from nets import swap_byte, write_net
from nodes import free_port

from analysis.segmenters.model_settings import ModelSettings
from service.checks import run_checks

NAME = "suv-above-4"


def lines(folder: Path, settings: ModelSettings | None = None, **models: str) -> dict[str, tuple[bool, str]]:
    """The lines by name: whether it is a fault, and the sentence."""
    allow = list(settings.allow) if settings is not None else []
    more = "".join(f'{key} = "{value}"\n' for key, value in models.items())
    config = folder / "duet.toml"
    config.write_text(f'[node]\ndata = "{folder}"\n[receiver]\nport = {free_port()}\n[models]\nallow = {allow}\n{more}')
    return {name: (fault, sentence) for name, fault, sentence in run_checks(config)}


def test_without_networks_nothing_is_missing(tmp_path: Path) -> None:
    told = lines(tmp_path)
    assert told["weights"] == (False, f"none in {tmp_path}/models; none are needed: lesions and organs are found by rules")
    assert told["GPU"][0] is False


def test_each_network_has_a_line_and_one_that_may_not_be_loaded_is_a_fault(tmp_path: Path) -> None:
    settings = write_net(tmp_path / "models")
    assert lines(tmp_path, settings)[f"weights {NAME}"][0] is False
    fault, sentence = lines(tmp_path)[f"weights {NAME}"]
    assert fault
    assert "is not in [models] allow of duet.toml" in sentence
    swap_byte(tmp_path / "models" / NAME / "plans.json")
    fault, sentence = lines(tmp_path, settings)[f"weights {NAME}"]
    assert fault
    assert "plans.json is not the file" in sentence


def test_a_gpu_that_is_asked_for_and_absent_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert lines(tmp_path, device="cuda")["GPU"] == (
        True,
        '[models] device is "cuda", and torch sees no GPU; "auto" takes what there is.',
    )
    assert lines(tmp_path, device="cpu")["GPU"] == (False, 'not used: [models] device is "cpu"')


def test_a_mistake_in_the_settings_of_networks_is_told(tmp_path: Path) -> None:
    assert lines(tmp_path, tile_step="wide")["settings"][0]


def test_a_network_that_the_settings_name_must_be_there(tmp_path: Path) -> None:
    named = f'"\n[segmentation]\nfdg_network = "{NAME}'  # closes the key before and goes on in the next section
    fault, sentence = lines(tmp_path, device="auto" + named)["FDG lesions"]
    assert (fault, "cases are held as not run: there is no folder" in sentence) == (True, True)
    settings = write_net(tmp_path / "models")
    told = lines(tmp_path, settings, device="auto" + named)
    assert told["FDG lesions"] == (False, f"found by {NAME} (network and rules)")
    assert told["PentixaFor lesions"] == (False, "found by rules")


def test_anatomy_is_found_by_rules_unless_totalsegmentator_is_demanded(tmp_path: Path) -> None:
    fault, sentence = lines(tmp_path)["anatomy"]
    assert (fault, sentence.startswith("found by rules: no TotalSegmentator in ")) == (False, True)
    demanded = 'auto"\n[segmentation]\nanatomy = "totalsegmentator'
    assert lines(tmp_path, device=demanded)["anatomy"][0]


def test_the_clinical_table_has_a_line_and_a_wrong_one_is_a_fault(tmp_path: Path) -> None:
    assert lines(tmp_path)["cohort"] == (False, "no clinical table is set, so the node makes no report of its cohort")
    table, config = tmp_path / "clinical.csv", tmp_path / "duet.toml"
    config.write_text(config.read_text() + f'[cohort]\nclinical = "{table}"\n')
    table.write_text("patient_id,therapy_date\nA,2024-01-01\n")
    found = {name: (fault, sentence) for name, fault, sentence in run_checks(config)}
    assert found["cohort"] == (False, f"1 treatment cycles in {table}")
    table.write_text("patient_id,therapy_date\nA,2024-01-32\n")
    found = {name: (fault, sentence) for name, fault, sentence in run_checks(config)}
    assert found["cohort"][0]
    assert "row 2, column therapy_date" in found["cohort"][1]


def test_each_archive_has_a_line(tmp_path: Path) -> None:
    with ScriptedArchive(datasets=[]).running() as archive:
        away = free_port()
        both = "".join(
            f'[[archive]]\nname = "{name}"\nurl = "dicom://PACS@127.0.0.1:{port}"\n'
            for name, port in (("here", archive.port), ("away", away))
        )
        told = lines(tmp_path, device='auto"\n' + both + 'move_to = "DUET')
    assert told["archive here"] == (False, f"offers C-FIND and C-MOVE at {archive.url}")
    assert told["archive away"] == (True, f"PACS at 127.0.0.1:{away} cannot be reached.")


def test_pages_and_alerts_have_a_line_and_a_secret_that_is_away_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "duet.toml"

    def said(text: str) -> dict[str, tuple[bool, str]]:
        config.write_text(f'[node]\ndata = "{tmp_path / "data"}"\n{text}')
        return {name: (fault, sentence) for name, fault, sentence in run_checks(config)}

    found = said("")
    assert found["pages"] == (False, "at http://127.0.0.1:8080/, for this machine alone")
    assert found["alerts"][0] is False
    monkeypatch.setenv("DUET_PASSWORD", "long enough it is")
    found = said('[web]\nhost = "10.1.0.5"\npassword_env = "DUET_PASSWORD"\n[alerts]\nwebhook = "https://host/x"')
    assert found["pages"] == (False, "at http://10.1.0.5:8080/, with a password; the password travels unencrypted")
    assert found["alerts"] == (False, "told by webhook")
    found = said('[web]\npassword_env = "DUET_NONE"\n[alerts]\nwebhook = "https://host/x"\nwebhook_secret_file = "none"')
    assert found["pages"] == (True, "[web] password_env: there is no environment variable DUET_NONE, or it is empty.")
    assert found["alerts"] == (True, "[alerts] webhook_secret_file: none cannot be read: No such file or directory.")

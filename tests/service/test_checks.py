"""What `duet check` says of networks and of the GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import ScriptedArchive
from certificates import Authority
from disks import fill, small_disk
from nets import swap_byte, write_net
from nodes import free_port, until
from workforce import workforce

from analysis.segmenters.model_settings import ModelSettings
from service.checks import run_checks
from service.receiver import Receiver, ReceiverSettings
from service.tls import TlsSettings

NAME = "suv-above-4"


def lines(folder: Path, settings: ModelSettings | None = None, **models: str) -> dict[str, tuple[bool, str]]:
    """The lines by name: whether it is a fault, and the sentence."""
    allow = list(settings.allow) if settings is not None else []
    more = "".join(f'{key} = "{value}"\n' for key, value in models.items())
    config = folder / "duet.toml"
    config.write_text(f'[node]\ndata = "{folder}"\n[receiver]\nport = {free_port()}\n[models]\nallow = {allow}\n{more}')
    return {name: (fault, sentence) for name, fault, sentence in run_checks(config)}


@pytest.mark.parametrize("full", [".", "cases", "logs"])
def test_a_full_disk_is_a_fault_also_where_the_floor_is_none(tmp_path: Path, full: str) -> None:
    config = tmp_path / "duet.toml"
    config.write_text(f'[node]\ndata = "{tmp_path / "data"}"\n[receiver]\nfree_gb = 0\n')
    with small_disk(tmp_path / "data" / full, 200) as disk:
        assert next(line for line in run_checks(config) if line[0] == "disk")[1] is False
        fill(disk)
        _, fault, sentence = next(line for line in run_checks(config) if line[0] == "disk")
        assert (fault, sentence) == (True, f"0 MB free in {disk}; what a node writes needs 100 MB at the least")


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


def test_the_scheduler_has_a_line_and_one_without_a_worker_that_can_is_a_fault(tmp_path: Path) -> None:
    config = tmp_path / "duet.toml"

    def told(scheduler: str) -> tuple[bool, str]:
        config.write_text(f'[node]\ndata = "{tmp_path}"\nscheduler = "{scheduler}"\n[receiver]\nport = {free_port()}\n')
        return next((fault, sentence) for name, fault, sentence in run_checks(config) if name == "scheduler")

    assert told("") == (False, "none is set; cases run in a process of this node")
    with workforce(tmp_path) as crew:
        assert told(crew.address) == (
            True,
            f"No scheduler answers at {crew.address}; cases wait for it. Start it with: duet scheduler.",
        )
        crew.scheduler()
        fault, sentence = told(crew.address)
        assert (fault, "so that cases wait: none is there" in sentence) == (True, True)
        crew.worker("--no-gpu").says("Works for")
        until(
            lambda: told(crew.address) == (False, f"answers at {crew.address}; 1 worker(s) there can take cases"),
            "it is seen",
            30,
        )


@pytest.mark.peer("openssl")
def test_the_certificate_has_a_line_and_its_door_is_asked(tmp_path: Path, program: Callable[[str], str], folder: Any) -> None:
    authority = Authority(tmp_path / "authority", program)
    assert lines(tmp_path)["TLS"] == (False, "not set up; what is sent and received can be read on the network")
    pair, port = authority.pair("DUET", days=90), free_port()

    def told(certificate: Path) -> tuple[bool, str]:
        words = f'certificate_file = "{certificate}"\nkey_file = "{pair.key}"\nca_file = "{authority.file}"\nport = {port}\n'
        return lines(tmp_path, device=f'auto"\n[tls]\n{words}host = "127.0.0.1')["TLS"]

    fault, sentence = told(pair.certificate)
    assert (fault, sentence.startswith(f"the certificate is good for 89 days; no node answers on port {port}")) == (False, True)
    own = TlsSettings(host="127.0.0.1", port=port, certificate_file=pair.certificate, key_file=pair.key, ca_file=authority.file)
    door = Receiver("DUET", ReceiverSettings(port=0), folder.inbox, folder.journal, tls=own)
    door.start()
    try:
        assert told(pair.certificate) == (False, f"the certificate is good for 89 days; the node answers C-ECHO on port {port}")
    finally:
        door.stop()
    other = authority.pair("OTHER", days=20)
    assert told(other.certificate) == (True, f"[tls] key_file: {pair.key} is not the key of {other.certificate}.")
    pair = other
    assert told(pair.certificate)[1].startswith("the certificate ends in 19 days: renew it")
    pair = authority.pair("OLD", days=-1)
    assert told(pair.certificate)[0]
    assert "ended on 20" in told(pair.certificate)[1]


def test_files_with_secrets_that_others_can_read_are_a_fault(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("hidden")
    named = f'"\n[[destination]]\nname = "a"\nurl = "http://127.0.0.1:{free_port()}/w"\nuser = "u"\npassword_file = "{word}'
    for mode, fault in ((0o644, True), (0o600, False)):
        word.chmod(mode)
        told = lines(tmp_path, device="auto" + named)
        assert told["secrets"][0] is fault
        assert "hidden" not in str(told)
    assert lines(tmp_path)["secrets"] == (False, "none in files")
    config = tmp_path / "duet.toml"
    config.write_text(f'[node]\ndata = "{tmp_path}"\njournal = "postgresql+psycopg://u:hidden@127.0.0.1:{free_port()}/d"\n')
    config.chmod(0o644)
    told = {name: (fault, sentence) for name, fault, sentence in run_checks(config)}
    assert "hidden" not in str(told)
    assert told["secrets"] == (True, f"every user of this machine can read {config}; take that away with chmod o-r")


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

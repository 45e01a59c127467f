"""Settings: one file, every key known, every mistake told in a sentence."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from analysis.errors import BadSettings
from analysis.patient.measures import MeasurementSettings
from analysis.patient.quality_settings import QualitySettings
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.values import Tracer
from dicom_io.derived import ObjectSettings
from dicom_io.pairing import PairingSettings
from dicom_io.tracers import TracerRules
from service.alert_posts import AlertSettings
from service.audit import AuditSettings
from service.cohort_inputs import CohortSection
from service.config import NodeSettings, build, load
from service.destinations import DeliverySettings, Destination, Sender
from service.journal import journal_url
from service.journal_upgrade import BackupSettings
from service.node_settings import analysis_of, archives_of, destinations_of, rules_of, senders_of
from service.priorities import EngineSettings
from service.readiness import IntakeSettings
from service.receiver import ReceiverSettings
from service.retention import RetentionSettings
from service.retrieval import Archive, RetrievalSettings
from service.tls import TlsSettings
from service.web_settings import WebSettings

SECTIONS: dict[str, type[Any]] = {
    "node": NodeSettings,
    "receiver": ReceiverSettings,
    "intake": IntakeSettings,
    "tracers": TracerRules,
    "pairing": PairingSettings,
    "engine": EngineSettings,
    "objects": ObjectSettings,
    "delivery": DeliverySettings,
    "retrieval": RetrievalSettings,
    "models": ModelSettings,
    "quality": QualitySettings,
    "segmentation": SegmentationSettings,
    "totalsegmentator": TotalSegmentatorSettings,
    "measurement": MeasurementSettings,
    "cohort": CohortSection,
    "tls": TlsSettings,
    "audit": AuditSettings,
    "web": WebSettings,
    "alerts": AlertSettings,
    "backup": BackupSettings,
    "retention": RetentionSettings,
}
OF_THE_NODE = {"tls"}  # what a destination, sender or archive gets from a section of the node
EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "duet.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "duet.toml"
    path.write_text(text)
    return path


def test_the_example_shows_every_key_with_its_default() -> None:
    shown = tomllib.loads(EXAMPLE.read_text())
    assert set(shown) == set(SECTIONS)
    for name, kind in SECTIONS.items():
        assert set(shown[name]) == {f.name for f in dataclasses.fields(kind)}, name
        usual = kind(folder=Path("duet-data/models")) if kind is ModelSettings else kind()
        assert load(EXAMPLE).section(name, kind) == usual, name


def test_the_example_shows_every_key_of_an_archive_with_its_default() -> None:
    _, _, text = EXAMPLE.read_text().partition("# [[archive]]\n")
    shown = tomllib.loads("\n".join(line.removeprefix("# ") for line in text.partition("\n\n")[0].splitlines()))
    assert set(shown) == {f.name for f in dataclasses.fields(Archive)} - OF_THE_NODE
    assert build(Archive, shown, where="here") == Archive(name=shown["name"], url=shown["url"])


def test_the_examples_of_lists_show_every_key(tmp_path: Path) -> None:
    """They stand as comments, since a node without them is the default."""
    begun, lines = False, []
    for line in EXAMPLE.read_text().splitlines():
        begun = line.startswith("# [[") or (begun and line.startswith("# "))
        lines += [line.removeprefix("# ")] if begun else []
    shown = tomllib.loads("\n".join(lines))
    kinds: dict[str, type[Any]] = {"destination": Destination, "sender": Sender}
    for name, kind in kinds.items():
        assert {key for each in shown[name] for key in each} == {f.name for f in dataclasses.fields(kind)} - {
            "password_env"
        } - OF_THE_NODE
    settings = load(written(tmp_path, "\n".join(lines)))
    assert [destination.web for destination in destinations_of(settings)] == [False, True]
    assert [sender.ae_title for sender in senders_of(settings)] == ["SCANNER"]


def test_without_a_file_the_defaults_hold() -> None:
    settings = load(None)
    assert settings.node == NodeSettings()
    assert destinations_of(settings) == ()
    assert analysis_of(settings).registration.step_mm == 4.0


def test_what_is_written_is_read(tmp_path: Path) -> None:
    text = """
    [receiver]
    port = 104
    allow = ["PACS@10.0.0.0/8"]
    [tracers]
    rules = [{ tracer = "PentixaFor", station = "PET2" }]
    [registration]
    step_mm = 6
    [[destination]]
    name = "a"
    url = "dicom://A@host:104"
    [[destination]]
    name = "b"
    url = "dicom://B@host:105"
    """
    settings = load(written(tmp_path, text))
    assert settings.section("receiver", ReceiverSettings).allow == ("PACS@10.0.0.0/8",)
    assert rules_of(settings).tracers.rules[0].tracer is Tracer.PENTIXAFOR
    assert analysis_of(settings).registration.step_mm == 6.0
    assert destinations_of(settings)[1] == Destination(name="b", url="dicom://B@host:105")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[reciever]\nport = 1", "did you mean 'receiver'"),
        ("[receiver]\nprot = 1", "did you mean 'port'"),
        ("[receiver]\nport = 'high'", "[receiver]: port is to be a whole number, not 'high'."),
        ("[receiver]\nport = 70000", "[receiver]: port is a TCP port from 1 to 65535, not 70000."),
        ("[receiver]\nport = -1", "1 to 65535"),
        ("[receiver]\nallow = 'A'", "allow is to be a list, not 'A'"),
        ("[receiver]\nassociations = 0", "associations is a finite number above 0, not 0"),
        ("[receiver]\nfree_gb = -1", "free_gb is a finite number, 0 or more"),
        ("[receiver]\nfree_gb = nan", "free_gb is a finite number, 0 or more"),
        ("[receiver]\nsilence_timeout_s = 0", "silence_timeout_s is a finite number above 0"),
        ("[receiver]\nnegotiation_timeout_s = inf", "negotiation_timeout_s is a finite number above 0"),
        ("[intake]\nsilence_s = -1", "silence_s is a finite number, 0 or more"),
        ("[intake]\npatience_s = nan", "patience_s is a finite number above 0"),
        ("[delivery]\nfirst_retry_s = 0", "first_retry_s is a finite number above 0"),
        ("[delivery]\nlongest_retry_s = inf", "longest_retry_s is a finite number above 0"),
        ("[delivery]\ndeliver_held = 'perhaps'", "deliver_held is to be true or false, not 'perhaps'"),
        ("[node]\nae_title = 'DÜET'", "[node]: ae_title has 1 to 16 characters, ASCII without backslash"),
        ("[node]\nae_title = 'A\\B'", "without backslash"),
        ('[node]\nae_title = "A\\tB"', "without backslash and control characters"),
        ("[node]\nae_title = ' '", "1 to 16 characters"),
        ("destination = [5]", "[[destination]]"),
        ("[[destination]]\nname = 'a'", "[[destination]]: url is missing."),
        ("[[destination]]\nname = 'a'\nurl = 'dicom://A@h:70000'", "the port in url is a TCP port from 1 to 65535, not 70000."),
        ("[[destination]]\nname = 'a'\nurl = 'dicom://Ä@h:104'", "the AE title in url has"),
        ("[receiver]\nallow = ['10.0.0.0/99']", "10.0.0.0/99"),
        ("[tracers]\nrules = [{ tracer = 'PentixaFor', staton = 'x' }]", "did you mean 'station'"),
        ("[tracers]\nrules = [{ tracer = 'PentixaFor' }]", "must name"),
        ("[registration]\nstep = 4", "unknown key 'step'"),
        ("[destination]\nname = 'a'", "[[destination]]"),
        ("[[destination]]\nname = 'a'\nurl = 'ftp://host'", "dicom://AE_TITLE@host:port, or https://host/dicom-web"),
        (
            "[[destination]]\nname = 'a'\nurl = 'dicom://A@h:1'\ncommitment = 'perhaps'",
            "commitment is to be 'auto', 'never' or",
        ),
        (
            "[[destination]]\nname = 'a'\nurl = 'https://host'\nuser = 'u'",
            "user and one of password_file and password_env belong",
        ),
        ("[[sender]]\nae_title = 'A'\nhost = 'h'\nport = 0", "[[sender]]: port is a TCP port from 1 to 65535, not 0."),
        ("[[sender]]\nae_title = 'A'\nhost = ' '\nport = 104", "[[sender]]: host is empty."),
        ("[[sender]]\nae_title = 'A'\nhost = 'h'\nport = 1\n[[sender]]\nae_title = 'A'\nhost = 'i'\nport = 1", "one AE title"),
        ("[delivery]\ncommitment_patience_s = 0", "commitment_patience_s is a finite number above 0"),
        ("[[destination]]\nname = 'a'\nurl = 'dicom://A@h:1'\n[[destination]]\nname = 'a'\nurl = 'dicom://B@h:1'", "one name"),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h'", "[[archive]]: url is written dicom://AE_TITLE@host:port."),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h:1'\nmethod = 'pull'", "method is to be 'move' or 'get', not 'pull'"),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h:1'\nat_once = 0", "at_once is a finite number above 0"),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h:1'\nmove_to = 'Ä'", "move_to has 1 to 16 characters"),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h:1'\n[[archive]]\nname = 'a'\nurl = 'dicom://B@h:1'", "one name"),
        ("[retrieval]\nask_again_s = 0", "ask_again_s is a finite number above 0"),
        ("[node]\nae_title = 'A_TITLE_THAT_IS_FAR_TOO_LONG'", "16 characters"),
        ("[node]\nscheduler = 'tcp://10.0.0.1:8786'", "scheduler is on another machine and speaks no TLS"),
        (
            "[node]\njournal_password_file = 'a'\njournal_password_env = 'B'",
            "journal_password_file and journal_password_env are both",
        ),
        ("[node]\njournal_password_env = 'B'", "journal is written postgresql+psycopg://user@host/database"),
        ("[node]\njournal = 'postgresql://u:hidden@h/d'\njournal_password_env = 'B'", "where its password stands apart"),
        ("[audit]\nsyslog = 'host:514'", "syslog is written udp://host:514"),
        ("[audit]\nsyslog = 'tcp://host:99999'", "the port in syslog is"),
        ("[audit]\nkeep_days = 0", "keep_days is a finite number above 0"),
        ("[tls]\nport = 70000", "[tls]: port is a TCP port from 1 to 65535, not 70000."),
        ("[tls]\nport = 2762", "port opens a TLS door, which needs a certificate_file"),
        ("[tls]\nport = 2762\ncertificate_file = 'a.pem'", 'client_certificates "require" needs a ca_file'),
        ("[tls]\nclient_certificates = 'maybe'", "client_certificates is to be 'require' or 'none', not 'maybe'"),
        ("[tls]\nkey_password_file = 'a'\nkey_password_env = 'B'", "key_password_file and key_password_env are both set"),
        ("[tls]\nmatch_ae_title = true\nclient_certificates = 'none'", 'match_ae_title needs client_certificates "require"'),
        ("[[archive]]\nname = 'a'\nurl = 'dicom://A@h:1'\nca_file = 'c'", "ca_file is for addresses with TLS"),
        ("[[destination]]\nname = 'a'\nurl = 'dicom://A@h:1'\nca_file = 'c'", "ca_file is for addresses with TLS"),
        ("[[destination]]\nname = 'a'\nurl = 'dicom://A@h:1'\ntls = {}", "unknown key 'tls'; there is one section [tls]"),
        ("[[sender]]\nae_title = 'A'\nhost = 'h'\nport = 1\nca_file = 'c'", "called by TLS: secure = true"),
        ("port = 1", "unknown section 'port'"),
        ("[node", "no valid TOML"),
    ],
)
def test_a_mistake_is_told_with_file_section_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadSettings) as told:
        read_all(path)
    assert words in str(told.value)
    assert "given" not in str(told.value)
    assert "hidden" not in str(told.value)
    assert "Value error" not in str(told.value)


def read_all(path: Path) -> None:
    settings = load(path)
    for name, kind in SECTIONS.items():
        settings.section(name, kind)
    destinations_of(settings)
    archives_of(settings)
    senders_of(settings)
    analysis_of(settings)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")


def test_a_preset_fills_its_section_and_the_result_shows_it(tmp_path: Path) -> None:
    text = '[segmentation]\npreset = "paper"\n[measurement]\npreset = "paper"\nmin_overlap = 0.25\n'
    found = analysis_of(load(written(tmp_path, text)))
    assert found.segmentation.pentixafor_from_fdg
    assert found.measurement.min_overlap == 0.25
    kept = found.kept()
    assert (kept["segmentation"]["preset"], kept["segmentation"]["pentixafor_from_fdg"]) == ("paper", True)
    assert not analysis_of(load(None)).segmentation.pentixafor_from_fdg


def test_a_preset_from_the_command_line_leaves_the_files_own_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "[segmentation]\npentixafor_from_fdg = false\nfdg_threshold = 2.5\n")
    found = analysis_of(load(path).with_preset("paper"))
    assert (found.segmentation.preset, found.measurement.preset) == ("paper", "paper")
    assert (found.segmentation.pentixafor_from_fdg, found.segmentation.fdg_threshold) == (False, 2.5)
    with pytest.raises(BadSettings, match=r"\[segmentation\]: preset is to be empty or one of paper, not 'article'"):
        analysis_of(load(path).with_preset("article"))


def test_models_lie_below_the_nodes_data_unless_told(tmp_path: Path) -> None:
    path = written(tmp_path, f'[node]\ndata = "{tmp_path}/data"\n')
    assert analysis_of(load(path)).models.folder == tmp_path / "data" / "models"
    path.write_text(f'[models]\nfolder = "{tmp_path}/nets"\n')
    assert analysis_of(load(path)).models.folder == tmp_path / "nets"


def test_no_path_of_the_machine_is_kept_with_a_result(tmp_path: Path) -> None:
    path = written(tmp_path, f'[node]\ndata = "{tmp_path}/data"\n[models]\nthreads = 3\ndevice = "cpu"\n')
    assert str(tmp_path) not in repr(analysis_of(load(path)).kept())
    assert analysis_of(load(path)).kept() == analysis_of(load(None)).kept()


def test_a_network_method_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="fdg_method asks for a network; name it in fdg_network"):
        analysis_of(load(written(tmp_path, '[segmentation]\nfdg_method = "network"\n')))


def test_the_journals_password_comes_from_a_file_or_the_environment_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = tmp_path / "word"
    word.write_text("p@ss:w/ord\n")
    text = f"[node]\njournal = 'postgresql+psycopg://duet@db:5432/duet'\njournal_password_file = '{word}'\n"
    node = load(written(tmp_path, text)).node
    url = make_url(node.journal)  # SQLAlchemy's own reader
    assert (url.username, url.password, url.host, url.port, url.database) == ("duet", "p@ss:w/ord", "db", 5432, "duet")
    assert "ss:w" not in repr(node)
    assert "p%40ss" not in repr(node)
    monkeypatch.setenv("DUET_TEST_WORD", "other")
    node = load(written(tmp_path, text.replace(f"file = '{word}'", "env = 'DUET_TEST_WORD'"))).node
    assert make_url(node.journal).password == "other"  # noqa: S105
    word.unlink()
    with pytest.raises(BadSettings, match=r"\[node\] journal_password_file: .*word cannot be read: No such file"):
        load(written(tmp_path, text)).node  # noqa: B018
    with pytest.raises(BadSettings) as told:
        journal_url("mysql://duet:hidden@db/duet", tmp_path)
    assert "hidden" not in str(told.value)


def test_a_scheduler_without_tls_is_for_this_machine_or_on_purpose() -> None:
    for scheduler in ("", "tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786", "tls://10.0.0.1:8786"):
        assert NodeSettings(scheduler=scheduler).scheduler == scheduler
    assert NodeSettings(scheduler="tcp://10.0.0.1:8786", scheduler_insecure=True).scheduler
    with pytest.raises(ValueError, match="scheduler_insecure = true"):
        NodeSettings(scheduler="tcp://scheduler.hospital:8786")


def read_odd(path: Path) -> None:
    settings = load(path)
    settings.section("node", NodeSettings)
    rules_of(settings)
    analysis_of(settings)
    settings.section("delivery", DeliverySettings)
    settings.section("receiver", ReceiverSettings)


ODD = [
    ("pairing", "max_days = 1000000", "0 to 3650"),
    ("receiver", f"free_gb = 1{'0' * 300}", "finite number"),
    ("delivery", "first_retry_s = inf", "finite number"),
    ("registration", "step_mm = nan", "1 to 20 mm"),
    ("registration", "step_mm = 0", "1 to 20 mm"),
    ("quality", "liver_ml = [nan, nan]", "liver_ml is"),
    ("quality", "liver_ml = [9.0, 1.0]", "lower limit"),
    ("measurement", "min_overlap = 2", "between 0 and 1"),
    ("node", 'data = ""', "data is empty"),
    ("node", 'data = "x\\u0000y"', "control character"),
    ("receiver", 'host = "a\\nb"', "control character"),
    ("receiver", f'port = "{"a" * 3000}"', "whole number"),
]


@pytest.mark.parametrize(("section", "line", "says"), ODD)
def test_what_no_setting_may_be_is_told_in_one_sentence(tmp_path: Path, section: str, line: str, says: str) -> None:
    path = tmp_path / "duet.toml"
    path.write_text(f"[{section}]\n{line}\n")
    with pytest.raises(BadSettings, match=says) as refused:
        read_odd(path)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}: [{section}]")
    assert sentence.endswith(".")
    assert len(sentence) < 300
    assert sentence.isprintable()

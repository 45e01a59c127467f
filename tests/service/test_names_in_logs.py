"""A node's small life with unusual names and broken headers: no log and no audit record holds a patient's name."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from nodes import NodeProcess, free_port, push, until
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

pytestmark = [pytest.mark.peer("openssl"), pytest.mark.peer("storescu"), pytest.mark.peer("echoscu")]

NAME, GIVEN, ID = "Xanthippe-Zzyzx", "Quetzalcoatl", "IDqx77041"
IDEOGRAPHS = "山田太郎"
SPOILT = {
    "StudyDate": NAME,
    "PatientBirthDate": NAME,
    "PatientAge": NAME,
    "PatientWeight": NAME,
    "RescaleSlope": NAME,
    "ImagePositionPatient": [NAME, "0", "0"],
    "SpecificCharacterSet": NAME,
    "RadiopharmaceuticalInformationSequence": None,
    "AcquisitionTime": NAME,
    "StationName": NAME,
}


@pytest.fixture
def node(tmp_path: Path, program: Callable[[str], str]) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path / "node", program, free_port(), "[retrieval]\nmissing_half = true\n", processes=1)
    process.config.write_text(
        process.config.read_text()
        + _tls(Authority(tmp_path / "authority", program))
        + f'[[archive]]\nname = "away"\nurl = "dicom://AWAY@127.0.0.1:{free_port()}"\ntries = 1\n'
    )
    yield process
    process.clean_up()


def written(folder: Path, datasets: list[Dataset]) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}.dcm" for number in range(len(datasets))]
    for path, ds in zip(paths, datasets, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


def spoilt(ds: Dataset, keyword: str, value: Any) -> None:
    """An element with a value that its VR does not allow, as its bytes would stand in a file."""
    ds.PatientName = f"{NAME}^{GIVEN}"
    if value is None:
        delattr(ds, keyword)
        return
    text = "\\".join(value) if isinstance(value, list) else value
    tag, content = Tag(keyword), text.encode().ljust(len(text) + len(text) % 2)
    ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(content), content, 0, False, True)


def test_no_log_and_no_record_holds_a_name(node: NodeProcess, program: Callable[[str], str], tmp_path: Path, scan: Any) -> None:
    words = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": f"{NAME}^{GIVEN}={IDEOGRAPHS}", "PatientID": ID}
    good = scan(words=words).datasets()
    other = scan(words=words | {"PatientName": f"{GIVEN}^{NAME}"}).datasets()  # the same objects with another content
    broken = []
    for number, (keyword, value) in enumerate(SPOILT.items()):
        (ds,) = scan(slices=1, modalities=("PT",), words=words | {"StudyID": str(number)}).datasets()
        spoilt(ds, keyword, value)
        broken.append(ds)
    torn = tmp_path / "torn.dcm"
    node.start()
    node.wait_for_door()
    assert push(program, node.port, written(tmp_path / "good", good))
    assert push(program, node.port, written(tmp_path / "other", other))
    push(program, node.port, written(tmp_path / "broken", broken))
    torn.write_bytes((tmp_path / "good" / "000.dcm").read_bytes()[:900])
    push(program, node.port, [torn])
    assert not push(program, free_port(), [tmp_path / "good" / "000.dcm"])  # nobody there
    until(lambda: not node.ask("SELECT 1 FROM instances WHERE state = 'new'"), "all are read", 60)
    assert len(node.ask("SELECT 1 FROM instances")) >= len(good) + len(other) + len(broken) - 2
    until(lambda: not node.ask("SELECT 1 FROM studies WHERE state = 'receiving'"), "all are judged", 60)
    assert node.ask("SELECT 1 FROM studies WHERE state = 'held'")
    until(lambda: "110104" in _text(node, "audit*.jsonl"), "what came is in the audit trail", 30)
    with socket.create_connection(("127.0.0.1", _port(node))) as stranger:
        stranger.sendall(f"GET /{NAME} HTTP/1.1\r\n\r\n".encode())
        until(lambda: "it speaks HTTP" in _text(node, "audit*.jsonl"), "the handshake is in the audit trail", 30)
    assert node.stop() == 0
    assert f"receives on 127.0.0.1:{node.port} and 127.0.0.1:{_port(node)} (TLS)" in node.log()
    assert ID in _text(node, "audit*.jsonl")  # the standard demands it there
    logs = _text(node, "duet.jsonl*") + node.log()
    assert "TLS handshake failed" in logs
    for word in (NAME, GIVEN, IDEOGRAPHS):
        forms = {word, word.lower(), word.encode().hex(), ascii(word).strip("'"), word.encode("unicode_escape").decode()}
        for form in forms:
            assert form not in logs, _around(logs, form)
            assert form not in _text(node, "audit*.jsonl")
    assert ID not in logs, _around(logs, ID)
    assert [path for path in (node.folder / "data").rglob("*") if path.stat().st_mode & 0o077] == []  # images, journal, logs


def _tls(authority: Authority) -> str:
    pair = authority.pair("DUET")
    files = f'certificate_file = "{pair.certificate}"\nkey_file = "{pair.key}"\nca_file = "{authority.file}"\n'
    return f'[tls]\nhost = "127.0.0.1"\nport = {free_port()}\n{files}'


def _port(node: NodeProcess) -> int:
    return int(tomllib.loads(node.config.read_text())["tls"]["port"])


def _text(node: NodeProcess, pattern: str) -> str:
    return "".join(path.read_text() for path in sorted((node.folder / "data" / "logs").glob(pattern)))


def _around(text: str, word: str) -> str:
    return next((line for line in text.split(os.linesep) if word in line), "")

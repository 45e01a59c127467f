"""`duet retrieve`, against dcmtk's dcmqrscp and Orthanc with a running node, and against an archive with faults."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import NodeProcess, Orthanc, free_port, until
from pydicom import Dataset

from analysis.values import Tracer

COUNTS = ("series_found", "objects_found", "had_before", "moved", "missing")


def written(folder: Path, datasets: Sequence[Dataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.dcm" for number in range(len(datasets))]
    for path, ds in zip(paths, datasets, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "retrieve.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counts(row: dict[str, str]) -> list[int]:
    return [int(row[name]) for name in COUNTS]


def retrieve(config: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """On the list `patients.csv` in the folder, where the table goes, too."""
    words = ["retrieve", str(folder / "patients.csv"), "--from", "pacs", "--out", str(folder / "retrieve.csv"), *more]
    command = [sys.executable, "-m", "service.cli", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def listed(folder: Path, *rows: str) -> None:
    (folder / "patients.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def pair(scan: Any) -> list[Dataset]:
    """Both studies of a patient, 20 objects, 10 and 12 March 2026."""
    return [*scan().datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()]


@contextmanager
def node_of(folder: Path, program: Callable[[str], str], archive_port: int, title: str, method: str) -> Iterator[NodeProcess]:
    """A running node whose archive is a peer."""
    more = f'[[archive]]\nname = "pacs"\nurl = "dicom://{title}@127.0.0.1:{archive_port}"\nmethod = "{method}"\n'
    node = NodeProcess(folder / "node", program, archive_port, more)
    try:
        yield node
    finally:
        node.clean_up()


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_orthanc_by_c_move_and_c_get(tmp_path: Path, program: Callable[[str], str], pair: list[Dataset]) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", program)
    with node_of(tmp_path, program, orthanc.port, "ORTHANC", "move") as node:
        modalities = {"DUET": {"AET": "DUET", "Host": "127.0.0.1", "Port": node.port}}
        orthanc.more = {"DicomModalities": modalities, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True}
        with orthanc.running():
            files = written(tmp_path / "files", pair)
            send(program, orthanc.port, "ORTHANC", files)
            listed(tmp_path, "patient_id,date_from,date_to", "P1,2026-03-11,2026-03-31", "P9,,")
            node.start()
            node.wait_for_door()
            ran = retrieve(node.config, tmp_path)
            assert ran.returncode == 1, ran.stdout + ran.stderr
            first, nobody = table(tmp_path)
            assert (first["study_date"], first["state"], counts(first)) == ("2026-03-12", "complete", [2, 10, 0, 10, 0])
            assert (nobody["patient_id"], nobody["state"]) == ("P9", "none")
            assert "pacs has no study of P9" in nobody["sentence"]
            assert "Muster" not in ran.stdout + ran.stderr
            node.config.write_text(node.config.read_text().replace('method = "move"', 'method = "get"'))
            listed(tmp_path, "patient_id", "P1")
            ran = retrieve(node.config, tmp_path)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert [counts(row) for row in table(tmp_path)] == [[2, 10, 0, 10, 0], [2, 10, 10, 0, 0]]
            until(lambda: node.ask("SELECT count(*) FROM jobs") == [(1,)], "the pair becomes a case", 30)


def send(program: Callable[[str], str], port: int, title: str, files: Sequence[Path]) -> None:
    command = [program("storescu"), "-aec", title, "127.0.0.1", str(port), *map(str, files)]
    subprocess.run(command, capture_output=True, check=True, timeout=60)


@contextmanager
def dcmqrscp(folder: Path, program: Callable[[str], str], port: int, node_port: int) -> Iterator[None]:
    """dcmtk's archive, which moves to DUET alone."""
    (folder / "db").mkdir(parents=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        "NetworkType = 'tcp'\n"
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nduet = (DUET, 127.0.0.1, {node_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {folder}/db RW (200, 1024mb) ANY\nAETable END\n"
    )
    command = [program("dcmqrscp"), "--config", str(config), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(program, port), "dcmqrscp answers", 20)
            yield
        finally:
            process.kill()


def _answers(program: Callable[[str], str], port: int) -> bool:
    command = [program("echoscu"), "-aec", "QRSCP", "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.peer("dcmqrscp")
@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_dcmqrscp_by_c_get_without_a_node_and_by_c_move(
    tmp_path: Path, program: Callable[[str], str], pair: list[Dataset]
) -> None:
    port = free_port()
    with node_of(tmp_path, program, port, "QRSCP", "get") as node, dcmqrscp(tmp_path / "qr", program, port, node.port):
        send(program, port, "QRSCP", written(tmp_path / "files", pair))
        study = str(pair[0].StudyInstanceUID)
        listed(tmp_path, "study_uid", study)
        ran = retrieve(node.config, tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (row,) = table(tmp_path)
        assert (row["study_uid"], row["patient_id"], counts(row)) == (study, "P1", [2, 10, 0, 10, 0])
        node.config.write_text(node.config.read_text().replace('method = "get"', 'method = "move"'))
        ran = retrieve(node.config, tmp_path)
        assert ran.returncode == 2
        assert "No node runs on" in ran.stderr
        node.start()
        node.wait_for_door()
        listed(tmp_path, "patient_id", "P1")
        ran = retrieve(node.config, tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert [counts(row) for row in table(tmp_path)] == [[2, 10, 10, 0, 0], [2, 10, 0, 10, 0]]
        for path in (node.folder / "data" / "inbox").glob("*/*.dcm"):
            path.unlink()
        node.config.write_text(node.config.read_text().replace('method = "move"', 'method = "move"\nmove_to = "ELSEWHERE"'))
        ran = retrieve(node.config, tmp_path)
        assert ran.returncode == 1
        assert [counts(row) for row in table(tmp_path)] == [[2, 10, 0, 0, 10]] * 2
        assert "pacs does not know the move destination ELSEWHERE" in table(tmp_path)[0]["sentence"]

"""`duet retrieve` with a node, against dcmtk's dcmqrscp, pynetdicom's qrscp, Orthanc, and an archive with faults."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archives import ScriptedArchive
from duet_command import duet
from nodes import Orthanc, free_port, until
from pydicom import Dataset

from analysis.errors import BadSettings
from analysis.values import Tracer
from service.config import load
from service.node import only_node
from service.receiver import Receiver, ReceiverSettings
from service.retrieval_command import Asked
from service.retrieval_command import retrieve as retrieve_here
from service.retrieval_table import Row, lines, summary


def written(folder: Path, datasets: Sequence[Dataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.dcm" for number in range(len(datasets))]
    for path, ds in zip(paths, datasets, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


@pytest.fixture
def pair(scan: Any) -> list[Dataset]:
    """Both studies of a patient, 20 objects, 10 and 12 March 2026."""
    return [*scan().datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()]


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


class Here:
    """A node's folder and door, without its processes, and the settings that name an archive."""

    def __init__(self, folder: Any, port: int, tmp_path: Path) -> None:
        self.folder, self.port, self.out = folder, port, tmp_path / "retrieve.csv"
        self._list, self._toml = tmp_path / "patients.csv", tmp_path / "duet.toml"
        self.told: list[tuple[str, float]] = []

    def retrieve(self, url: str, rows: Sequence[str], more: str = "") -> tuple[Row, ...]:
        """On a list whose rows are given, the head first."""
        asked = Asked(patients=self._written(url, rows, more), archive="pacs", out=self.out)
        self.told.clear()
        return retrieve_here(load(self._toml), asked, lambda message, done: self.told.append((message, done)))

    def command(self, url: str, rows: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """The same by `duet retrieve`."""
        words = ["retrieve", str(self._written(url, rows)), "--from", "pacs", "--out", str(self.out)]
        return duet(*words, "--config", self._toml)

    def _written(self, url: str, rows: Sequence[str], more: str = "") -> Path:
        self._list.write_text("\n".join(rows) + "\n")
        self._toml.write_text(
            f'[node]\ndata = "{self.folder.data}"\n[receiver]\nfree_gb = 0\n[[archive]]\nname = "pacs"\n'
            f'url = "{url}"\narrival_s = 0.5\nagain_s = 0\ntimeout_s = 5\n{more}'
        )
        return self._list


@pytest.fixture
def here(folder: Any, port: int, tmp_path: Path) -> Iterator[Here]:
    with only_node(folder.data):
        settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0)
        door = Receiver("DUET", settings, folder.inbox, folder.journal)
        door.start()
        try:
            yield Here(folder, port, tmp_path)
        finally:
            door.stop()


def patients(scan: Any, count: int) -> list[Dataset]:
    """One study of two slices of PET and CT each, patients P1, P2 and so on."""
    return [ds for n in range(1, count + 1) for ds in scan(slices=2, words={"PatientID": f"P{n}"}).datasets()]


def test_several_studies_at_a_time_and_no_more_than_the_archive_bears(here: Here, scan: Any) -> None:
    rows = ["patient_id", *(f"P{n}" for n in range(1, 7))]
    scripted = ScriptedArchive(datasets=patients(scan, 6), destinations={"DUET": here.port}, wait_s=0.02)
    with scripted.running() as archive:
        found = here.retrieve(archive.url, rows, "at_once = 3\n")
        assert archive.at_once == 3
    assert [(row.state, row.numbers) for row in found] == [("complete", (2, 4, 0, 4, 0))] * 6
    assert [row.study.patient_id for row in found if row.study] == [f"P{n}" for n in range(1, 7)]
    assert here.told[-1] == ("6 of 6 studies", 1.0)
    assert all(0 <= done <= 1 for _, done in here.told)
    assert summary(found) == "6 PET/CT studies, 6 complete: 24 objects moved, 0 missing. 0 row(s) without an answer or a study."


def test_a_second_run_moves_only_what_is_missing(here: Here, scan: Any) -> None:
    """The first run moves nothing; then part of it is sent by hand."""
    datasets = patients(scan, 3)
    rows = ["patient_id", "P1", "P2", "P3"]
    with ScriptedArchive(datasets=datasets, destinations={"DUET": here.port}, move_status=0xA702).running() as archive:
        assert all(row.state == "missing" and "0xA702" in row.words for row in here.retrieve(archive.url, rows))
    here.folder.receive(datasets[:5])
    with ScriptedArchive(datasets=datasets, destinations={"DUET": here.port}).running() as archive:
        assert [row.numbers for row in here.retrieve(archive.url, rows)] == [(2, 4, 4, 0, 0), (2, 4, 1, 3, 0), (2, 4, 0, 4, 0)]
        moves = archive.requests("MOVE")
        assert str(datasets[0].StudyInstanceUID) not in {str(ds.StudyInstanceUID) for ds in moves}


def test_every_row_of_the_list_gets_an_answer(here: Here, scan: Any) -> None:
    ct_only = scan(modalities=("CT",), words={"PatientID": "P8"}).datasets()
    datasets = [*patients(scan, 1), *ct_only]
    study = str(datasets[0].StudyInstanceUID)
    rows = ["patient_id,study_uid,date_from", "P1,,", f",{study},", "P8,,", "P9,,2026-01-01", "P1,1.2.3,"]
    with ScriptedArchive(datasets=datasets, destinations={"DUET": here.port}).running() as archive:
        found = here.retrieve(archive.url, rows)
    assert [row.state for row in found] == ["complete", "none", "none", "none"]
    assert [row.words for row in found[1:]] == [
        "pacs has 1 study(s) of P8, and none with a PET.",
        "pacs has no study of P9 in these days.",
        "pacs has no study of P1, study 1.2.3.",
    ]
    assert list(lines(found))[1].split() == ["P1", "2026-03-10", "complete", "2", "4", "0", "4", "0"]
    with here.out.open(newline="", encoding="utf-8") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["complete", "none", "none", "none"]


def test_an_archive_that_fails_is_told_for_each_row(here: Here, scan: Any) -> None:
    with ScriptedArchive(datasets=patients(scan, 2), drops=100).running() as archive:
        found = here.retrieve(archive.url, ["patient_id", "P1", "P2"], "tries = 2\n")
    assert [row.state for row in found] == ["failed", "failed"]
    assert not any(row.complete for row in found)
    assert "pacs ended the association before it had answered." in found[0].words


def test_an_archive_that_is_not_set_is_told(here: Here, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("patient_id\nP1\n")
    asked = Asked(patients=tmp_path / "list.csv", archive="pacs", out=here.out)
    with pytest.raises(BadSettings, match=r"no archive is called 'pacs'; the defaults has no \[\[archive\]\]"):
        retrieve_here(load(None), asked, lambda _message, _done: None)
    with pytest.raises(BadSettings, match="--since: 'May' is no date"):
        retrieve_here(load(None), replace(asked, since="May"), lambda _message, _done: None)


@pytest.fixture
def _hears_ctrl_c() -> Iterator[None]:
    """A shell has what it starts in the background ignore Ctrl-C, these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hears_ctrl_c")
def test_what_is_interrupted_ends_at_once_and_leaves_its_table(here: Here, scan: Any) -> None:
    """Ctrl-C comes in the main thread, while others wait for a slow archive."""
    with ScriptedArchive(datasets=patients(scan, 3), destinations={"DUET": here.port}, wait_s=3.0).running() as archive:

        def interrupt() -> None:
            until(lambda: bool(archive.requests("FIND")), "the archive is asked")
            time.sleep(0.5)  # the main thread waits for the answer by now
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            here.retrieve(archive.url, ["patient_id", "P1", "P2", "P3"], "at_once = 1\n")
        assert len(archive.requests("FIND")) == 1, "nothing more was asked after the first answer that was waited for"
    assert here.out.exists()


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("storescu")
def test_orthanc_that_stops_at_four_answers(here: Here, tmp_path: Path, program: Callable[[str], str], scan: Any) -> None:
    """Its own limits: six studies of a patient a month apart, each with a PET and a CT of six slices."""
    orthanc = Orthanc(tmp_path / "orthanc", program)
    orthanc.more = {"LimitFindResults": 4, "LimitFindInstances": 4, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True}
    datasets = [ds for n in range(1, 7) for ds in scan(slices=6, words={"StudyDate": f"2026{n:02d}10"}).datasets()]
    with orthanc.running():
        send(program, orthanc.port, "ORTHANC", written(tmp_path / "files", datasets))
        found = here.retrieve(f"dicom://ORTHANC@127.0.0.1:{orthanc.port}", ["patient_id", "P1"], 'method = "get"\ncap = 4\n')
    assert [row.numbers for row in found] == [(2, 12, 0, 12, 0)] * 6


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("storescu")
def test_orthanc_by_c_move_and_c_get(here: Here, tmp_path: Path, program: Callable[[str], str], pair: list[Dataset]) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", program)
    modalities = {"DUET": {"AET": "DUET", "Host": "127.0.0.1", "Port": here.port}}
    orthanc.more = {"DicomModalities": modalities, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True}
    with orthanc.running():
        send(program, orthanc.port, "ORTHANC", written(tmp_path / "files", pair))
        url = f"dicom://ORTHANC@127.0.0.1:{orthanc.port}"
        row, nobody = here.retrieve(url, ["patient_id,date_from,date_to", "P1,2026-03-11,2026-03-31", "P9,,"])
        assert row.study is not None
        assert (row.study.study_date, row.state, row.numbers) == ("20260312", "complete", (2, 10, 0, 10, 0))
        assert (nobody.state, nobody.words) == ("none", "pacs has no study of P9.")
        both = here.retrieve(url, ["patient_id", "P1"], 'method = "get"\n')
        assert [row.numbers for row in both] == [(2, 10, 0, 10, 0), (2, 10, 10, 0, 0)]


def test_the_command_ends_by_what_is_missing(here: Here, scan: Any) -> None:
    """Exit status 0, 1 and 2; nobody's name is shown."""
    with ScriptedArchive(datasets=patients(scan, 1), destinations={"DUET": here.port}).running() as archive:
        whole = here.command(archive.url, ["patient_id", "P1"])
        assert whole.returncode == 0, whole.stderr
        assert "1 PET/CT studies, 1 complete: 4 objects moved, 0 missing." in whole.stdout
        assert here.command(archive.url, ["patient_id", "P1", "P2"]).returncode == 1
        wrong = here.command(archive.url, ["patient", "P1"])
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "did you mean 'patient_id'?" in wrong.stderr
    with here.out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient_id"], row["state"], row["objects_found"], row["had_before"]) for row in rows] == [
        ("P1", "complete", "4", "4"),
        ("P2", "none", "", ""),
    ]
    assert "Muster" not in whole.stdout + whole.stderr + wrong.stderr + here.out.read_text()


@pytest.mark.peer("dcmqrscp")
@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_dcmqrscp_by_c_get_and_c_move(here: Here, tmp_path: Path, program: Callable[[str], str], pair: list[Dataset]) -> None:
    """The second study comes by the other way; a destination that dcmqrscp does not know is told."""
    port = free_port()
    with dcmqrscp(tmp_path / "qr", program, port, here.port):
        send(program, port, "QRSCP", written(tmp_path / "files", pair))
        study, url = str(pair[0].StudyInstanceUID), f"dicom://QRSCP@127.0.0.1:{port}"
        (row,) = here.retrieve(url, ["study_uid", study], 'method = "get"\n')
        assert (row.state, row.numbers) == ("complete", (2, 10, 0, 10, 0))
        wrong = here.retrieve(url, ["patient_id", "P1"], 'move_to = "ELSEWHERE"\n')
        assert [row.numbers for row in wrong] == [(2, 10, 10, 0, 0), (2, 10, 0, 0, 10)]
        assert "pacs does not know the move destination ELSEWHERE" in wrong[1].words
        right = here.retrieve(url, ["patient_id", "P1"])
        assert [row.numbers for row in right] == [(2, 10, 10, 0, 0), (2, 10, 0, 10, 0)]


@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_qrscp_of_pynetdicom_by_c_move_and_c_get(
    here: Here, tmp_path: Path, program: Callable[[str], str], pair: list[Dataset]
) -> None:
    """It counts no objects, so that only its list says what there is."""
    port, folder = free_port(), tmp_path / "qrscp"
    folder.mkdir()
    config = folder / "qrscp.ini"
    config.write_text(
        f"[DEFAULT]\nae_title: QRSCP\nport: {port}\nmax_pdu: 16382\nacse_timeout: 30\ndimse_timeout: 30\nnetwork_timeout: 30\n"
        f"bind_address: 127.0.0.1\ninstance_location: {folder}/objects\ndatabase_location: {folder}/objects.sqlite\n"
        f"log_identifier: False\n[DUET]\naddress: 127.0.0.1\nport: {here.port}\n"
    )
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "--quiet", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as process:
        try:
            until(lambda: _answers(program, port), "qrscp answers", 30)
            send(program, port, "QRSCP", written(tmp_path / "files", pair))
            study, url = str(pair[0].StudyInstanceUID), f"dicom://QRSCP@127.0.0.1:{port}"
            (row,) = here.retrieve(url, ["study_uid", study], 'method = "get"\n')
            assert (row.state, row.numbers) == ("complete", (2, 10, 0, 10, 0))
            rows = here.retrieve(url, ["patient_id", "P1"])
            assert [each.numbers for each in rows] == [(2, 10, 10, 0, 0), (2, 10, 0, 10, 0)]
        finally:
            process.kill()


def test_without_a_node_nothing_is_moved(folder: Any, port: int, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r'No node runs on .*, so nothing that pacs moves could arrive; .* method = "get"'):
        Here(folder, port, tmp_path).retrieve("dicom://PACS@127.0.0.1:104", ["patient_id", "P1"])

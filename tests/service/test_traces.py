"""One id from the first slice to the last acknowledgement, found in a whole node's log, and nothing to find a patient by."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import usual
from cases import made_case
from journals import add_case, add_delivery
from nodes import NodeProcess, Orthanc, push, until
from pydicom import dcmread

from service.journal import open_journal
from service.traces import LENGTH, MOST_CASES, case_ids, ids_of_objects, study_id


def test_an_id_is_the_same_after_a_restart_and_another_on_another_node(folder: Any, tmp_path: Path) -> None:
    first = study_id(folder.journal, "1.2.3")
    assert len(first) == LENGTH
    assert int(first, 16) >= 0
    again = open_journal("", folder.data)
    assert study_id(again, "1.2.3") == first
    assert study_id(again, "1.2.4") != first
    again.close()
    (tmp_path / "other").mkdir()
    other = open_journal("", tmp_path / "other")
    assert study_id(other, "1.2.3") != first
    other.close()


def test_a_line_names_cases_and_their_studies(folder: Any) -> None:
    journal = folder.journal
    one, two = add_case(journal, pair_uid="2.1"), add_case(journal, pair_uid="2.2", fdg_study="1.3")
    pair = [study_id(journal, "1.1"), study_id(journal, "1.2")]
    assert case_ids(journal, one) == {"case": "2.1", "number": one, "study": pair}
    both = case_ids(journal, two, one, one, None)
    assert both == {"case": ["2.1", "2.2"], "number": [one, two], "study": [*pair, study_id(journal, "1.3"), pair[1]]}
    assert case_ids(journal, None) == {}
    assert case_ids(journal, 99) == {"number": [99]}
    add_delivery(journal, one, "9.1")
    add_delivery(journal, one, "9.2", sent_instance_uid="9.3", sent_class_uid="x")
    assert ids_of_objects(journal, ["9.1", "9.3", "9.9"]) == case_ids(journal, one)
    many = [add_case(journal, pair_uid=f"3.{number}") for number in range(MOST_CASES + 5)]
    assert len(case_ids(journal, *many)["number"]) == MOST_CASES  # type: ignore[arg-type]


def as_a_scanner_sends_it(folder: Path) -> list[Path]:
    """The made pair's files, its PET with the elements that its headers lack."""
    files = sorted(folder.rglob("*.dcm"))
    slices = {path: dcmread(path) for path in files}
    for path, ds in slices.items():
        if ds.Modality == "PT":
            tracer = "FDG" if "FDG" in ds.SeriesDescription else "PentixaFor"
            count = sum(other.SeriesInstanceUID == ds.SeriesInstanceUID for other in slices.values())
            moments = {f"{kind}Time": "100000" for kind in ("Study", "Series", "Acquisition")}
            moments |= {f"{kind}Date": ds.StudyDate for kind in ("Series", "Acquisition")}
            weight = {"PatientWeight": "70"}
            for element in usual.elements(usual.pet(count, tracer, {}) | moments | weight):
                if element.keyword not in ("RescaleSlope", "RescaleIntercept"):
                    ds[element.tag] = element
            ds.save_as(path)
    return files


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("storescu")
@pytest.mark.timeout(180)
def test_a_pair_is_followed_through_a_nodes_log_by_the_id_alone(tmp_path: Path, program: Callable[[str], str]) -> None:
    case = made_case(tmp_path / "made", held=False)
    studies = {pair.study.study_instance_uid: pair for pair in (case.pair.fdg, case.pair.pentixafor)}
    archive = Orthanc(tmp_path / "orthanc", program)
    node = NodeProcess(tmp_path / "node", program, archive.port, 'commitment = "require"\n', web=True, processes=2)
    finished = tmp_path / "node" / "data" / "cases" / case.pair.uid  # the analysis lies there already
    finished.parent.mkdir(parents=True)
    case.folder.rename(finished)
    try:
        with archive.running():
            archive.know("DUET", node.port)
            node.start()
            node.wait_for_door()
            assert push(program, node.port, as_a_scanner_sends_it(tmp_path / "made" / "in"))
            committed = "SELECT count(*) FROM deliveries WHERE state = 'committed'"
            until(lambda: node.ask(committed) == [(6,)], f"all committed\n{node.log()[-3000:]}", 45)
            known = json.loads(node.duet("status", "--json").stdout)
            shown = node.status()
            health, metrics, page = (read(node.web_port, path) for path in ("/healthz", "/metrics", "/case/1"))
            assert node.stop() == 0
    finally:
        node.clean_up()
    text = (tmp_path / "node" / "data" / "logs" / "duet.jsonl").read_text()
    ids = {row["study_instance_uid"]: row["id"] for row in known["studies"]}
    assert set(ids) == set(studies)
    for uid, id_ in ids.items():
        assert f"study={id_}" in shown
        lines = [json.loads(line) for line in text.splitlines() if id_ in line]
        events = [line["event"] for line in lines]
        way = ["study begun", "study judged", "pair", "case started", "case done", "case delivered"]
        assert [event for event in dict.fromkeys(events) if event in way] == way
        assert "commitment report" in events
        assert all(line["case"] == case.pair.uid for line in lines if "case" in line)
        assert uid not in text
    assert json.loads(health) == {"status": "ok"}
    assert 'duet_deliveries{destination="pacs",state="committed"} 6.0' in metrics
    assert 'duet_objects_received_total{outcome="stored"} 96.0' in metrics
    assert 'duet_part_up{part="engine"} 1.0' in metrics
    assert "TEST01" in page
    assert '"object": "case 1", "event": "patient data seen"' in text
    assert "TEST01" not in text  # the Patient ID, who has been seen
    assert "pacs" in next(line for line in text.splitlines() if "case delivered" in line)

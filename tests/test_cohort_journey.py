"""The cohort through the whole node: pairs in over DICOM, a report back, a new version when an outcome comes, never two truths.

Peers: dcmtk's storescu sends, Orthanc receives. `make cohort-journey` is the same with 22 patients.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cohort_patients import clinical_csv, trunk
from nodes import NodeProcess, Orthanc, push, until
from pydicom import dcmread

PATIENTS = int(os.environ.get("DUET_COHORT_PATIENTS", "3"))
pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("echoscu"), pytest.mark.peer("Orthanc"), pytest.mark.timeout(1800)]
Program = Callable[[str], str]
MADE = "SELECT version, folder, cycles FROM cohorts WHERE version > 0 ORDER BY version"
REFUSED = "SELECT count(*) FROM cohorts WHERE version = 0"
FEW = "permutations = 19\nresamples = 3\nrelabelings = 3\nrepeats = 1"  # enough for a journey
DONE = "SELECT count(*) FROM jobs WHERE state = 'done'"
OPEN = "SELECT count(*) FROM deliveries WHERE state NOT IN ('delivered', 'committed')"


@contextmanager
def hospital(folder: Path, program: Program) -> Iterator[tuple[NodeProcess, Orthanc, Path]]:
    """An empty archive, a node that returns to it, and the file of its clinical table, which is not there yet."""
    clinical = folder / "clinical.csv"
    more = f'\n[cohort]\nclinical = "{clinical}"\nquiet_s = 2.0\npositions = true\n{FEW}\n'
    with ExitStack() as stack:
        archive = stack.enter_context(Orthanc(folder / "orthanc", program).running())
        node = NodeProcess(folder / "node", program, archive.port, more)
        archive.know("DUET", node.port)
        stack.callback(node.clean_up)
        node.start()
        node.wait_for_door()
        yield node, archive, clinical


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Iterator[tuple[NodeProcess, Orthanc, Path]]:
    """A node after all pairs were analysed; its first version is made of all but the last outcome."""
    folder = tmp_path_factory.mktemp("cohort")
    with hospital(folder, program) as (node, archive, clinical):
        for number in range(1, PATIENTS + 1):
            trunk(folder / "patients" / str(number), number)
        assert push(program, node.port, sorted((folder / "patients").rglob("*.dcm")))
        until(lambda: node.ask(DONE) == [(PATIENTS,)], lambda: f"all analysed\n{node.told()}", 100 * PATIENTS)
        clinical_csv(range(1, PATIENTS), clinical)
        arrived(node, 1)
        yield node, archive, clinical


def arrived(node: NodeProcess, version: int) -> None:
    def all_there() -> bool:
        return len(node.ask(MADE)) == version and node.ask(OPEN) == [(0,)]

    until(all_there, lambda: f"version {version} delivered\n{node.told()}", 240)


def cohort_objects(archive: Orthanc) -> dict[str, dict[str, str]]:
    """SOP instance UID > tags of everything under the pseudo-patient."""
    found = {}
    for instance in archive.ask("/instances"):
        tags = archive.ask(f"/instances/{instance}/simplified-tags")
        if tags["PatientID"] == "DUET-COHORT":
            found[tags["SOPInstanceUID"]] = {**tags, "orthanc": instance}
    return found


def test_a_report_comes_and_a_new_outcome_makes_a_new_version(known: tuple[NodeProcess, Orthanc, Path]) -> None:
    node, archive, clinical = known
    first = cohort_objects(archive)
    assert sorted(tags["Modality"] for tags in first.values()) == ["DOC", "SR"]
    ((_, folder, cycles),) = node.ask(MADE)
    assert cycles == PATIENTS - 1
    version = node.folder / "data" / folder
    assert {path.name for path in version.iterdir()} >= {"report.html", "report.pdf", "figures", "tables", "sr-cohort.dcm"}
    document = next(tags for tags in first.values() if tags["Modality"] == "DOC")
    assert archive.ask_bytes(f"/instances/{document['orthanc']}/pdf").rstrip(b"\0") == (version / "report.pdf").read_bytes()
    assert "version 1" in node.status()

    clinical_csv(range(1, PATIENTS + 1), clinical)
    arrived(node, 2)
    second = {uid: tags for uid, tags in cohort_objects(archive).items() if uid not in first}
    assert sorted(tags["Modality"] for tags in second.values()) == ["DOC", "KO", "SR"]
    note = next(tags for tags in second.values() if tags["Modality"] == "KO")
    rejected = json.dumps(note["CurrentRequestedProcedureEvidenceSequence"])
    assert all(uid in rejected for uid in first)
    assert node.ask(MADE)[-1][2] == PATIENTS


def test_each_pairs_report_says_where_its_features_lie(known: tuple[NodeProcess, Orthanc, Path]) -> None:
    node, archive, _ = known
    # Beside the cases lie, for a moment, drafts and what they take the place of.
    cases = sorted(case for case in (node.folder / "data" / "cases").iterdir() if case.suffix[1:].isdecimal())

    def all_there() -> bool:
        try:
            reports = [json.loads((case / "results.json").read_text())["objects"]["sr-pair"] for case in cases]
        except FileNotFoundError:  # one takes the other's place just now
            return False
        return {report["sop_instance_uid"] for report in reports} <= set(archive.holds())

    until(all_there, "the reports with positions are delivered", 60)
    for case in cases:
        report = dcmread(case / "sr-pair.dcm")
        assert "PredecessorDocumentsSequence" in report
        said = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
        assert any("Positions within the cohort (version 2 of its report) describe" in text for text in said)


def test_nothing_new_makes_no_version(known: tuple[NodeProcess, Orthanc, Path]) -> None:
    node, archive, _ = known
    before = (node.ask(MADE), set(cohort_objects(archive)))
    assert "is the newest: no case, outcome or setting has changed since" in node.duet("cohort", "--send").stdout
    time.sleep(5)
    assert (node.ask(MADE), set(cohort_objects(archive))) == before


def test_a_wrong_table_is_told_and_the_report_stays(known: tuple[NodeProcess, Orthanc, Path]) -> None:
    node, archive, clinical = known
    good, before = clinical.read_text(), set(cohort_objects(archive))
    clinical.write_text(good.replace("2025", "2525", 1))
    try:
        until(lambda: node.ask(REFUSED) == [(1,)], "the mistake is seen", 60)
        assert "no newer report can be made" in node.status()
        assert "row 2, column therapy_date" in " ".join(node.status().split())  # the terminal's lines end somewhere
        assert set(cohort_objects(archive)) == before
    finally:
        clinical.write_text(good)
    until(lambda: node.ask(REFUSED) == [(0,)], "the mistake is gone", 60)
    assert "no newer report" not in node.status()


def test_killed_while_a_version_is_made_there_is_one_version_and_one_truth(known: tuple[NodeProcess, Orthanc, Path]) -> None:
    node, archive, clinical = known
    number = len(node.ask(MADE))
    begun = node.log().count("cohort report begun")
    clinical.write_text(clinical.read_text().replace(",51,", ",52,", 1))
    for pause in (0.0, 2.0, 6.0):
        until(lambda seen=begun: node.log().count("cohort report begun") > seen, "a version is begun", 60)
        begun = node.log().count("cohort report begun")
        time.sleep(pause)
        node.kill()
        node.start()
        if len(node.ask(MADE)) > number:
            break
    arrived(node, number + 1)
    versions = [int(tags["InstanceNumber"]) for tags in cohort_objects(archive).values() if tags["Modality"] == "DOC"]
    assert sorted(versions) == list(range(1, number + 2))

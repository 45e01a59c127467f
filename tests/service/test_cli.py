"""The commands as a person meets them: exit status, one clear sentence, nothing else; and once in a fresh interpreter."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cases import Made, put_on_hold
from duet_command import duet

from analysis.values import Tracer
from service import casebook, intake
from service.intake import Rules
from service.node import only_node


def fresh(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In an interpreter of its own, where a command must import whatever it needs."""
    command = [sys.executable, "-m", "service.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def write(folder: Path, datasets: Sequence[Any]) -> Path:
    folder.mkdir(parents=True)
    for number, ds in enumerate(datasets):
        ds.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder


def config(folder: Any) -> Path:
    path = folder.data.parent / "duet.toml"
    path.write_text(f'[node]\ndata = "{folder.data}"\n')
    return Path(path)


def test_the_thin_start_loads_nothing_that_is_not_needed() -> None:
    code = "import sys, service.cli; print(*{'pydicom', 'numpy', 'sqlalchemy', 'pynetdicom', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == []


def test_status_says_for_what_a_study_waits(folder: Any, scan: Any, tmp_path: Path) -> None:
    folder.receive(scan().datasets())
    intake.step(folder.journal, folder.data, Rules(), 1000.0)
    told = fresh("status", "--config", config(folder), cwd=tmp_path)
    assert told.returncode == 0
    assert "P1\n  waiting    FDG study of 2026-03-10, 10 objects, study=" in told.stdout
    assert re.search(r"Waiting since 1970-01-01 .* for a PentixaFor study of the same patient", " ".join(told.stdout.split()))
    assert "10 objects received: 10 filed." in told.stdout
    assert "Muster" not in told.stdout + told.stderr


def test_status_says_why_a_study_is_held_and_when_a_case_is_done(folder: Any, scan: Any, tmp_path: Path) -> None:
    folder.receive([*scan().datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()])
    folder.receive(scan(words={"PatientID": "P2", "PatientWeight": None}).datasets())
    intake.step(folder.journal, folder.data, Rules(), 1000.0)
    job = casebook.claim(folder.journal, 1000.0)
    assert job is not None
    casebook.finish(folder.journal, job.id, [], 1000.0)
    told = duet("status", "P2", "--config", config(folder), cwd=tmp_path).stdout
    assert "held" in told
    assert "weight" in told.lower()
    told = duet("status", "P1", "--config", config(folder), cwd=tmp_path).stdout
    assert "returned   case 1, version 1\n             Case 1 was finished at 1970-01-01" in told
    assert "No [[destination]] is set" in " ".join(told.split())


def test_status_of_an_unknown_patient_or_node_is_a_sentence(folder: Any, tmp_path: Path) -> None:
    told = duet("status", "NOBODY", "--config", config(folder), cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert "NOBODY" in told.stderr
    assert duet("status", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("words", [("status", "M\udcfcLLER"), ("release", "1.\udcfc\x1b[31m", "--why", "W")])
def test_bytes_that_no_database_takes_are_a_sentence(folder: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    told = duet(*words, "--config", config(folder), cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert "udcfc" in told.stderr
    assert told.stderr.count("\n") == 1
    assert "\x1b" not in told.stderr


def test_status_of_a_damaged_journal_is_a_sentence(folder: Any, scan: Any, tmp_path: Path) -> None:
    folder.receive(scan().datasets())
    folder.journal.close()
    path = folder.data / "journal.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))  # the list of tables remains, their pages do not
    told = duet("status", "--config", config(folder), cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(f"duet: The journal {path} cannot be used (")
    assert "move it and its -wal and -shm files away" in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_node_starts_while_somebody_looks_whether_one_runs(tmp_path: Path) -> None:
    (tmp_path / "node.lock").touch()
    with (tmp_path / "node.lock").open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.3, lambda: fcntl.flock(look, fcntl.LOCK_UN)).start()
        with only_node(tmp_path):
            pass


def test_release_is_told_in_one_sentence_with_and_without_a_destination(folder: Any, case: Made, tmp_path: Path) -> None:
    for name in (".1", ".2"):
        put_on_hold(folder.journal, folder.data, case, name)
    words = ("--why", "Geprüft.", "--by", "Jörg", "--config", config(folder))
    assert "no [[destination]] is set" in duet("release", "1", *words, cwd=tmp_path).stdout
    with config(folder).open("a") as file:
        file.write('[[destination]]\nname = "pacs"\nurl = "dicom://PACS@127.0.0.1:9"\n')
    told = fresh("release", f"{case.pair.uid}.2", *words[:-1], tmp_path / "duet.toml", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "Case 2 is released: no node runs; the next one that starts sends" in told.stdout
    again = duet("release", "2", *words[:-1], tmp_path / "duet.toml", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "duet: Case 2 was released already, by Jörg: Geprüft.\n"
    facts = json.loads(duet("status", "--json", "--config", tmp_path / "duet.toml", cwd=tmp_path).stdout)
    assert [each["state"] for each in facts["cases"]] == ["releasing", "releasing"]
    assert facts["cases"][1]["release"]["by"] == "Jörg"


def test_wrong_settings_are_one_sentence_and_status_two(tmp_path: Path) -> None:
    (tmp_path / "duet.toml").write_text("[receiver]\nprot = 11112\n")
    told = fresh("serve", "--config", "duet.toml", cwd=tmp_path)
    assert told.returncode == 2
    assert told.stderr == "duet: duet.toml: [receiver]: unknown key 'prot'; did you mean 'port'?\n"


def test_a_file_in_place_of_the_data_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    (tmp_path / "duet.toml").write_text('[node]\ndata = "data"\n')
    told = duet("serve", "--config", "duet.toml", cwd=tmp_path)
    assert told.returncode == 2
    assert told.stderr == "duet: [node] data: the logs in data/logs cannot be written: Not a directory.\n"


def test_what_the_machine_does_not_allow_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = fresh("phantom", "--out", "file/below", cwd=tmp_path)
    assert told.returncode == 1
    assert [line for line in told.stderr.splitlines() if "%" not in line] == [
        "duet: Not a directory: file/below/patient-001/fdg/pet"
    ]


def test_status_says_whether_a_node_runs_and_leaves_its_lock_alone(folder: Any, tmp_path: Path) -> None:
    notice = f"No node runs on {folder.data}; this is how it was left.\n"
    assert duet("status", "--config", config(folder), cwd=tmp_path).stdout.startswith(notice)
    assert not (folder.data / "node.lock").exists()
    with only_node(folder.data):
        assert duet("status", "--config", config(folder), cwd=tmp_path).stdout == "0 objects received.\n"
    assert duet("status", "--config", config(folder), cwd=tmp_path).stdout.startswith(notice)
    with only_node(folder.data):
        pass


def test_check_finds_a_destination_that_does_not_answer(port: int, tmp_path: Path) -> None:
    text = f'[node]\ndata = "data"\n[receiver]\nport = {port}\nhost = "127.0.0.1"\nfree_gb = 0\n'
    (tmp_path / "duet.toml").write_text(text)
    told = duet("check", "--config", "duet.toml", cwd=tmp_path)
    assert (told.returncode, "FAULT" in told.stdout) == (0, False), told.stdout
    (tmp_path / "duet.toml").write_text(text + '[[destination]]\nname = "pacs"\nurl = "dicom://A@127.0.0.1:1"\n')
    told = fresh("check", "--config", "duet.toml", cwd=tmp_path)
    assert told.returncode == 1
    assert "FAULT  destination pacs: A at 127.0.0.1:1 cannot be reached." in told.stdout


def test_suv_tells_factor_and_rule_or_refuses(scan: Any, tmp_path: Path) -> None:
    good = write(tmp_path / "good", scan(modalities=("PT",)).datasets())
    told = json.loads(fresh("suv", good, "--json", cwd=tmp_path).stdout)
    # 70 kg, 300 MBq, one hour, half-life 6588 s: 70000 / 3e8 * 2^(3600 / 6588)
    assert told["suv_factor"] == pytest.approx(70000 / 3e8 * 2 ** (3600 / 6588), rel=1e-9)
    assert told["tracer"] == "FDG"
    assert duet("suv", good, "--nifti", "suv.nii.gz", cwd=tmp_path).returncode == 0
    assert (tmp_path / "suv.nii.gz").is_file()
    bad = write(tmp_path / "bad", scan(modalities=("PT",), words={"PatientWeight": None}).datasets())
    refused = duet("suv", bad, "--json", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "weight" in refused.stderr.lower()
    assert refused.stderr.count("\n") == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no weight", {"words": {"PatientWeight": None}}, "weight"),
    ("another tracer", {"item": {"Radiopharmaceutical": "68Ga-PSMA-11"}}, "PSMA"),
    ("another person", {"words": {"PatientBirthDate": "19710203"}}, "birth date"),
    ("no CT", {"modalities": ("PT",)}, "no CT"),
    ("another patient", {"words": {"PatientID": "P9"}}, "PatientID"),
]


@pytest.mark.parametrize(("changes", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_analyse_turns_bad_data_away_with_one_sentence(scan: Any, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    fdg = write(tmp_path / "fdg", scan().datasets())
    pentixafor = write(tmp_path / "pentixafor", scan(tracer=Tracer.PENTIXAFOR, **changes).datasets())
    told = duet("analyse", fdg, pentixafor, "--out", "out", cwd=tmp_path)
    lines = [line for line in told.stderr.splitlines() if line.startswith("duet:")]
    assert told.returncode == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert "Muster" not in told.stderr
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_late_refusal_leaves_an_earlier_run_as_it_was(scan: Any, tmp_path: Path) -> None:
    fdg = write(tmp_path / "fdg", scan().datasets())
    pentixafor = write(tmp_path / "pentixafor", scan(tracer=Tracer.PENTIXAFOR).datasets())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("{}")
    for out in ("out", "new"):  # ten voxels in a row are no body: the analysis itself refuses
        assert duet("analyse", fdg, pentixafor, "--out", out, cwd=tmp_path).returncode == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["results.json"]
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_read(scan: Any, tmp_path: Path) -> None:
    fdg = write(tmp_path / "fdg", scan().datasets())
    told = duet("analyse", fdg, fdg, "--out", fdg / "000.dcm" / "out", cwd=tmp_path)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "000.dcm is no folder" in told.stderr


def test_the_refusal_told_is_that_of_the_study_with_a_pet(scan: Any, tmp_path: Path) -> None:
    fdg = write(tmp_path / "fdg", scan().datasets())
    datasets = scan(tracer=Tracer.PENTIXAFOR, words={"PatientWeight": None}).datasets()
    datasets += scan(tracer=Tracer.PENTIXAFOR, words={"StudyDate": "20250101"}, modalities=("CT",)).datasets()
    told = duet("analyse", fdg, write(tmp_path / "both", datasets), "--out", "out", cwd=tmp_path)
    assert told.returncode == 2
    assert "weight" in told.stderr.splitlines()[-1]
    assert "was not used: The study holds no PET series" in told.stderr


def test_one_study_named_twice_is_told_as_such(scan: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "pentixafor", scan(tracer=Tracer.PENTIXAFOR).datasets())
    told = duet("analyse", folder, folder, "--out", "out", cwd=tmp_path)
    assert told.returncode == 2
    assert "Both folders hold the same PentixaFor study" in told.stderr


def test_analyse_names_the_file_that_is_cut_off(scan: Any, tmp_path: Path) -> None:
    fdg = write(tmp_path / "fdg", scan().datasets())
    pentixafor = write(tmp_path / "pentixafor", scan(tracer=Tracer.PENTIXAFOR).datasets())
    (fdg / "002.dcm").write_bytes((fdg / "002.dcm").read_bytes()[:-30])
    told = duet("analyse", fdg, pentixafor, "--out", "out", cwd=tmp_path)
    assert told.returncode == 2
    assert "002.dcm was not used" in told.stderr
    assert "missing" in told.stderr.splitlines()[-1]


def test_analyse_says_that_a_folder_holds_no_dicom(scan: Any, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("Dear colleague")
    fdg = write(tmp_path / "fdg", scan().datasets())
    told = fresh("analyse", fdg, "letters", "--out", "out", cwd=tmp_path)
    assert told.returncode == 2
    assert "holds no DICOM file (a.txt:" in told.stderr


def test_phantoms_are_not_written_over_others(tmp_path: Path) -> None:
    (tmp_path / "out" / "patient-001").mkdir(parents=True)
    told = duet("phantom", "--out", "out", cwd=tmp_path)
    assert told.returncode == 2
    assert "patient-001 exists" in told.stderr


def test_show_tells_what_a_seg_and_a_report_hold(shared_data: Path, tmp_path: Path) -> None:
    """dcmqi's published PET case: one tumour of 33.58 ml with SUVmax 10.38."""
    folder = shared_data / "seg_sr/dcmqi/sr-example"
    seg, report = fresh("show", folder / "seg.dcm", cwd=tmp_path), duet("show", folder / "sr.dcm", cwd=tmp_path)
    assert "33.58 ml  Neoplasm, Primary" in seg.stdout
    assert "SUVbw (Maximum): 10.3814 {SUVbw}g/ml" in report.stdout
    refused = duet("show", folder / "rwvm.dcm", cwd=tmp_path)
    assert refused.returncode == 2
    assert "reads segmentations (SEG) and reports (SR)" in refused.stderr

"""`duet cohort` as a researcher calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cohort_cases import COLUMNS
from duet_command import duet
from typer.testing import CliRunner

from service.cli import app

FEATURES, CLINICAL = "cohort/planted/features.csv", "cohort/planted/clinical.csv"
FEW = "[cohort]\npermutations = 19\nresamples = 3\nrepeats = 1\nrelabelings = 3\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "duet.toml").write_text(FEW)
    made = duet("phantom", "--cohort", "--out", folder / "cohort", cwd=folder)
    assert made.returncode == 0, made.stderr
    features = folder / FEATURES
    kept = [line.split(",")[:COLUMNS] for line in features.read_text().splitlines()]  # a small report is a quick one
    features.write_text("\n".join(",".join(cells) for cells in kept) + "\n")
    return folder


def test_from_two_tables_to_a_report(tables: Path) -> None:
    words = ("--features", FEATURES, "--clinical", CLINICAL, "--out", "report")
    done = duet("cohort", *words, "--config", "duet.toml", cwd=tables)
    assert done.returncode == 0, done.stderr
    assert "24 treatment cycles of 22 patients, 14 features." in done.stdout
    assert "Research use only." in done.stdout
    assert (tables / "report" / "report.html").is_file()
    assert (tables / "report" / "report.pdf").read_bytes().startswith(b"%PDF")


def test_the_papers_definitions_have_a_report(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has imported what a report needs."""
    monkeypatch.chdir(tables)
    words = ["--features", FEATURES, "--clinical", CLINICAL, "--out", "paper", "--preset", "paper", "--config", "duet.toml"]
    done = CliRunner().invoke(app, ["cohort", *words])
    assert done.exit_code == 0, done.output
    assert (tables / "paper" / "report.pdf").is_file()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--clinical", "nowhere.csv", "--features", FEATURES, "--out", "x"], "no such file"),
        (["--clinical", CLINICAL, "--features", "nowhere.csv", "--out", "x"], "no such file"),
        (
            ["--clinical", FEATURES, "--features", FEATURES, "--out", "x"],
            "'therapy_date'",
        ),
        (
            ["--clinical", CLINICAL, "--features", CLINICAL, "--out", "x"],
            "'fdg_date'",
        ),
        (["--features", FEATURES, "--out", "x"], "No clinical table"),
        (["--clinical", CLINICAL, "--out", "x"], "No node has run"),
        (["--clinical", CLINICAL], "--out FOLDER, or --send"),
        (["--clinical", CLINICAL, "--out", "x", "--send"], "--out FOLDER, or --send"),
        (
            ["--clinical", CLINICAL, "--features", FEATURES, "--send"],
            "leave --features",
        ),
        (["--clinical", CLINICAL, "--out", "x", "--preset", "papers"], "papers"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(tables: Path, words: list[str], why: str) -> None:
    done = duet("cohort", *words, cwd=tables)
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tables / "x").exists()


def test_invented_cohorts_are_not_written_over(tables: Path) -> None:
    again = duet("phantom", "--cohort", "--out", tables / "cohort", cwd=tables)
    assert again.returncode == 2
    assert "exists" in again.stderr

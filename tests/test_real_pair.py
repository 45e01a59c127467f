"""`duet analyse` on a real GE scan with inserted spheres and the same patient seen by a simulated second scanner.

Truth: place, radius, SUV and class of each sphere (truth.json beside the scans). The patient's own FDG-avid masses at the
right hilum and in the neck are real and unlisted.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from service.cli import app

TRACERS = ("FDG", "PentixaFor")
OWN_MASSES = {"hilum": ((-43.0, -15.0, -122.0), 50.0), "neck": ((0.0, -50.0, 40.0), 65.0)}  # FDG frame: centre, reach in mm
OTHER_VOLUME_ML = 10.0


@pytest.fixture(scope="module")
def case(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair1") / "out"
    pair = shared_data / "pair1"
    result = CliRunner().invoke(app, ["analyse", str(pair / "fdg"), str(pair / "pentixafor"), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def results(case: Path) -> dict[str, Any]:
    return json.loads((case / "results.json").read_text())


@pytest.fixture(scope="module")
def spheres(shared_data: Path) -> list[dict[str, Any]]:
    return json.loads((shared_data / "pair1" / "truth.json").read_text())["lesions"]


def nearest(results: dict[str, Any], tracer: str, centre: list[float]) -> tuple[dict[str, Any], float]:
    """The tracer's lesion that lies closest to a point, and how far."""
    lesions = [lesion for lesion in results["lesions"] if lesion["tracer"] == tracer]
    gaps = [float(np.linalg.norm(np.subtract(lesion["centroid_mm"], centre))) for lesion in lesions]
    return lesions[int(np.argmin(gaps))], min(gaps)


@pytest.mark.parametrize("tracer", TRACERS)
def test_each_sphere_is_found_where_it_is_and_nowhere_else(
    results: dict[str, Any], spheres: list[dict[str, Any]], tracer: str
) -> None:
    for sphere in spheres:
        lesion, gap = nearest(results, tracer, sphere[f"centre_{tracer.lower()}_mm"])
        suv = sphere[f"{tracer.lower()}_suv"]
        assert (gap <= 8.0) == (suv is not None), sphere["id"]
        if suv is not None:
            assert lesion["site"] == sphere["site"], sphere["id"]
            assert (lesion["concordance"] == "concordant") == (sphere["concordance"] == "concordant"), sphere["id"]
            assert lesion["suv_max"] == pytest.approx(suv, rel=0.10), sphere["id"]


def test_the_hilar_mass_is_seen_on_fdg_alone_and_outside_bone(results: dict[str, Any]) -> None:
    mass, gap = nearest(results, "FDG", list(OWN_MASSES["hilum"][0]))
    assert gap < 15.0
    assert mass["volume_ml"] > 30.0
    assert (mass["site"], mass["concordance"]) == ("extramedullary", "discordant")


@pytest.mark.parametrize("tracer", TRACERS)
def test_little_else_is_called_a_lesion(results: dict[str, Any], spheres: list[dict[str, Any]], tracer: str) -> None:
    other = 0.0
    for lesion in (each for each in results["lesions"] if each["tracer"] == tracer):
        place = np.array(lesion["centroid_mm"])
        known = [s[f"centre_{tracer.lower()}_mm"] for s in spheres if s[f"{tracer.lower()}_suv"] is not None]
        sphere = min(np.linalg.norm(place - np.array(centre)) for centre in known) <= 8.0
        own = tracer == "FDG" and any(np.linalg.norm(place - np.array(at)) < reach for at, reach in OWN_MASSES.values())
        other += 0.0 if sphere or own else lesion["volume_ml"]
        assert lesion["region"] not in ("left kidney", "right kidney", "heart")
    assert other < OTHER_VOLUME_ML


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dcmqi")
def test_every_object_is_valid_and_other_readers_read_it(case: Path, program: Callable[[str], str], tmp_path: Path) -> None:
    written = sorted(case.glob("*.dcm"))
    assert len(written) == 6
    for path in written:
        said = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in said.stderr.splitlines() if line.startswith("Error")], path.name
    for path in case.glob("seg-*.dcm"):
        command = [program("segimage2itkimage"), "--inputDICOM", str(path), "--outputDirectory", str(tmp_path)]
        subprocess.run(command, capture_output=True, check=True)
    for path in case.glob("sr-*.dcm"):
        command = [program("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(tmp_path / path.stem)]
        subprocess.run(command, capture_output=True, check=True)

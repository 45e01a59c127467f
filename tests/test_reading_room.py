"""What the reading room sees: OHIF in Chromium on Orthanc's DICOMweb shows the returned objects, compared with results.json.

A small digital pair is analysed by `duet analyse`; images and objects are stored to a real archive. Pictures of each view
are kept in build/screenshots.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from factories import make_case
from nodes import small_patient
from orthanc_web import reading_room
from pydicom import dcmread
from pydicom.pixels import pixel_array
from typer.testing import CliRunner
from viewer import Viewer, browser_page

from dicom_io.results import write_case
from service.cli import app

pytestmark = [pytest.mark.peer("ohif", "chromium", "Orthanc", "OrthancDicomWeb"), pytest.mark.timeout(240)]
TRACERS = ("FDG", "PentixaFor")
# As README.md tells the reading room: FDG red, PentixaFor green, seen on both yellow.
COLOURS = {"FDG": (230, 60, 50), "PentixaFor": (50, 200, 90)}
BOTH = (250, 210, 50)
QUICK = "[registration]\nstep_mm = 8\ndeformable = false\n"


@dataclass(frozen=True, kw_only=True)
class Room:
    """The open viewer, the case's folder with its results, and the study of a patient without a lesion."""

    viewer: Viewer
    case: Path
    results: dict[str, Any]
    empty_study: str

    def lesions(self, tracer: str) -> list[dict[str, Any]]:
        return [lesion for lesion in self.results["lesions"] if lesion["tracer"] == tracer]

    def study(self, tracer: str) -> str:
        return str(self.results["pair"][f"{tracer.lower()}_study"])

    def look_at(self, study: str) -> None:
        """The study stands open: as the last look has left it, or opened now."""
        if self.viewer.study != study:
            self.viewer.open(study)

    def calm(self) -> None:
        """Nothing went wrong on the page, and no dialog stands there."""
        assert self.viewer.faults == []
        assert self.viewer.alarms() == []


@pytest.fixture(scope="module", params=TRACERS)
def tracer(request: pytest.FixtureRequest) -> str:
    """Of the module, so that all looks at one study follow each other."""
    return str(request.param)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the images and of the results."""
    folder = tmp_path_factory.mktemp("reading")
    images, settings = small_patient(folder / "images"), folder / "duet.toml"
    settings.write_text(QUICK)
    command = [
        "analyse",
        str(images / "fdg"),
        str(images / "pentixafor"),
        "--out",
        str(folder / "case"),
        "--config",
        str(settings),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return images, folder / "case"


@pytest.fixture(scope="module")
def room(
    case: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str], screenshots: Path
) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    pair, analysis = make_case(folder / "empty", ())
    write_case(folder / "empty" / "case", pair, analysis)
    with (
        reading_room(folder / "orthanc", Path(program("ohif")), program) as (archive, address),
        browser_page(Path(program("chromium"))) as page,
    ):
        for source in (*case, folder / "empty"):
            archive.store(sorted(source.rglob("*.dcm")))
        results = json.loads((case[1] / "results.json").read_text())
        viewer = Viewer(page, address, screenshots)
        yield Room(viewer=viewer, case=case[1], results=results, empty_study=pair.fdg.study.study_instance_uid)


def colour_of(lesion: dict[str, Any]) -> tuple[int, int, int]:
    return BOTH if lesion["concordance"] == "concordant" else COLOURS[lesion["tracer"]]


def assert_measured_alike(statistics: dict[str, Any], lesion: dict[str, Any]) -> None:
    """OHIF computes SUV by calculate-suv and measures the segment itself; its peak is over another sphere than 1 cm3."""
    burden = lesion["tlg_g" if lesion["tracer"] == "FDG" else "tlc_g"]
    for name, value, unit in (
        ("max", lesion["suv_max"], "SUV"),
        ("mean", lesion["suv_mean"], "SUV"),
        ("volume", 1000 * lesion["volume_ml"], "mm\u00b3"),
        ("lesionGlycolysis", 1000 * burden, "mm\u00b3\u00b7SUV"),
    ):
        assert statistics[name] == [pytest.approx(value, rel=1e-5), unit], (lesion["id"], name)


def test_every_lesion_is_listed_and_drawn_over_the_pet(room: Room, tracer: str) -> None:
    viewer, lesions = room.viewer, room.lesions(tracer)
    room.look_at(room.study(tracer))
    listed = viewer.load_segmentation(f"duet {tracer} lesions")
    assert len(listed) == len(lesions) > 0
    for row, state, lesion in zip(listed, viewer.segments(), lesions, strict=True):
        words = re.split(r"[ ,]+", row.label)
        assert row.label.startswith(f"{lesion['id']} {lesion['region'].replace('_', ' ')}, "), row.label
        assert {lesion["site"], lesion["concordance"]} <= set(words), row.label
        assert state["label"] == row.label
        assert row.colour == pytest.approx(colour_of(lesion), abs=2)
        assert state["colour"] == pytest.approx(colour_of(lesion), abs=2)
        assert state["visible"]
        assert state["voxels"] == lesion["voxels"]
        assert state["centre"] == pytest.approx(lesion["centroid_mm"], abs=0.01)
        assert_measured_alike(state["statistics"], lesion)
    seg = dcmread(room.case / f"seg-{tracer.lower()}.dcm", stop_before_pixels=True)
    assert viewer.shown_series() == [seg.ReferencedSeriesSequence[0].SeriesInstanceUID]
    chosen = max(lesions, key=lambda lesion: lesion["volume_ml"])
    viewer.jump_to(f"{chosen['id']} ")
    viewer.coloured(colour_of(chosen))
    viewer.picture(f"seg-{tracer.lower()}")
    room.calm()


def groups_of(report: str) -> dict[str, str]:
    """Tracking identifier > the lines of its group, as the page shows them."""
    parts = re.split(r"\n?\d+(?:\.\d+)+\.\s*Measurement Group\n", report)[1:]
    return {re.search(r"Tracking Identifier: (.+)", part)[1].strip(): part for part in parts}  # type: ignore[index]


def numbers(group: str, name: str) -> list[float]:
    return [float(x) for x in re.findall(rf"^{re.escape(name)}: ([-0-9.e+]+) ", group, re.MULTILINE)]


def test_the_report_shows_the_numbers_of_every_lesion(room: Room, tracer: str) -> None:
    room.look_at(room.study(tracer))
    room.viewer.show(f"duet {tracer} report")
    report = room.viewer.report()
    groups = groups_of(report)
    burden, name = ("tlg_g", "Total Lesion Glycolysis") if tracer == "FDG" else ("tlc_g", "Total Lesion CXCR4 Expression")
    for lesion in room.lesions(tracer):
        group = groups[lesion["id"]]
        suv = [lesion["suv_mean"], lesion["suv_max"], lesion["suv_peak"]]
        assert numbers(group, "SUVbw") == pytest.approx(suv, rel=1e-5)
        assert numbers(group, "Metabolic Volume") == pytest.approx([lesion["volume_ml"]], rel=1e-5)
        assert numbers(group, name) == pytest.approx([lesion[burden]], rel=1e-5)
        assert f"SUVmax {lesion['suv_max']:.4g} g/ml" in group
        assert lesion["site"].capitalize() in group
        assert f"{lesion['match']}, {lesion['region']}" in group
    assert "Device Observer Name: duet, research use only" in report
    assert "Research use only" in report
    assert f"{len(room.lesions(tracer))} {tracer} lesions were found." in report
    room.viewer.picture(f"sr-{tracer.lower()}")
    room.calm()


def test_the_report_of_the_pair_shows_sites_features_and_quality(room: Room) -> None:
    room.look_at(room.study("PentixaFor"))
    room.viewer.show("duet dual-tracer report")
    groups = groups_of(room.viewer.report())
    for site in room.results["sites"]:
        assert ", ".join(site["lesions"]) in groups[site["match"]]
        assert site["concordance"].capitalize() in groups[site["match"]]
    for finding in room.results["quality"]:
        assert finding["message"] in groups[finding["name"]]
    for tracer, bracket in (("FDG", "FDG"), ("PentixaFor", "CXCR4")):
        assert numbers(groups[f"{bracket} all lesions"], "Number of lesions") == [len(room.lesions(tracer))]
    value = room.results["features"]["MTV[CXCR4 medullary concordant]"]
    assert numbers(groups["CXCR4 medullary concordant"], "Metabolic Volume") == pytest.approx([value], rel=1e-5)
    room.viewer.picture("sr-pair")
    room.calm()


def test_the_fusion_view_plays(room: Room) -> None:
    viewer = room.viewer
    room.look_at(room.study("PentixaFor"))
    viewer.show("rotating view")
    assert viewer.wait_for_frame() == 0
    digest, drawn = viewer.frame()
    ours = pixel_array(room.case / "fusion.dcm")
    assert digest == hashlib.sha256(ours[0].tobytes()).hexdigest()
    viewer.picture("fusion")
    viewer.play()
    later = viewer.wait_for_frame(other_than=viewer.wait_for_frame(other_than=0))
    assert 0 < later < len(ours)
    assert viewer.frame()[1] != drawn
    room.calm()


def test_a_report_without_lesions_opens(room: Room) -> None:
    room.look_at(room.empty_study)
    assert room.viewer.thumbnail("lesions").count() == 0
    room.viewer.show("duet FDG report")
    report = room.viewer.report()
    assert "No FDG lesion was found (0 lesions)." in report
    assert numbers(groups_of(report)["FDG all lesions"], "Number of lesions") == [0]
    room.viewer.picture("sr-without-lesions")
    room.calm()

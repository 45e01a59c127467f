"""Draws docs/ohif-*.png anew: a digital patient's results as OHIF shows them. `make pictures`; takes some minutes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "helpers")]

from orthanc_web import reading_room  # noqa: E402  (a script beside the tests' helpers)
from viewer import Viewer, browser_page  # noqa: E402

DUET = Path(sys.executable).parent / "duet"
HIGHEST_SUV = 8
# As a reader sets it up: the layout MPR on the PET, dark on bright, the cross on a lesion.
THREE_PLANES = """async ([segment, place, highest]) => {
  const grid = services.viewportGridService, segmentations = services.segmentationService;
  const [{segmentationId}] = segmentations.getSegmentations();
  const pet = services.displaySetService.getActiveDisplaySets().find(each => each.Modality === 'PT').displaySetInstanceUID;
  const wait = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
  await commandsManager.run('toggleHangingProtocol', {protocolId: 'mpr'});
  await wait(8);
  const names = [...grid.getState().viewports.keys()];
  grid.setDisplaySetsForViewports(names.map(viewportId => ({viewportId, displaySetInstanceUIDs: [pet]})));
  await wait(15);
  for (const name of names) {
    const view = services.cornerstoneViewportService.getCornerstoneViewport(name);
    await segmentations.addSegmentationRepresentation(name, {segmentationId, type: 'Labelmap'});
    view.setProperties({voiRange: {lower: 0, upper: highest}, invert: true});
    view.jumpToWorld(place);
    if (name.includes('axial')) view.setZoom(1.6);
    view.render();
  }
  segmentations.setActiveSegment(segmentationId, segment);
  await wait(8);
}"""


def program(name: str) -> str:
    """A peer's path; the plugin of Orthanc and the built viewer are no programs."""
    if name == "OrthancDicomWeb":
        return str(
            next(p for d in ("lib/orthanc", "share/orthanc/plugins") for p in Path("/usr", d).glob("libOrthancDicomWeb.so*"))
        )
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{name} is absent: deploy/install-peers.sh")
    return found


def make(folder: Path) -> dict[str, str]:
    """Images below `folder`/images and results below `folder`/case; returns study UIDs by tracer."""
    subprocess.run([DUET, "phantom", "--out", folder / "images", "--patients", "1", "--seed", "1"], check=True)
    (patient,) = (folder / "images").iterdir()
    subprocess.run([DUET, "analyse", patient / "fdg", patient / "pentixafor", "--out", folder / "case"], check=True)
    pair = json.loads((folder / "case" / "results.json").read_text())["pair"]
    return {"FDG": pair["fdg_study"], "PentixaFor": pair["pentixafor_study"]}


def draw(viewer: Viewer, studies: dict[str, str], case: Path) -> None:
    """The lesions over the PET in three planes through the largest one in bone, and the report."""
    viewer.open(studies["PentixaFor"])
    viewer.load_segmentation("duet PentixaFor lesions")
    lesions = [each for each in json.loads((case / "results.json").read_text())["lesions"] if each["tracer"] == "PentixaFor"]
    largest = max((each for each in lesions if each["site"] == "medullary"), key=lambda each: each["volume_ml"])
    viewer.page.evaluate(THREE_PLANES, [largest["segment"], largest["centroid_mm"], HIGHEST_SUV])
    viewer.picture("ohif-seg")
    viewer.open(studies["PentixaFor"])
    viewer.show("duet PentixaFor report")
    viewer.report()
    heading = viewer.page.get_by_text("Imaging Measurements").first
    heading.evaluate("heading => heading.scrollIntoView({block: 'start'})")
    viewer.picture("ohif-sr")


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        studies = make(home)
        ohif = next((ROOT / ".peers" / "ohif").glob("*/index.html")).parent
        with (
            reading_room(home / "orthanc", ohif, program) as (archive, address),
            browser_page(Path(program("chromium"))) as page,
        ):
            archive.store(sorted(home.rglob("*.dcm")))
            viewer = Viewer(page, address, home)
            draw(viewer, studies, home / "case")
        for path in home.glob("ohif-*.png"):
            Image.open(path).convert("RGB").save(out / path.name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

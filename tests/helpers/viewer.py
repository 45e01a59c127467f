"""OHIF in Chromium without a window, as a reader uses it: open a study, double-click a thumbnail, look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

# No GPU is needed (SwiftShader draws); nothing but loopback is asked.
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
PATIENCE_MS = 90_000
# Chrome's own line for each failed request; the answer itself is noted with its address.
NOISE = ("Failed to load resource", "No element was found for the selector supplied to advanceOn")


@contextlib.contextmanager
def browser_page(chromium: Path) -> Iterator[Page]:
    """An empty page of Chromium; the browser ends with it."""
    environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS), env=environment, timeout=PATIENCE_MS)
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A segment as the page lists it. colour: of the dot beside it, RGB."""

    label: str
    colour: tuple[int, int, int]


class Viewer:
    """The viewer on one page. faults: what went wrong on the page since it was opened; study: which one is open."""

    def __init__(self, page: Page, address: str, pictures: Path) -> None:
        self.page, self._address, self._pictures = page, address, pictures
        self.faults: list[str] = []
        self.study = ""
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("console", lambda line: self._heard(line.type, line.text))
        page.on("response", lambda answer: self._answered(answer.status, answer.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith(NOISE):
            self.faults.append(f"console: {text[:500]}")

    def _answered(self, status: int, url: str) -> None:
        if status >= 400:
            self.faults.append(f"HTTP {status}: {url}")

    def open(self, study_instance_uid: str, mode: str = "viewer") -> None:
        """The study with a thumbnail for each series and its first image drawn; what went wrong before is forgotten."""
        self.study = ""
        self.page.goto("about:blank")
        self.faults.clear()
        self.page.goto(f"{self._address}/{mode}?StudyInstanceUIDs={study_instance_uid}")
        self.page.wait_for_function(_SETTLED, arg=study_instance_uid)
        self.study = study_instance_uid

    def thumbnail(self, words: str) -> Locator:
        return self.page.locator('[data-cy^="study-browser-thumbnail"]').filter(has_text=words)

    def show(self, words: str) -> None:
        """Double-clicks the thumbnail that bears these words, until its series is in the viewport."""
        for _ in range(3):
            self.thumbnail(words).first.dblclick()
            with contextlib.suppress(TimeoutError):
                self.page.wait_for_function(_SHOWN, arg=words, timeout=PATIENCE_MS / 3)
                return
        raise AssertionError(f"the viewer does not show {words!r}; faults: {self.faults}")

    def load_segmentation(self, words: str) -> list[Listed]:
        """Loads a SEG over its images, opens the list of segments and reads it."""
        self.show(words)
        self.page.get_by_role("button", name="Yes").click()
        rows = self.page.locator('[data-cy="data-row"]')
        if not rows.count():
            self.page.locator('[data-cy="panelSegmentation-btn"]').click()
        rows.first.wait_for()
        return [Listed(label=label, colour=tuple(colour)) for label, colour in self.page.evaluate(_ROWS)]

    def segments(self) -> list[dict[str, Any]]:
        """What the viewer holds of the loaded segments: label, colour, visible, voxels, their centre in mm (LPS), and
        the statistics that it computes itself from the images: (value, unit) of max, mean, volume, lesionGlycolysis.
        """
        # OHIF measures what is loaded, and not again when the rest of the series, or what makes its values SUV, has come.
        for _ in range(15):
            self.page.evaluate(_MEASURE)
            with contextlib.suppress(TimeoutError):
                self.page.wait_for_function(_MEASURED, timeout=PATIENCE_MS / 15)
                break
        else:
            raise AssertionError(f"the viewer has not measured the segments; faults: {self.faults}")
        return list(self.page.evaluate(_SEGMENTS))

    def shown_series(self) -> list[str]:
        """SeriesInstanceUIDs of the images in the active viewport."""
        return list(self.page.evaluate(_SERIES))

    def jump_to(self, label: str) -> None:
        self.page.locator('[data-cy="data-row"]').filter(has_text=label).first.click()

    def coloured(self, colour: tuple[int, int, int]) -> None:
        """Waits until pixels of this colour are drawn on the image."""
        self.page.wait_for_function(_COLOURED, arg=list(colour))

    def report(self) -> str:
        """The text of the report in the viewport, an item a line."""
        pane = self.page.locator('[data-cy="viewport-pane"]').first
        pane.get_by_text("PET Measurement Report").first.wait_for()
        return pane.inner_text()

    def frame(self) -> tuple[str, str]:
        """SHA-256 of the decoded pixels (RGB) of the frame that is shown, and the drawn canvas."""
        digest, drawn = self.page.evaluate(_FRAME)
        return digest, drawn

    def wait_for_frame(self, other_than: int = -1) -> int:
        """Waits until a frame is shown that is not this one; returns its index."""
        self.page.wait_for_function(_OTHER_FRAME, arg=other_than)
        return int(self.page.evaluate(_INDEX))

    def play(self) -> None:
        """Starts the film that the viewer offers for objects of several frames."""
        self.page.locator('[data-cy="cine-player-play-pause"]').first.click()

    def alarms(self) -> list[str]:
        """Texts of dialogs and notes of errors that stand on the page."""
        return [text for text in self.page.locator(_ALARMS).all_inner_texts() if text.strip()]

    def picture(self, name: str) -> Path:
        path = self._pictures / f"{name}.png"
        self.page.screenshot(path=path)
        return path


_ALARMS = (
    '[role="dialog"], [role="alertdialog"], [data-sonner-toast][data-type="error"], [data-sonner-toast][data-type="warning"]'
)
# The row's number, its coloured dot, its label: versions of OHIF agree in that order alone.
_ROWS = """() => [...document.querySelectorAll('[data-cy="data-row"]')].map(row => {
  const dot = [...row.querySelectorAll('span')].find(each => each.style.backgroundColor);
  const [, label] = row.innerText.trim().split('\\n');
  return [label, dot.style.backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)];
})"""
_VIEW = """
  const id = services.viewportGridService.getActiveViewportId();
  const view = services.cornerstoneViewportService.getCornerstoneViewport(id);
"""
_MEASURED = """() => services.segmentationService.getSegmentations().every(
  each => Object.values(each.segments).every(
    segment => (segment.cachedStats?.namedStats?.max?.unit ?? 'raw') !== 'raw'))"""
_MEASURE = f"""async () => {{{_VIEW}
  await Promise.all(view.getImageIds().map(name => cornerstone.imageLoader.loadAndCacheImage(name)));
  const {{triggerSegmentationDataModified}} = cornerstoneTools.segmentation.triggerSegmentationEvents;
  services.segmentationService.getSegmentations().forEach(each => triggerSegmentationDataModified(each.segmentationId));
}}"""
_SEGMENTS = f"""() => {{{_VIEW}
  const told = stats => Object.fromEntries(Object.entries(stats).map(([name, {{value, unit}}]) => [name, [value, unit]]));
  const [shown] = services.segmentationService.getSegmentationRepresentations(id);
  const {{segments, representationData}} = services.segmentationService.getSegmentation(shown.segmentationId);
  const found = Object.values(shown.segments).map(each => ({{
    label: segments[each.segmentIndex].label, colour: [...each.color].slice(0, 3), visible: each.visible,
    voxels: 0, centre: [0, 0, 0], statistics: told(segments[each.segmentIndex].cachedStats.namedStats),
  }}));
  for (const name of representationData.Labelmap.imageIds) {{
    const image = cornerstone.cache.getImage(name);
    const plane = cornerstone.metaData.get('imagePlaneModule', image.referencedImageId);
    const {{imagePositionPatient: at, rowCosines: right, columnCosines: down}} = plane;
    image.voxelManager.getScalarData().forEach((number, n) => {{
      if (!number) return;
      const x = (n % image.columns) * plane.columnPixelSpacing, y = Math.floor(n / image.columns) * plane.rowPixelSpacing;
      found[number - 1].voxels += 1;
      found[number - 1].centre.forEach((_, axis, centre) => {{ centre[axis] += at[axis] + x * right[axis] + y * down[axis]; }});
    }});
  }}
  return found.map(each => ({{...each, centre: each.centre.map(sum => sum / each.voxels)}}));
}}"""
_SETTLED = f"""study => {{
  try {{{_VIEW}
    const series = services.displaySetService.getActiveDisplaySets().filter(each => each.StudyInstanceUID === study);
    const thumbnails = document.querySelectorAll('[data-cy^="study-browser-thumbnail"]');
    return series.length && thumbnails.length === series.length && view.viewportStatus === 'rendered';
  }} catch {{
    return false;  // the services come up one after the other
  }}
}}"""
_SHOWN = """words => {
  const shown = [...services.viewportGridService.getState().viewports.values()].flatMap(each => each.displaySetInstanceUIDs);
  const named = uid => services.displaySetService.getDisplaySetByUID(uid)?.SeriesDescription ?? '';
  return shown.some(uid => named(uid).includes(words));
}"""
_SERIES = """() => {
  const {viewports, activeViewportId} = services.viewportGridService.getState();
  const uids = viewports.get(activeViewportId).displaySetInstanceUIDs;
  return uids.map(uid => services.displaySetService.getDisplaySetByUID(uid).SeriesInstanceUID);
}"""
_COLOURED = f"""wanted => {{{_VIEW}
  const canvas = view.getCanvas();
  const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let n = 0; n < data.length; n += 4) {{
    found += wanted.every((value, channel) => Math.abs(data[n + channel] - value) < 25) ? 1 : 0;
  }}
  return found > 20;
}}"""
_INDEX = f"() => {{{_VIEW} return view.getCurrentImageIdIndex(); }}"
_OTHER_FRAME = f"""other => {{
  try {{{_VIEW}
    const image = view.getImageIds().length > 1 && cornerstone.cache.getImage(view.getCurrentImageId());
    return image && image.color && view.viewportStatus === 'rendered' && view.getCurrentImageIdIndex() !== other;
  }} catch {{
    return false;  // the viewport is being exchanged
  }}
}}"""
_FRAME = f"""async () => {{{_VIEW}
  let image;
  while (!(image = cornerstone.cache.getImage(view.getCurrentImageId()))) await new Promise(requestAnimationFrame);
  const pixels = image.getPixelData();
  const samples = pixels.length / (image.rows * image.columns);
  const colours = pixels.filter((_, n) => n % samples < 3);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', colours));
  return [[...digest].map(each => each.toString(16).padStart(2, '0')).join(''), view.getCanvas().toDataURL()];
}}"""

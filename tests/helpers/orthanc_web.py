"""Orthanc with its DICOMweb plugin, and a reading room: the viewer OHIF beside it under one origin, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nodes import Orthanc

KEPT_S = 3600  # so long the browser keeps the viewer's files
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class OrthancWeb(Orthanc):
    """Debian's Orthanc that also answers DICOMweb; the plugin is its own package."""

    def _settings(self) -> dict[str, Any]:
        web = {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"}
        return {**super()._settings(), "Plugins": [self._program("OrthancDicomWeb")], "DicomWeb": web}

    @property
    def http_port(self) -> int:
        return self._http

    def store(self, files: Iterable[Path]) -> None:
        """Raises HTTPError where the archive does not take a file."""
        for path in files:
            self.put_file(path)


@contextlib.contextmanager
def reading_room(folder: Path, ohif: Path, program: Callable[[str], str]) -> Iterator[tuple[OrthancWeb, str]]:
    """An empty archive and the address of the viewer on it; ohif: the folder of the built viewer."""
    with OrthancWeb(folder, program).running() as archive:
        handler = type("Handler", (_Handler,), {"root": ohif.resolve(), "archive": archive.http_port})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield archive, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    """Hands /dicom-web on to the archive; everything else is the viewer's files, and its first page where none is."""

    protocol_version = "HTTP/1.1"
    root: Path
    archive: int

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/dicom-web"):
            self._hand_on()
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", _CONFIG)
        else:
            wanted = (self.root / path.lstrip("/")).resolve()
            found = wanted if wanted.is_file() and wanted.is_relative_to(self.root) else self.root / "index.html"
            kept = f"max-age={KEPT_S}"  # or the browser compiles all of it again for each study that is opened
            self._answer(200, TYPES.get(found.suffix, "application/octet-stream"), found.read_bytes(), kept)

    def log_message(self, *_: Any) -> None:
        """The tests' output holds no access log."""

    def _hand_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("accept", "content-type", "host")}
        connection = http.client.HTTPConnection("127.0.0.1", self.archive, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, self.rfile.read(length) if length else None, kept)
            answer = connection.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type") or "application/octet-stream", answer.read())

    def _answer(self, status: int, kind: str, content: bytes, kept: str = "no-store") -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the page was left meanwhile
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", kept)
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)


_CONFIG = b"""window.config = {
  routerBasename: null, extensions: [], modes: [], customizationService: {}, showStudyList: true, maxNumberOfWebWorkers: 2,
  investigationalUseDialog: {option: 'never'}, showErrorDetails: 'always', showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, strictZSpacingForVolumeViewport: true, groupEnabledModesFirst: true,
  defaultDataSourceName: 'archive',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'archive',
    configuration: {
      friendlyName: 'Orthanc', name: 'orthanc', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', wadoUriRoot: '/wado',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true,
      bulkDataURI: {enabled: true},
    },
  }],
};
"""

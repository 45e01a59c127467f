"""A node's folder with its journal, and scans of a few small slices to put into it."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import usual
from cases import Made, made_case
from journals import new_journal
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import generate_uid

from analysis.values import Tracer
from service import arrivals
from service.arrivals import Arrival
from service.inbox import Inbox, Received
from service.journal import Journal


@dataclass(kw_only=True)
class Scan:
    """One study's PET and CT. words replace elements of both series (None removes), pet_words and item of the PET alone."""

    tracer: Tracer = Tracer.FDG
    slices: int = 5
    words: dict[str, Any] = field(default_factory=dict)
    pet_words: dict[str, Any] = field(default_factory=dict)
    item: dict[str, Any] = field(default_factory=dict)
    modalities: Sequence[str] = ("PT", "CT")

    def datasets(self) -> list[Dataset]:
        return [self._slice(modality, k) for modality in self.modalities for k in range(self.slices)]

    def _slice(self, modality: str, k: int) -> Dataset:
        date = "20260310" if self.tracer is Tracer.FDG else "20260312"
        study = generate_uid(entropy_srcs=["study", self.tracer, str(self.words)])
        series = generate_uid(entropy_srcs=[study, modality])
        words: dict[str, Any] = {
            **usual.PATIENT,
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "SOPInstanceUID": generate_uid(entropy_srcs=[series, str(k)]),
            "FrameOfReferenceUID": generate_uid(entropy_srcs=[study, "frame"]),
            **{f"{kind}Date": date for kind in ("Study", "Series", "Acquisition")},
            **{f"{kind}Time": "100000" for kind in ("Study", "Series", "Acquisition")},
            **(usual.pet(self.slices, self.tracer, self.item) if modality == "PT" else usual.CT),
            **usual.geometry(k, 4.0 * k),
            **self.words,
            **(self.pet_words if modality == "PT" else {}),
        }
        return usual.image(words, np.full((8, 10), k + 1, np.int16))


class NodeFolder:
    """What a node has on disk, without the node."""

    def __init__(self, data: Path, url: str = "") -> None:
        self.data = data
        self.journal: Journal = new_journal(url, data)
        self.inbox = Inbox(data)
        self.inbox.prepare()

    def receive(self, datasets: Sequence[Dataset], now: float = 100.0, association_id: int | None = None) -> list[str]:
        """As the door does it; returns the files' paths."""
        return [self._one(_received(ds), now, association_id) for ds in datasets]

    def _one(self, received: Received, now: float, association_id: int | None) -> str:
        path = self.inbox.keep(received)
        arrival = Arrival(
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            digest=received.digest,
            path=path,
            received_at=now,
            association_id=association_id,
        )
        arrivals.record(self.journal, arrival)
        return path


def _received(ds: Dataset) -> Received:
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    content = buffer.getvalue()
    start = 144 + int(dcmread(io.BytesIO(content)).file_meta.FileMetaInformationGroupLength)
    return Received(
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        meta=content[:start],
        dataset=content[start:],
    )


# Their tests run on both databases; all others on SQLite alone.
ON_BOTH = ("test_commitment_promises", "test_engine", "test_intake", "test_journal", "test_leases", "test_priorities")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "journal_address" in metafunc.fixturenames and metafunc.definition.path.stem in ON_BOTH:
        server = pytest.param("postgresql", marks=pytest.mark.peer("postgres"))
        metafunc.parametrize("journal_address", ["sqlite", server], indirect=True)


@pytest.fixture
def journal_address(request: pytest.FixtureRequest) -> Iterator[str]:
    """What stands as [node] journal: nothing for SQLite, or a database of a real server with its tables."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    with request.getfixturevalue("postgres").journal() as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, journal_address: str) -> Iterator[NodeFolder]:
    data = tmp_path / "data"
    data.mkdir()
    opened = NodeFolder(data, journal_address)
    yield opened
    opened.journal.close()


@pytest.fixture
def folder_of() -> type[NodeFolder]:
    return NodeFolder


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The results of a pair that its quality holds."""
    return made_case(tmp_path_factory.mktemp("held"))


@pytest.fixture
def scan() -> type[Scan]:
    return Scan


@pytest.fixture
def port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

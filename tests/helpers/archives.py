"""A scripted archive on loopback: Study Root C-FIND, C-MOVE and C-GET over datasets in memory, with the faults of real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    PositronEmissionTomographyImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from service.retrieval import Archive, Method
from service.sockets import PROMPT

UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
STORED = (PositronEmissionTomographyImageStorage, CTImageStorage)
COUNTED = ("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances", "ModalitiesInStudy")


@dataclass(kw_only=True)
class ScriptedArchive:
    """An archive with faults. cap: answers to a query at most; cap_status: the status that it then ends with.

    wait_s: before each answer; drops, drops_moves: so many requests (so many that move) break the association; hides: elements
    that it does not know; ignores: keys that it does not match; move_status: what it answers to every C-MOVE; lies: it answers
    Success and sends nothing; leaves_out: objects of each whole series that it does not send; late_s: sends after its end;
    goes_on_s: so long it only says that it goes on before it does, or for ever.
    """

    datasets: Sequence[Dataset]
    destinations: dict[str, int] = field(default_factory=dict)
    cap: int = 0
    cap_status: int = 0
    wait_s: float = 0.0
    drops: int = 0
    drops_moves: int = 0
    hides: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    move_status: int = 0
    lies: bool = False
    leaves_out: int = 0
    late_s: float = 0.0
    goes_on_s: float = 0.0
    asked: list[tuple[str, str, Dataset]] = field(default_factory=list)  # service, level, identifier
    at_once: int = 0
    port: int = 0
    _open: int = 0
    _guard: Any = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[ScriptedArchive]:
        ae = AE(ae_title="PACS")
        ae.add_supported_context(Verification)
        for model in (
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelMove,
            StudyRootQueryRetrieveInformationModelGet,
        ):
            ae.add_supported_context(model)
        for sop_class in STORED:
            ae.add_supported_context(sop_class, scu_role=True, scp_role=True)
        handlers = [
            *PROMPT,
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_MOVE, self._move),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_ACCEPTED, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            server.shutdown()

    @property
    def url(self) -> str:
        return f"dicom://PACS@127.0.0.1:{self.port}"

    def settings(self, **more: Any) -> Archive:
        """As it would stand in duet.toml, with short waits."""
        quick = {"arrival_s": 0.6, "again_s": 0.0, "timeout_s": 5.0}
        words = {**quick, **more, "method": Method(more.get("method", "move"))}
        return Archive(name="pacs", url=self.url, **words)

    def requests(self, service: str, level: str = "") -> list[Dataset]:
        return [ds for kind, its_level, ds in self.asked if kind == service and level in ("", its_level)]

    def _opened(self, _event: Any) -> None:
        with self._guard:
            self._open += 1
            self.at_once = max(self.at_once, self._open)

    def _closed(self, _event: Any) -> None:
        with self._guard:
            self._open -= 1

    def _heard(self, event: Any, service: str) -> Dataset | None:
        """The identifier; None where this request breaks the association."""
        ds = event.identifier
        with self._guard:
            self.asked.append((service, str(ds.QueryRetrieveLevel), ds))
            broken, self.drops = self.drops > 0, max(0, self.drops - 1)
            if service != "FIND" and self.drops_moves:
                broken, self.drops_moves = True, self.drops_moves - 1
        if broken:
            event.assoc.abort()
            return None
        time.sleep(self.wait_s)
        self._go_on(event, service)
        return ds  # type: ignore[no-any-return]

    def _go_on(self, event: Any, service: str) -> None:
        """Pending, and no number that changes (PS3.4 C.4.2.1.6)."""
        kinds = {"FIND": C_FIND, "MOVE": C_MOVE, "GET": C_GET}
        end = time.monotonic() + self.goes_on_s
        while time.monotonic() < end and event.assoc.is_established:
            answer = kinds[service]()
            answer.MessageIDBeingRespondedTo = event.request.MessageID
            answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
            answer.Status = 0xFF00
            if service != "FIND":
                answer.NumberOfRemainingSuboperations, answer.NumberOfCompletedSuboperations = 7, 0
            event.assoc.dimse.send_msg(answer, event.context.context_id)
            time.sleep(0.05)

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        wanted = self._heard(event, "FIND")
        if wanted is None:
            return
        level = str(wanted.QueryRetrieveLevel)
        found = {str(ds[UNIQUE[level]].value): ds for ds in self._matching(wanted)}
        for number, ds in enumerate(found.values()):
            if self.cap and number >= self.cap:
                yield self.cap_status, None
                return
            yield 0xFF00, self._answer(wanted, ds)

    def _answer(self, wanted: Dataset, ds: Dataset) -> Dataset:
        answer = Dataset()
        answer.QueryRetrieveLevel = wanted.QueryRetrieveLevel
        for element in wanted:
            if element.keyword in self.hides or element.keyword in ("QueryRetrieveLevel", "SpecificCharacterSet"):
                continue
            setattr(answer, element.keyword, self._value(element.keyword, ds))
        return answer

    def _value(self, keyword: str, ds: Dataset) -> Any:
        if keyword == "NumberOfSeriesRelatedInstances":
            return sum(each.SeriesInstanceUID == ds.SeriesInstanceUID for each in self.datasets)
        if keyword == "NumberOfStudyRelatedInstances":
            return sum(each.StudyInstanceUID == ds.StudyInstanceUID for each in self.datasets)
        if keyword == "ModalitiesInStudy":
            return sorted({each.Modality for each in self.datasets if each.StudyInstanceUID == ds.StudyInstanceUID})
        return ds.get(keyword, "")

    def _matching(self, wanted: Dataset) -> list[Dataset]:
        return [ds for ds in self.datasets if all(self._matches(element, ds) for element in wanted)]

    def _matches(self, element: Any, ds: Dataset) -> bool:
        keyword, value = element.keyword, element.value
        if value in ("", None) or keyword in ("QueryRetrieveLevel", "SpecificCharacterSet", *COUNTED, *self.ignores):
            return True
        has = str(ds.get(keyword, ""))
        if keyword == "StudyDate" and "-" in str(value):
            first, _, last = str(value).partition("-")
            return (first or has) <= has <= (last or has)
        return has in [str(each) for each in value] if element.VM > 1 else has == str(value)

    def _sent(self, wanted: Dataset) -> list[Dataset]:
        """What a request for a series or for objects sends."""
        found = self._matching(wanted)
        if wanted.QueryRetrieveLevel == "SERIES" and self.leaves_out:
            return found[self.leaves_out :]
        return found

    def _move(self, event: Any) -> Iterator[Any]:
        wanted = self._heard(event, "MOVE")
        if wanted is None:
            return
        port = self.destinations.get(event.move_destination.strip())
        if self.move_status:
            yield "127.0.0.1", port or 9, {"contexts": _contexts()}
            yield 1
            yield self.move_status, None
        elif port is None:
            yield None, None
        elif self.lies or self.late_s:
            if not self.lies:
                threading.Thread(target=self._later, args=(port, self._sent(wanted)), daemon=True).start()
            yield "127.0.0.1", port
            yield 0
        else:
            sent = self._sent(wanted)
            yield "127.0.0.1", port, {"contexts": _contexts()}
            yield len(sent)
            for ds in sent:
                yield 0xFF00, ds

    def _later(self, port: int, datasets: Sequence[Dataset]) -> None:
        time.sleep(self.late_s)
        ae = AE(ae_title="PACS")
        ae.requested_contexts = _contexts()
        assoc = ae.associate("127.0.0.1", port, ae_title="DUET", evt_handlers=PROMPT)
        for ds in datasets:
            assoc.send_c_store(ds)
        assoc.release()

    def _get(self, event: Any) -> Iterator[Any]:
        wanted = self._heard(event, "GET")
        if wanted is None:
            return
        sent = self._sent(wanted)
        yield len(sent)
        for ds in sent:
            yield 0xFF00, ds


def _contexts() -> list[Any]:
    ae = AE()
    for sop_class in STORED:
        ae.add_requested_context(sop_class)
    return ae.requested_contexts

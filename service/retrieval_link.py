"""An association with an archive: C-FIND, C-MOVE and C-GET, each with a sentence for every way in which it can fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pydicom import Dataset, uid
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from service import audit_events
from service.keeping import StoreHandler
from service.lines import plain
from service.logs import logger
from service.registrar import BehindError
from service.retrieval import Archive, ArchiveError, BrokenError, Level, Method, Outcome
from service.sockets import PROMPT, undisturbed
from service.tables import Ending
from service.tls import TlsError, failure_of

T = TypeVar("T")
FIND = StudyRootQueryRetrieveInformationModelFind
MOVE = StudyRootQueryRetrieveInformationModelMove
GET = StudyRootQueryRetrieveInformationModelGet
CONNECT_S = 10.0
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
PATIENCE = 12  # times timeout_s, an hour as a rule: so long an archive may say that it goes on, and not go on
MOST_ANSWERS = 100_000  # to one query; an archive that goes on for ever must not fill the memory
CUT_OFF = (0xA700, 0xA701, 0xFE00)  # answers to a query: too many to tell, or cancelled by the archive itself
UNKNOWN_DESTINATION = 0xA801

# What C-GET may bring: every kind of PET and CT, in the transfer syntax in which the archive keeps it. At most 128 contexts.
STORED = (
    uid.PositronEmissionTomographyImageStorage,
    uid.CTImageStorage,
    uid.EnhancedPETImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
)
SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.RLELossless,
    uid.HTJ2KLossless,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a query found. cut_off: the archive says itself that there is more."""

    found: Sequence[Dataset]
    cut_off: bool = False


class Link:
    """One association with one archive at a time: opened with a request, and anew after it broke.

    store_handler: takes what C-GET brings; C-MOVE needs none.
    """

    def __init__(self, archive: Archive, ae_title: str, store_handler: StoreHandler | None = None) -> None:
        self.archive, self._ae_title, self._store_handler = archive, ae_title, store_handler
        self._assoc: Any = None
        self._abandoned = False

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def destination(self) -> str:
        """The AE title that C-MOVE names."""
        return self.archive.move_to or self._ae_title

    def close(self) -> None:
        assoc, self._assoc = self._assoc, None
        if assoc is not None and assoc.is_established:
            if self._store_handler is not None:  # its own event comes after that of the closed connection, now and then
                self._store_handler.close(assoc, Ending.RELEASED)
            assoc.release()
            self._settle()

    def _settle(self) -> None:
        """What came by C-GET is asked of the journal next."""
        if self._store_handler is not None:
            with suppress(BehindError):
                self._store_handler.settle()

    def abandon(self) -> None:
        """From another thread: end at once whatever is being done."""
        self._abandoned = True
        if self._assoc is not None:
            self._assoc.dimse.msg_queue.put((None, None))  # what pynetdicom puts there when the peer aborts: nobody waits on

    def check(self) -> str:
        """What the archive offers, by negotiation alone. Raises ArchiveError."""
        self._context(FIND, "C-FIND")
        self._context(GET if self.archive.method is Method.GET else MOVE, self._asked_by)
        return f"offers C-FIND and {self._asked_by} at {self.archive.url}"

    def find(self, level: Level, keys: Mapping[str, str]) -> Answers:
        """C-FIND; asked again where the association breaks. Raises ArchiveError."""
        return self._tried(lambda: self._find(level, keys))

    def bring(self, level: Level, keys: Mapping[str, str | list[str]], tell: Callable[[], None]) -> Outcome:
        """C-MOVE or C-GET, once; tell is called while it goes on. Raises ArchiveError where there is no association."""
        self._tried(self._open)
        try:
            return self._bring(level, keys, tell)
        except BrokenError as error:
            return Outcome(code=None, sentence=str(error))
        finally:
            self._settle()

    def _tried(self, ask: Callable[[], T]) -> T:
        """Ask on one association after the other."""
        attempt = 0
        while True:
            try:
                return ask()
            except BrokenError as error:
                attempt += 1
                logger().warning("archive asked in vain", archive=self.archive.name, error=str(error))
                if attempt >= self.archive.tries:
                    raise ArchiveError(str(error)) from None
                time.sleep(self.archive.again_s * 2 ** (attempt - 1))

    def _open(self) -> Any:
        self._go_on()
        if self._assoc is None or not self._assoc.is_established:
            self._assoc = self._associate()
        return self._assoc

    def _go_on(self) -> None:
        if self._abandoned:
            raise ArchiveError("The command was ended.")

    def _associate(self) -> Any:
        ae = AE(ae_title=self._ae_title)
        ae.connection_timeout = ae.acse_timeout = CONNECT_S
        ae.dimse_timeout = ae.network_timeout = self.archive.timeout_s
        ae.add_requested_context(FIND)
        get = self.archive.method is Method.GET
        ae.add_requested_context(GET if get else MOVE)
        for sop_class in STORED if get else ():
            for syntax in SYNTAXES:
                ae.add_requested_context(sop_class, syntax)
        roles: list[Any] = [build_role(sop_class, scp_role=True) for sop_class in STORED] if get else []
        handlers = [*PROMPT, *(self._store_handler.handlers if self._store_handler is not None else ())]
        called, host, port = self.archive.address
        trust = self.archive.trust
        try:
            secured = None if trust is None else (trust.context(), host)
        except TlsError as error:
            raise ArchiveError(str(error)) from None
        assoc = ae.associate(host, port, ae_title=called, ext_neg=roles, evt_handlers=handlers, tls_args=secured)
        if assoc.is_established:
            return assoc
        if assoc.is_rejected:
            raise BrokenError(f"{called} at {host}:{port} refuses {self._ae_title}; add this AE title there.")
        if assoc.rejected_contexts:
            raise ArchiveError(f"{called} at {host}:{port} offers neither Study Root C-FIND nor {self._asked_by}.")
        failure = failure_of(assoc)
        raise BrokenError(f"{called} at {host}:{port} {f'is not called: {failure}' if failure else 'cannot be reached'}.")

    @property
    def _asked_by(self) -> str:
        return "C-GET" if self.archive.method is Method.GET else "C-MOVE"

    def _identifier(self, level: Level, keys: Mapping[str, str | list[str]]) -> Dataset:
        ds = Dataset()
        if not all(str(value).isascii() for value in keys.values()):
            ds.SpecificCharacterSet = "ISO_IR 192"
        ds.QueryRetrieveLevel = str(level)
        for keyword, value in keys.items():
            setattr(ds, keyword, value)
        return ds

    def _context(self, sop_class: uid.UID, what: str) -> Any:
        assoc = self._open()
        if not any(context.abstract_syntax == sop_class for context in assoc.accepted_contexts):
            raise ArchiveError(f"{self.archive.name} offers no {what} (Study Root); see method in [[archive]].")
        return assoc

    def _find(self, level: Level, keys: Mapping[str, str]) -> Answers:
        assoc = self._context(FIND, "C-FIND")
        found: list[Dataset] = []
        status = Dataset()

        def ask() -> Any:
            return assoc.send_c_find(self._identifier(level, keys), FIND)

        for status, identifier in self._answers(assoc, ask, lambda _: 0):
            if status.Status in PENDING and identifier is not None:
                found.append(identifier)
            if len(found) > MOST_ANSWERS:
                assoc.abort()
                raise ArchiveError(
                    f"{self.archive.name} gives more than {MOST_ANSWERS} answers to one query; is it an archive?"
                )
        audit_events.queried(self._ae_title, self.archive.address, str(FIND), {"QueryRetrieveLevel": str(level), **keys})
        code = int(status.Status)
        if code != SUCCESS and code not in CUT_OFF and not found:
            raise ArchiveError(f"{self.archive.name} refuses the query ({_said(status)}).")
        return Answers(found=found, cut_off=code != SUCCESS)

    def _answers(
        self, assoc: Any, ask: Callable[[], Any], done: Callable[[Dataset], int]
    ) -> Iterator[tuple[Dataset, Dataset | None]]:
        """Every answer to one request. Raises BrokenError where the last one does not come. done: a number that grows while
        the archive works; one that reads tapes lets it stand for long, and none for ever."""
        begun = grown = time.monotonic()
        most, stuck = 0, False
        try:
            with undisturbed(assoc):
                for status, identifier in ask():
                    if "Status" not in status or stuck:
                        break
                    begun = time.monotonic()
                    yield status, identifier
                    if status.Status not in PENDING:
                        return
                    if done(status) > most:
                        most, grown = done(status), begun
                    stuck = begun - grown > PATIENCE * self.archive.timeout_s
        except RuntimeError:  # it ended between two requests
            pass
        silent = time.monotonic() - begun
        assoc.abort()
        self._go_on()
        if stuck:
            raise BrokenError(
                f"{self.archive.name} only said that it goes on for {begun - grown:.0f} s ({PATIENCE} times timeout_s) and was "
                "given up."
            )
        if silent >= 0.9 * self.archive.timeout_s:
            raise BrokenError(f"{self.archive.name} was silent for {silent:.0f} s (timeout_s) and was given up.")
        raise BrokenError(f"{self.archive.name} ended the association before it had answered.")

    def _bring(self, level: Level, keys: Mapping[str, str | list[str]], tell: Callable[[], None]) -> Outcome:
        get = self.archive.method is Method.GET
        assoc = self._context(GET if get else MOVE, self._asked_by)
        identifier = self._identifier(level, keys)
        last = Dataset()

        def ask() -> Any:
            return assoc.send_c_get(identifier, GET) if get else assoc.send_c_move(identifier, self.destination, MOVE)

        for status, _ in self._answers(assoc, ask, _suboperations):
            last = status
            tell()
        return Outcome(
            code=int(last.Status),
            completed=_number(last, "Completed"),
            failed=_number(last, "Failed"),
            sentence=self._wrong(last),
        )

    def _wrong(self, status: Dataset) -> str:
        """What the archive's last word means, and what to do; empty after a success."""
        name, code = self.archive.name, int(status.Status)
        if code == SUCCESS:
            return ""
        if code == UNKNOWN_DESTINATION:
            return (
                f"{name} does not know the move destination {self.destination}, or cannot reach it (status 0xA801); enter this "
                "AE title there, with the address and port of this node."
            )
        failed = status.get("NumberOfFailedSuboperations", None)
        todo = self._see_both_sides()
        objects = f"could not send {failed} object(s)" if failed else f"refuses {self._asked_by}"
        return f"{name} {objects} ({_said(status)}){todo}."

    def _see_both_sides(self) -> str:
        if self.archive.method is Method.GET:
            return "; where this machine has refused them, its log says why"
        return f"; see whether it knows {self.destination}, and whether [receiver] allow of this node admits it"


def _suboperations(status: Dataset) -> int:
    """How many are over."""
    return sum(_number(status, kind) for kind in ("Completed", "Failed", "Warning"))


def _number(status: Dataset, kind: str) -> int:
    return int(status.get(f"NumberOf{kind}Suboperations", 0) or 0)


def _said(status: Dataset) -> str:
    """A status as the archive gave it; its comment may hold anything, so it is one line of limited length."""
    comment = plain(status.get("ErrorComment", "") or "").strip()[:64]
    return f"status 0x{int(status.Status):04X}{f', {comment}' if comment else ''}"

"""The receiver's end of a connection: pynetdicom's upper layer, woken by what happens, and with bounds on what a peer may send.

pynetdicom looks every millisecond whether something has come, in two threads for each association; it copies a message four
times, waits without end for the rest of a PDU, believes any length, and measures its timeouts by the clock on the wall. Here
its own classes are used with those five things exchanged.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

from service.keeping import StoreHandler, Storing
from service.receiver_socket import Wire
from service.receiver_stores import StoreRequest, answer, store_request
from service.tables import Ending

HEADER = struct.Struct(">BBL")  # PS3.8 9.3: type, reserved, length of what follows
ITEM = struct.Struct(">LBB")  # PS3.8 9.3.5.1: length of what follows, presentation context, kind of piece
COMMAND, LAST = 0x01, 0x02  # PS3.8 E.2
P_DATA_TF, PDU_TYPES = 0x04, range(0x01, 0x08)
ESTABLISHED, CLOSING = "Sta6", "Sta13"  # PS3.8 9.2
CLOSED, UNREADABLE = "Evt17", "Evt19"
LONGEST_NEGOTIATION = 1 << 20  # 128 presentation contexts with all their syntaxes are below 100 kB
LONGEST_MESSAGE = 1 << 26  # that is no object: a request for storage commitment of half a million
MAXIMUM_DRAINED = 65536  # bytes at a time
LOOK_AGAIN_S = 0.25  # for what nobody wakes us: timeouts


class UnreadableError(Exception):
    """The peer sends what is no DICOM, or more than is believed; the association is aborted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is believed of a peer: the longest PDU in bytes, and how long one that has begun may take, before and after the
    association is established."""

    pdu: int
    negotiation_s: float
    silence_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An object of which the last piece is not here yet."""

    request: StoreRequest
    storing: Storing


class SteadyTimer(Timer):
    """A timer that a change of the clock does not move."""

    def start(self) -> None:
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        self._end_time = time.monotonic()

    @property
    def expired(self) -> bool:
        """One that was stopped late does not expire afterwards."""
        return self._end_time is None and super().expired

    @property
    def remaining(self) -> float:
        if self.timeout is None:
            return 1.0
        if self._start_time is None:
            return float(self.timeout)
        until = time.monotonic() if self._end_time is None else self._end_time
        return float(self.timeout - (until - self._start_time))


class Checkpoint(threading.Event):
    """Where the association's loop pauses: until there is something for it to look at, and while a message of ours is out."""

    def __init__(self, assoc: Any) -> None:
        super().__init__()
        self._assoc, self._news = assoc, threading.Event()
        super().set()

    @property
    def has_news(self) -> bool:
        assoc = self._assoc
        return bool(assoc.dimse.msg_queue.queue or assoc.dul.to_user_queue.queue)  # asked often, hence without their locks

    def ring(self) -> None:
        self._news.set()

    def set(self) -> None:
        super().set()
        self.ring()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.has_news:
            self._news.wait(LOOK_AGAIN_S)
        self._news.clear()
        return super().wait(timeout)


class UpperLayer(DULServiceProvider):
    """Sleeps until the peer sends or this node does."""

    def __init__(self, assoc: Any, bounds: Bounds, stores: StoreHandler) -> None:
        super().__init__(assoc)
        usual = assoc.dul
        self._bounds, self._stores, self._checkpoint = bounds, stores, assoc._reactor_checkpoint
        self._command = bytearray()
        self._incoming: Incoming | None = None
        self._storing = False
        self._idle_timer, self.artim_timer = SteadyTimer(usual._idle_timer.timeout), SteadyTimer(usual.artim_timer.timeout)
        self._run_loop_delay = 0
        self._guard = threading.Lock()
        self._ended = False
        self._poll, self._watched = select.poll(), -1
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self.daemon = True

    def end(self) -> None:
        """Let go of half an object, and give the pipe back: a number that others may have by now is not written to."""
        if self._incoming is not None:
            self._incoming.storing.give_up()
        self._stores.close(self._assoc, Ending.BROKEN)  # unless its release was noted before
        with self._guard:
            self._ended = True
            os.close(self._wake)
            os.close(self._woken)

    def wake(self) -> None:
        with self._guard, contextlib.suppress(BlockingIOError):  # a full pipe wakes, too
            if not self._ended:
                os.write(self._wake, b"!")

    def idle_timer_expired(self) -> bool:
        return not self._storing and super().idle_timer_expired()

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self.wake()
        self._checkpoint.ring()

    def stop_dul(self) -> bool:
        """End the thread where the connection is closed; False where it is not."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        if self.is_alive():
            self.join()
        return True

    def _is_transport_event(self) -> bool:
        """Sleep until the peer has sent something, and take it; pieces of objects one after the other."""
        if self.socket is None or self.socket.socket is None:
            return super()._is_transport_event()
        if self.state_machine.current_state == CLOSING:
            self._drain(self.socket)
            return True
        while self._comes():
            self._read_pdu_data()
            if self._checkpoint.has_news or self.event_queue.queue or self.to_provider_queue.queue:
                return True
            self._idle_timer.restart()
        return False

    def _drain(self, wire: AssociationSocket) -> None:
        """Our last word is said. What still comes is let go: unread, it would make TCP take our word back."""
        connection = cast(socket.socket, wire.socket)
        try:
            if self._watched not in dict(self._poll.poll(0)) or not connection.recv(MAXIMUM_DRAINED):
                wire.close()
        except OSError:
            wire.close()

    def _comes(self) -> bool:
        """Wait until the peer has sent something, or there is something else to do: whether it has."""
        if self._checkpoint.has_news:
            self._checkpoint.ring()
        wire = cast(Wire, self.socket)
        if wire.holds or (isinstance(wire.socket, ssl.SSLSocket) and wire.socket.pending()):
            return True
        pause_s = 0 if self.event_queue.queue else LOOK_AGAIN_S  # one event is handled between two looks
        ready = dict(self._poll.poll(1000 * pause_s))
        if self._woken in ready:
            os.read(self._woken, 4096)
        return self._watched in ready

    def watch(self, connection: Any) -> None:
        self._watched = connection.fileno()
        for descriptor in (self._watched, self._woken):
            self._poll.register(descriptor, select.POLLIN)

    def _read_pdu_data(self) -> None:
        try:
            event = self._read()
        except UnreadableError:
            event = UNREADABLE
        except OSError:
            event = CLOSED
        if event:
            self.event_queue.put(event)

    def _read(self) -> str:
        """One PDU; returns what has happened. Raises OSError (connection broken, peer silent) and UnreadableError."""
        wire = cast(Wire, self.socket)
        established = self.state_machine.current_state == ESTABLISHED
        patience = self._bounds.silence_s if established else self._bounds.negotiation_s
        wire.limit(patience)
        deadline = time.monotonic() + patience
        view = wire.read(HEADER.size, deadline)
        if view is None:
            return CLOSED
        header = bytes(view)
        kind, _, length = HEADER.unpack(header)
        if kind not in PDU_TYPES or length > (self._bounds.pdu if kind == P_DATA_TF else LONGEST_NEGOTIATION):
            raise UnreadableError
        body = wire.read(length, deadline)
        if body is None:
            return CLOSED
        if kind == P_DATA_TF and established:
            return self._take(body)
        pdu, event = self._decode_pdu(bytearray(header + body))  # raises what it likes on rubbish: the association is aborted
        self._recv_pdu.put(pdu)
        return str(event)

    def _take(self, body: memoryview) -> str:
        """Pieces of a message, without a detour through the state machine, which would not move. Raises UnreadableError."""
        at = 0
        while at < len(body):
            if at + ITEM.size > len(body):
                raise UnreadableError
            length, context, control = ITEM.unpack_from(body, at)
            end = at + 4 + length
            if length < 2 or end > len(body):
                raise UnreadableError
            self._piece(context, control, body[at + ITEM.size : end])
            at = end
        return ""

    def _piece(self, context: int, control: int, piece: memoryview) -> None:
        """Stores are handled here, all other messages by pynetdicom. Raises UnreadableError."""
        if control & COMMAND:
            self._command += piece
            if len(self._command) > LONGEST_NEGOTIATION:
                raise UnreadableError
            if control & LAST:
                command, self._command = bytes(self._command), bytearray()
                self._begin(context, command)
        elif self._incoming is None:
            self._pass_on(context, bytes([control]) + piece)
        else:
            self._incoming.storing.write(piece)
            if control & LAST:
                self._answer(self._incoming)

    def _begin(self, context: int, command: bytes) -> None:
        try:
            request = store_request(context, command)
        except ValueError:
            raise UnreadableError from None
        accepted = self._assoc._accepted_cx.get(context)
        if self._incoming is not None or accepted is None:
            raise UnreadableError
        if request is None:
            self._pass_on(context, bytes([COMMAND | LAST]) + command)
        else:
            uids = (request.sop_class_uid, request.sop_instance_uid, str(accepted.transfer_syntax[0]))
            self._incoming = Incoming(request=request, storing=self._stores.begin(self._assoc, *uids))

    def _answer(self, incoming: Incoming) -> None:
        self._storing = True  # a disk that is slow is no silence of the peer
        status = incoming.storing.end()
        self._incoming = None
        self._idle_timer.restart()
        self._storing = False
        cast(Wire, self.socket).send(answer(incoming.request, status))

    def _pass_on(self, context: int, content: bytes) -> None:
        message: Any = P_DATA()
        message.presentation_data_value_list = [[context, content]]
        dimse = self._assoc.dimse
        dimse.receive_primitive(message)
        if dimse.message is not None and cast(BytesIO, dimse.message.data_set).tell() > LONGEST_MESSAGE:
            raise UnreadableError


class Acceptor(Association):
    """An association that was asked for; whatever ends it, its end is told."""

    def run(self) -> None:
        with contextlib.ExitStack() as ends:  # each is done whatever becomes of the others: a place must not be kept for ever
            ends.callback(cast(Any, self._server).left, self)  # a Door
            ends.callback(cast(UpperLayer, self.dul).end)
            ends.callback(self.dul.stop_dul)
            super().run()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """A request that lacks what its answer would name is ended; pynetdicom lets it wait for one until it gives up."""
        if msg.is_valid_request or msg.is_valid_response:
            super()._serve_request(msg, context_id)
        else:
            self.abort()

    def kill(self) -> None:
        """A caller who has asked for nothing in time is let go, also one who asks at this moment: nobody would answer."""
        wire = cast(Wire, self.dul.socket)
        if self.requestor.primitive is None and wire.socket is not None:
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
        super().kill()


def quicken(assoc: Any, connection: Any, bounds: Bounds, stores: StoreHandler) -> None:
    """Exchange the parts of an association that pynetdicom has just made; there is no place to name others to it."""
    assoc.__class__ = Acceptor
    assoc._reactor_checkpoint = Checkpoint(assoc)
    assoc.dul = UpperLayer(assoc, bounds, stores)
    assoc.dul.watch(connection)
    assoc.dul.socket = Wire(assoc, connection)
    assoc.dul.socket.limit(bounds.negotiation_s)

"""The receiver's end of a connection: pynetdicom's upper layer, woken by what happens, and with bounds on what a peer may send.

pynetdicom looks every millisecond whether something has come, in two threads for each association; it copies a message four
times, waits without end for the rest of a PDU, believes any length, and measures its timeouts by the clock on the wall. Here
its own classes are used with those five things exchanged.
"""

from __future__ import annotations

import contextlib
import os
import select
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

HEADER = struct.Struct(">BBL")  # PS3.8 9.3: type, reserved, length of what follows
ITEM = struct.Struct(">LB")  # PS3.8 9.3.5.1: length of what follows, presentation context
P_DATA_TF, PDU_TYPES = 0x04, range(0x01, 0x08)
ESTABLISHED = "Sta6"
CLOSED, UNREADABLE = "Evt17", "Evt19"
LONGEST_NEGOTIATION = 1 << 20  # 128 presentation contexts with all their syntaxes are below 100 kB
LOOK_AGAIN_S = 0.25  # for what nobody wakes us: timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is believed of a peer. pdu, object: bytes; pdu_s: within which a PDU that has begun must be here."""

    pdu: int
    object: int
    pdu_s: float


class SteadyTimer(Timer):
    """A timer that a change of the clock does not move."""

    def start(self) -> None:
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        self._end_time = time.monotonic()

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
        return not (self._assoc.dimse.msg_queue.empty() and self._assoc.dul.to_user_queue.empty())

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


class Wire(AssociationSocket):
    """The connection; reads what was asked for, in large pieces and within bounded time."""

    def fill(self, view: memoryview, deadline: float) -> bool:
        """Whether all bytes came. Raises TimeoutError."""
        connection: Any = self.socket
        while view:
            got = connection.recv_into(view)
            if not got:
                return False
            view = view[got:]
            if view and time.monotonic() > deadline:
                raise TimeoutError
        return True


class UpperLayer(DULServiceProvider):
    """Sleeps until the peer sends or this node does."""

    def __init__(self, assoc: Any, bounds: Bounds) -> None:
        super().__init__(assoc)
        usual = assoc.dul
        self._bounds, self._checkpoint = bounds, assoc._reactor_checkpoint
        self._idle_timer, self.artim_timer = SteadyTimer(usual._idle_timer.timeout), SteadyTimer(usual.artim_timer.timeout)
        self._run_loop_delay = 0
        self._buffer = bytearray(HEADER.size)
        self._guard = threading.Lock()
        self._ended = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self.daemon = True

    def end(self) -> None:
        """Give the pipe back; a number that others may have by now is not written to."""
        with self._guard:
            self._ended = True
            os.close(self._wake)
            os.close(self._woken)

    def wake(self) -> None:
        with self._guard, contextlib.suppress(BlockingIOError):  # a full pipe wakes, too
            if not self._ended:
                os.write(self._wake, b"!")

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        """End the thread where the connection is closed; False where it is not."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def _is_transport_event(self) -> bool:
        if self._checkpoint.has_news:
            self._checkpoint.ring()
        self._await()
        return super()._is_transport_event()

    def _await(self) -> None:
        """Until there is something to do, or a moment has passed."""
        connection: Any = self.socket.socket if self.socket else None
        if connection is None or self.state_machine.current_state == "Sta13":
            return
        if not self.event_queue.empty() or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        if any(descriptor == self._woken for descriptor, _ in poll.poll(1000 * LOOK_AGAIN_S)):
            os.read(self._woken, 4096)

    def _read_pdu_data(self) -> None:
        try:
            event = self._read()
        except OSError:
            event = CLOSED
        if event:
            self.event_queue.put(event)

    def _read(self) -> str:
        """One PDU; returns what has happened. Raises OSError where the connection broke or the peer fell silent."""
        wire: Any = self.socket
        deadline = time.monotonic() + self._bounds.pdu_s
        header = bytearray(HEADER.size)
        if not wire.fill(memoryview(header), deadline):
            return CLOSED
        kind, _, length = HEADER.unpack(header)
        if kind not in PDU_TYPES or length > (self._bounds.pdu if kind == P_DATA_TF else LONGEST_NEGOTIATION):
            return UNREADABLE
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        body = memoryview(self._buffer)[:length]
        if not wire.fill(body, deadline):
            return CLOSED
        if kind == P_DATA_TF and self.state_machine.current_state == ESTABLISHED:
            return self._take(body)
        pdu, event = self._decode_pdu(header + body)  # raises what it likes on rubbish: the association is aborted
        self._recv_pdu.put(pdu)
        return str(event)

    def _take(self, body: memoryview) -> str:
        """A piece of a message, without a detour through the state machine, which would not move."""
        items, at = [], 0
        while at < len(body):
            if at + ITEM.size + 1 > len(body):
                return UNREADABLE
            length, context = ITEM.unpack_from(body, at)
            if length < 2 or at + 4 + length > len(body):
                return UNREADABLE
            items.append((context, body[at + ITEM.size : at + 4 + length]))
            at += 4 + length
        message = P_DATA()
        message._presentation_data_value_list = items
        dimse = self._assoc.dimse
        dimse.receive_primitive(message)
        too_long = dimse.message is not None and dimse.message.data_set.tell() > self._bounds.object
        return UNREADABLE if too_long else ""


class Acceptor(Association):
    """An association that was asked for; whatever ends it, its end is told."""

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.dul.stop_dul()
            evt.trigger(self, evt.EVT_CONN_CLOSE, {"address": self.requestor.address_info.as_tuple})
            self.dul.end()


def quicken(assoc: Any, connection: Any, bounds: Bounds) -> None:
    """Exchange the parts of an association that pynetdicom has just made; there is no place to name others to it."""
    connection.settimeout(bounds.pdu_s)
    assoc.__class__ = Acceptor
    assoc._reactor_checkpoint = Checkpoint(assoc)
    assoc.dul = UpperLayer(assoc, bounds)
    assoc.dul.socket = Wire(assoc, client_socket=connection)

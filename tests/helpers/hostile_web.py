"""An HTTP server that reads a request and then sends whatever bytes it is told, at its own pace."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

Answer = Callable[[bytes], Iterable[bytes]]  # request > pieces of the answer; the connection is closed after the last


class HostileServer:
    """read_s: before each piece of a request is read."""

    def __init__(self, answer: Answer, *, read_s: float = 0.0, buffer: int = 0) -> None:
        self._answer, self._read_s = answer, read_s
        self._listener = socket.socket()
        if buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(20)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/dicom-web"
        self.requests: list[bytes] = []
        self._ended = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[HostileServer]:
        threads = [threading.Thread(target=self._accept, daemon=True)]
        threads[0].start()
        try:
            yield self
        finally:
            self._ended.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller:
            request = self._read(caller)
            self.requests.append(request)
            for piece in self._answer(request):
                if self._ended.is_set():
                    return
                caller.sendall(piece)

    def _read(self, caller: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._more(caller)
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while len(body) < (lengths or [0])[0]:
            body += self._more(caller)
        return head + b"\r\n\r\n" + body

    def _more(self, caller: socket.socket) -> bytes:
        self._ended.wait(self._read_s)
        piece = caller.recv(65536)
        if not piece or self._ended.is_set():
            raise ConnectionError("the caller is gone")
        return piece


def uid_of(request: bytes) -> str:
    """SOPInstanceUID of an object in explicit little endian."""
    uid = request.split(b"\x08\x00\x18\x00UI")[1]
    return uid[2 : 2 + int.from_bytes(uid[:2], "little")].decode().rstrip("\0")


def dripped(content: bytes, pause_s: float) -> Iterator[bytes]:
    """Byte by byte, then the last one again and again."""
    for byte in itertools.chain(content, itertools.repeat(content[-1])):
        yield bytes([byte])
        time.sleep(pause_s)

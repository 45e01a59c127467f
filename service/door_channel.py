"""How a connection gets from the node, which has the port, to a process that serves it: its descriptor, as a message."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

_CONNECTION, _OVER = b"connection", b"over"


class Gone(Exception):  # noqa: N818  no error of this process
    """The node has ended without a word."""


class Over(OSError):  # noqa: N818  likewise; an OSError for socketserver, which lets those of get_request go
    """The node asks the process to end."""


class Channel:
    """One door's way to one process. theirs: the end that the process inherits."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)

    def give(self, connection: socket.socket) -> bool:
        """Whether it is on its way; the connection stays open here, too."""
        try:
            socket.send_fds(self._ours, [_CONNECTION], [connection.fileno()])
        except OSError:  # it has ended, or takes nothing in
            return False
        return True

    def end(self) -> None:
        """Ask the process to end."""
        with suppress(OSError):
            self._ours.send(_OVER)

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()


def received(channel: socket.socket) -> socket.socket:
    """The next connection that the node hands over. Raises Over, Gone, and OSError where no more can be open here: it is
    lost then."""
    word, descriptors, _, _ = socket.recv_fds(channel, len(_CONNECTION), 1)
    if word == _OVER:
        raise Over
    if not word:
        raise Gone
    if not descriptors:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return socket.socket(fileno=descriptors[0])

"""TLS between a node and a Dask scheduler on another machine: whoever may speak to a scheduler can run code on its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.errors import BadSettings
from service.tls import TlsError, TlsSettings, load_own

if TYPE_CHECKING:
    from distributed.security import Security


def security_of(scheduler: str, tls: TlsSettings) -> Security | None:
    """What node, scheduler and worker need for a tls:// scheduler; None for any other. All show certificates of ca_file.

    Raises BadSettings where [tls] lacks what it takes, or it cannot be used.
    """
    if not scheduler.startswith("tls://"):
        return None
    if tls.certificate_file is None or tls.ca_file is None:
        raise BadSettings("[node] scheduler: tls:// needs certificate_file and ca_file of [tls].")
    if tls.key_password_file or tls.key_password_env:
        raise BadSettings("[node] scheduler: Dask opens no key with a password; give [tls] a key_file without one.")
    import ssl

    try:
        load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)
    except TlsError as error:
        raise BadSettings(str(error)) from None
    from distributed.security import Security

    shown = {"cert": str(tls.certificate_file), "key": str(tls.key_file or tls.certificate_file)}
    return Security(  # type: ignore[no-untyped-call]
        **{f"tls_{role}_{part}": path for role in ("client", "scheduler", "worker") for part, path in shown.items()},
        tls_ca_file=str(tls.ca_file),
        tls_min_version=ssl.TLSVersion.TLSv1_2,
        require_encryption=True,
    )

"""Certificates of a small authority, made by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for this machine; strangers are signed by another one."""

    def __init__(self, folder: Path, program: Callable[[str], str], name: str = "Test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._openssl = folder, program("openssl")
        self.file, self._key = folder / "ca.pem", folder / "ca.key"
        self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self._key))
        more = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._run(
            "req", "-x509", "-new", "-key", str(self._key), "-days", "30", "-subj", f"/CN={name}", "-out", str(self.file), *more
        )

    def pair(self, name: str, *, days: int = 20, rsa: int = 0, names: str = "DNS:localhost,IP:127.0.0.1") -> Pair:
        """A certificate with this CN for client and server. rsa: bits; 0: an elliptic curve."""
        stem = self._folder / f"{name}-{days}-{rsa}"
        key, request, certificate, words = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem", ".ext"))
        kind = ("genrsa", "-out", str(key), str(rsa)) if rsa else ("ecparam", "-name", "prime256v1", "-genkey", "-noout")
        self._run(*kind, *(() if rsa else ("-out", str(key))))
        self._run("req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-out", str(request))
        words.write_text(f"subjectAltName={names}\nextendedKeyUsage=clientAuth,serverAuth\nbasicConstraints=CA:FALSE\n")
        signed = ("-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial", "-extfile", str(words), "-sha256")
        days_words = ("-days", str(days))
        self._run("x509", "-req", "-in", str(request), *signed, *days_words, "-out", str(certificate))
        return Pair(certificate=certificate, key=key)

    def with_password(self, pair: Pair, password: str) -> Pair:
        """The same key, encrypted."""
        locked = pair.key.with_suffix(".locked")
        self._run("pkey", "-in", str(pair.key), "-aes256", "-passout", f"pass:{password}", "-out", str(locked))
        return Pair(certificate=pair.certificate, key=locked)

    def _run(self, *words: str) -> None:
        subprocess.run([self._openssl, *words], check=True, capture_output=True, timeout=30)

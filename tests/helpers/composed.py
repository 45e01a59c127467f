"""deploy/compose.yaml as processes of this machine: its commands and settings, with this machine's addresses in place."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nodes import QUICK

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SETTINGS = "/etc/duet/duet.toml"


def services() -> dict[str, dict[str, Any]]:
    """What compose.yaml starts, by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def command(service: str, config: Path, *more: str) -> list[str]:
    """The words after `duet` of one service, with its settings where they lie here; more: words that come last."""
    words = [str(config) if word == SETTINGS else word for word in services()[service]["command"]]
    return [*("127.0.0.1" if word == "0.0.0.0" else word for word in words), *more]  # noqa: S104


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where things are on this machine in place of the names that compose gives."""

    data: Path
    database: str  # host:port/name
    scheduler: int
    door: int
    pages: int
    archive: int


def settings(folder: Path, here: Here) -> str:
    """deploy/compose/duet.toml for this machine; makes its secrets and certificates as compose.yaml says."""
    for name in ("journal_password", "web_password"):
        (folder / name).write_text("a password of a test\n")
        (folder / name).chmod(0o600)
    certificates = folder / "certificates"
    subprocess.run([DEPLOY / "make-certificates.sh", certificates, "scheduler", "duet"], check=True, capture_output=True)
    text = (DEPLOY / "compose" / "duet.toml").read_text()
    for there, of_here in (
        ("/var/lib/duet", str(here.data)),
        ("postgres/duet", here.database),
        ("/run/secrets", str(folder)),
        ("/etc/duet/certificates", str(certificates)),
        ("scheduler:8786", f"127.0.0.1:{here.scheduler}"),
        ("orthanc:4242", f"127.0.0.1:{here.archive}"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("port = 11112", f"port = {here.door}\nfree_gb = 0"),
        ("port = 8080", f"port = {here.pages}"),
        ('allow = ["ORTHANC"]', 'allow = ["ORTHANC", "SCANNER"]'),
    ):
        assert there in text, f"deploy/compose/duet.toml no longer holds {there}"
        text = text.replace(there, of_here)
    return text + QUICK.format(held="true")


def archive(door: int) -> dict[str, Any]:
    """deploy/compose/orthanc.json for this machine, without the ports of Orthanc itself."""
    found: dict[str, Any] = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
    found["DicomModalities"]["duet"] |= {"Host": "127.0.0.1", "Port": door}
    return {name: value for name, value in found.items() if name not in ("DicomPort", "HttpPort", "Name")}

"""What deploy/ holds agrees with what there is: paths, commands, units. No container engine runs here.

tests/test_journey_scale.py runs the services of compose.yaml together.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from composed import DEPLOY, SETTINGS, services

from service.config import load

ROOT = DEPLOY.parent
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def test_the_image_copies_what_there_is_and_all_that_the_wheel_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / word).exists() for word in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.partition(".")[0] for name in packages} <= set(copied)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(copied), ".dockerignore lets through what the Dockerfile copies"


def test_each_service_of_ours_has_a_command_that_exists(program: Callable[[str], str]) -> None:
    ours = {name: each for name, each in services().items() if each.get("image") == "duet"}
    assert set(ours) == {"duet", "scheduler", "worker"}
    for each in ours.values():
        name, *words = each["command"]
        shown = subprocess.run([program("duet"), name, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
        assert all(word in shown for word in words if word.startswith("--"))
        assert SETTINGS in words


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_is_one_that_systemd_takes(unit: Path, tmp_path: Path, program: Callable[[str], str]) -> None:
    """As systemd-analyze verifies it, with this machine's duet in place of the one to be installed."""
    text = unit.read_text()
    (started,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    words = started.split()
    shown = subprocess.run([program("duet"), words[1], "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert words[0] == "/opt/duet/bin/duet"
    assert all(word in shown for word in words if word.startswith("--"))
    here = tmp_path / unit.name
    here.write_text(text.replace("/opt/duet/bin/duet", program("duet")))
    told = subprocess.run([program("systemd-analyze"), "verify", here], capture_output=True, text=True, check=False, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")


def test_whatever_ends_is_started_again_however_often() -> None:
    """A node whose database is away ends with a sentence. systemd gives up after five starts in ten seconds unless told."""
    for unit in UNITS:
        read = configparser.ConfigParser(strict=False, interpolation=None)
        read.read(unit)
        assert (read["Service"]["Restart"], read["Unit"]["StartLimitIntervalSec"]) == ("always", "0"), unit.name
    assert {each["restart"] for each in services().values()} == {"unless-stopped"}


def test_the_settings_of_compose_are_settings() -> None:
    told = load(DEPLOY / "compose" / "duet.toml")
    assert set(told.tables) >= {"node", "receiver", "tls", "web"}


def test_certificates_are_made_once_and_belong_together(tmp_path: Path, program: Callable[[str], str]) -> None:
    for _ in range(2):
        subprocess.run([DEPLOY / "make-certificates.sh", tmp_path, "scheduler", "duet"], check=True, capture_output=True)
    ours, ca = tmp_path / "duet.pem", tmp_path / "ca.pem"
    subprocess.run([program("openssl"), "verify", "-CAfile", ca, ours], check=True, capture_output=True)
    text = subprocess.run(
        [program("openssl"), "x509", "-in", ours, "-noout", "-text"], capture_output=True, text=True, check=True
    )
    assert "DNS:scheduler, DNS:duet" in text.stdout
    assert (tmp_path / "duet.key").stat().st_mode & 0o077 == 0

"""Secrets: had from a file or the environment, and never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.secret import SecretError, check_one, open_to_others, secret, text_of


def test_a_secret_comes_from_its_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("s p\u00e4ce\n", encoding="utf-8")
    monkeypatch.setenv("DUET_TEST_SECRET", "other")
    assert secret("password", file, "") == "s p\u00e4ce"
    assert secret("password", None, "DUET_TEST_SECRET") == "other"
    assert secret("password", None, "") == ""


def test_what_cannot_be_had_is_told_without_the_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="password_env: there is no environment variable DUET_TEST_ABSENT"):
        secret("password", None, "DUET_TEST_ABSENT")
    with pytest.raises(SecretError, match=r"password_file: .*absent cannot be read: No such file"):
        secret("password", tmp_path / "absent", "")
    (tmp_path / "bytes").write_bytes(b"hidden\xff")
    with pytest.raises(SecretError, match="is no text in UTF-8") as told:
        text_of("headers_file", tmp_path / "bytes")
    assert "hidden" not in str(told.value)
    with pytest.raises(ValueError, match="password_file and password_env are both set"):
        check_one("password", tmp_path, "NAME")


def test_a_file_that_everybody_can_read_is_known(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    for mode, expected in ((0o644, True), (0o640, False), (0o600, False)):
        file.chmod(mode)
        assert open_to_others(file) is expected
    assert not open_to_others(tmp_path / "absent")

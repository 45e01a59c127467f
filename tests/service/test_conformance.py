"""The conformance statement: complete, and the one in docs/ is that of this version."""

from __future__ import annotations

from pathlib import Path

from pynetdicom.sop_class import uid_to_service_class

from dicom_io import codes
from service.conformance import MEASURED, statement

ROOT = Path(__file__).resolve().parents[2]


def test_the_statement_in_docs_is_that_of_this_version() -> None:
    """Renewed by: duet conformance > docs/CONFORMANCE.md"""
    assert (ROOT / "docs" / "CONFORMANCE.md").read_text(encoding="utf-8") == statement()


def test_nothing_in_it_was_left_open() -> None:
    text = statement()
    assert "{{" not in text
    assert "|  |  |" not in text
    assert "research use only" in text
    assert all(f"`{code.value}`" in text and code.meaning in text for code in codes.own_codes())


def test_what_it_calls_storage_classes_are_storage_classes() -> None:
    """By pynetdicom's own table."""
    assert all(uid_to_service_class(uid).__name__ == "StorageServiceClass" for uid in MEASURED)

"""The rejection note: what it names, and that highdicom and dcmtk read it as one."""

from __future__ import annotations

from pathlib import Path

import highdicom
import pytest
import srtree
from cohort_occasions import made, next_version, occasion, saved
from objects import dsrdump, errors
from pydicom import dcmread

from dicom_io.cohort_kos import write_superseded


def test_it_names_both_objects_of_the_older_version_in_their_study() -> None:
    older = made()
    ds = next_version(older)["kos-superseded"]
    replaced = {x.SOPInstanceUID for x in older.values()}
    assert (ds.Modality, ds.SOPClassUID) == ("KO", "1.2.840.10008.5.1.4.1.1.88.59")
    title = ds.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    assert srtree.references(ds) == {ds.StudyInstanceUID: replaced}
    named = {x.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for x in srtree.children(ds) if x.ValueType == "COMPOSITE"}
    assert named == replaced
    assert any("Replaced by version 2" in x.get("TextValue", "") for x in srtree.children(ds))


def test_a_third_version_replaces_the_second_and_rejects_no_note() -> None:
    second = next_version(made())
    third = next_version(second, 3)
    assert srtree.references(third["kos-superseded"]) == {
        second["sr-cohort"].StudyInstanceUID: {second[name].SOPInstanceUID for name in ("report-pdf", "sr-cohort")}
    }


def test_the_first_version_replaces_nothing() -> None:
    with pytest.raises(ValueError, match="replaces none"):
        write_superseded(occasion(), "seed")


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
def test_others_read_it(tmp_path: Path) -> None:
    older = made()
    path = saved(tmp_path, next_version(older))["kos-superseded"]
    assert errors(path) == []
    assert "Rejected for Quality Reasons" in dsrdump(path)[0]
    note = highdicom.ko.KeyObjectSelectionDocument.from_dataset(dcmread(path))
    for ds in older.values():
        assert note.resolve_reference(ds.SOPInstanceUID) == (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)

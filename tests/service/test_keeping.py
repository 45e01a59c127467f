"""What is written before an object's bytes, against pynetdicom's and pydicom's encoder."""

from __future__ import annotations

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from service.keeping import file_meta


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34", "1.2.826.0.1.3680043.8.498." + "7" * 38])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless])
@pytest.mark.parametrize("sender", ["PET", "SCANNER1"])
def test_file_meta_information_is_pynetdicoms(uid: str, syntax: str, sender: str) -> None:
    wanted = create_file_meta(sop_class_uid=CTImageStorage, sop_instance_uid=uid, transfer_syntax=syntax)
    wanted.SourceApplicationEntityTitle = sender
    assert file_meta(CTImageStorage, uid, syntax, sender) == encode_file_meta(wanted)

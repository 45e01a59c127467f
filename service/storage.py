"""C-STORE and C-ECHO to a destination, over associations that are opened here for all that duet requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.sr_enhanced import as_enhanced
from service.destinations import REMARK, Answer, BrokenError, Destination, Kept, Parcel, UndeliveredError
from service.sockets import PROMPT, undisturbed
from service.tls import TlsError, Trust, failure_of

SUCCESS = 0x0000
KIND_REFUSED = 0x0122  # SOP class not supported
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored, with a remark
CONNECT_S, ANSWER_S = 10, 60


def send(paths: Sequence[Path], destination: Destination, ae_title: str) -> Iterator[str]:
    """Send objects in order over one association; yields a remark ("" as a rule) for each that arrived.

    Raises UndeliveredError at the first that did not.
    """
    for answer in offer([Parcel(path=path) for path in paths], destination, ae_title):
        if not answer.taken:
            raise UndeliveredError(answer.sentence)
        yield answer.sentence


def offer(parcels: Sequence[Parcel], destination: Destination, ae_title: str) -> Iterator[Answer]:
    """Send objects in order over one association; yields the answer to each, also where it is a refusal.

    Raises UndeliveredError where no association can be had, BrokenError where it ends before an object was answered.
    """
    answers, kinds = {}, []
    for parcel in parcels:
        try:
            kinds.append(_kind(parcel))
        except (OSError, InvalidDicomError) as error:
            answers[parcel] = unreadable(parcel.path, error)
    # At most 128 contexts may be proposed; a case needs a handful.
    contexts = list(dict.fromkeys(kinds))
    assoc = associate(destination.address, ae_title, contexts, trust=destination.trust) if kinds else None
    if assoc is not None and not assoc.is_established and not assoc.rejected_contexts:
        raise UndeliveredError(why_not(assoc, destination.address))
    try:
        with nullcontext() if assoc is None or not assoc.is_established else undisturbed(assoc):
            for parcel in parcels:
                yield answers.get(parcel) or _offer_one(assoc, parcel)
    finally:
        if assoc is not None:
            leave(assoc)


def echo(destination: Destination, ae_title: str) -> None:
    """C-ECHO. Raises UndeliveredError."""
    call(destination.address, ae_title, destination.trust)


def call(address: tuple[str, str, int], ae_title: str, trust: Trust | None) -> None:
    """C-ECHO to (AE title, host, port). Raises UndeliveredError."""
    assoc = associate(address, ae_title, [(Verification, None)], trust=trust)
    if not assoc.is_established:
        raise UndeliveredError(why_not(assoc, address))
    status = assoc.send_c_echo()
    assoc.release()
    if getattr(status, "Status", None) != SUCCESS:
        raise UndeliveredError(f"{address[0]} does not answer C-ECHO.")


def associate(
    address: tuple[str, str, int],
    ae_title: str,
    contexts: Sequence[tuple[str, str | None]],
    *,
    handlers: Sequence[Any] = (),
    roles: Sequence[Any] = (),
    trust: Trust | None = None,
) -> Any:
    """An association with (AE title, host, port), established or not; contexts: SOP class, transfer syntax (None: the usual).

    One that is not established but has rejected contexts is one on which the peer accepts none of them. trust: for TLS.
    Raises UndeliveredError where this node's certificate or ca_file cannot be used.
    """
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = ae.acse_timeout = CONNECT_S
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax) if syntax else ae.add_requested_context(sop_class)
    called, host, port = address
    try:
        secured = None if trust is None else (trust.context(), host)
    except TlsError as error:
        raise UndeliveredError(str(error)) from None
    return ae.associate(host, port, ae_title=called, evt_handlers=[*PROMPT, *handlers], ext_neg=list(roles), tls_args=secured)


def leave(assoc: Any) -> None:
    """End an association in order, where it still stands."""
    assoc.release() if assoc.is_established else assoc.abort()


def why_not(assoc: Any, address: tuple[str, str, int]) -> str:
    """Why an association was not had, as one sentence."""
    called, host, port = address
    if assoc.is_rejected:
        return f"{called} at {host}:{port} refuses this node; add its AE title there."
    failure = failure_of(assoc)
    return f"{called} at {host}:{port} {f'is not called: {failure}' if failure else 'cannot be reached'}."


def content(parcel: Parcel) -> Dataset:
    """The object as it is sent. Raises OSError, InvalidDicomError; ValueError where it cannot be sent as that other one."""
    ds = dcmread(parcel.path)
    if parcel.sent_as is None:
        return ds
    other = as_enhanced(ds)
    if identity(other) != parcel.sent_as:
        raise ValueError("its file has changed since it was sent as another object")
    return other


def identity(ds: Dataset) -> Kept:
    return Kept(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))


def _kind(parcel: Parcel) -> tuple[str, str]:
    """SOP class and transfer syntax, of which an association is to be told."""
    meta = read_file_meta_info(parcel.path)
    sent = meta.MediaStorageSOPClassUID if parcel.sent_as is None else parcel.sent_as.sop_class_uid
    return str(sent), str(meta.TransferSyntaxUID)


def _offer_one(assoc: Any, parcel: Parcel) -> Answer:
    path = parcel.path
    try:
        ds = content(parcel)
    except (OSError, InvalidDicomError) as error:
        return unreadable(path, error)
    except ValueError as error:
        return Answer(taken=False, sentence=f"{path.name}: {error}.")
    if not any(context.abstract_syntax == ds.get("SOPClassUID") for context in assoc.accepted_contexts):
        kind = ds.file_meta.MediaStorageSOPClassUID.name
        words = f"{path.name}: the archive accepts no objects of this kind ({kind})."
        return Answer(taken=False, sentence=words, kind_refused=True)
    try:
        status = assoc.send_c_store(ds)
    except RuntimeError:
        raise BrokenError(f"{path.name}: the archive ended the association.") from None
    except (ValueError, AttributeError) as error:  # its transfer syntax was not accepted, or it lacks an element
        return Answer(taken=False, sentence=f"{path.name}: {error}")
    return _answer(path, status)


def _answer(path: Path, status: Dataset) -> Answer:
    code = status.get("Status")
    if code is None:
        raise BrokenError(f"{path.name}: the connection broke before the archive answered.")
    if code == SUCCESS:
        return Answer(taken=True)
    if code in WARNINGS:
        return Answer(taken=True, sentence=f"{REMARK} 0x{code:04X}")
    remark = f"{path.name}: refused with status 0x{code:04X} {status.get('ErrorComment', '')}"
    return Answer(taken=False, sentence=f"{remark.strip()}.", kind_refused=code == KIND_REFUSED)


def unreadable(path: Path, error: Exception) -> Answer:
    """What is said of a file that cannot be sent because it cannot be read."""
    return Answer(taken=False, sentence=f"{path.name} cannot be read: {getattr(error, 'strerror', None) or 'no DICOM file'}.")

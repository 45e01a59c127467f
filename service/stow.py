"""STOW-RS (PS3.18 10.5) to a destination: one object a request, so that each has an answer of its own and the order is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from service.destinations import REMARK, Answer, BrokenError, Destination, Parcel, UndeliveredError
from service.storage import ANSWER_S, CONNECT_S, KIND_REFUSED, content, identity, unreadable

if TYPE_CHECKING:
    import requests
    from dicomweb_client.web import DICOMwebClient

JSON = "application/dicom+json"
AT_ONCE = 1 << 31  # bytes; the client's own chunks are a stream that it cannot send a second time
# What the client, or a parser of JSON or XML, makes of a body that it cannot read.
_NOT_READ = (ValueError, LookupError, AttributeError, TypeError, SyntaxError, ArithmeticError, RuntimeError)
# FailureReason, PS3.18 I.2.2
REASONS = {
    0x0110: "processing failure",
    KIND_REFUSED: "it does not support the SOP class",
    0x0124: "not authorized",
    0x0213: "its resources are at their limit",
    0xA700: "out of resources",
    0xA900: "the object does not fit its SOP class",
    0xC000: "it cannot be understood",
}
_ELSEWHERE = "it sends on to another address, and objects go to that of the settings alone"
MEANINGS = {
    **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
    400: "it does not understand the request",
    401: "user and password, or the headers, are not accepted",
    403: "this node may not store there",
    404: "there is no DICOMweb service at this address",
    405: "there is no STOW-RS at this address",
    409: "it does not take the object",
    413: "the object is too large for it",
    415: "it does not take this kind of object or transfer syntax",
    503: "it is busy",
}


def offer(parcels: Sequence[Parcel], destination: Destination) -> Iterator[Answer]:
    """Send objects in order; yields the answer to each, also where it is a refusal.

    Raises UndeliveredError where the destination cannot be reached or lets this node in for nothing, BrokenError where it
    does not answer.
    """
    client, heard = _client(destination)
    for parcel in parcels:
        try:
            ds = content(parcel)
        except (OSError, InvalidDicomError) as error:
            yield unreadable(parcel.path, error)
        except ValueError as error:
            yield Answer(taken=False, sentence=f"{parcel.path.name}: {error}.")
        else:
            yield _offer_one(client, heard, ds, parcel.path.name)


def look(destination: Destination) -> str:
    """What a destination says to a search for one study, as a sentence; not every STOW-RS server can search.

    Raises UndeliveredError.
    """
    import requests

    from service.stow_session import AnswerError

    client, heard = _client(destination)
    try:
        client.search_for_studies(limit=1)
    except requests.HTTPError:
        pass
    except AnswerError as error:
        raise UndeliveredError(f"{destination.url}: {error}.") from None
    except (requests.RequestException, *_NOT_READ) as error:
        raise _unreachable(destination, error) from None
    status = heard[-1].status_code if heard else 0
    if status in (401, 403) or status >= 500:
        raise UndeliveredError(f"{destination.url} answers HTTP {status}{_meaning(status)}.")
    return f"answers HTTP {status} at {destination.url}"


def _client(destination: Destination) -> tuple[DICOMwebClient, list[requests.Response]]:
    """The client, and a list into which it puts each response, since of some it tells less than they say.

    Raises UndeliveredError.
    """
    import requests
    from dicomweb_client.web import DICOMwebClient

    from service.stow_session import Session

    heard: list[requests.Response] = []

    def hear(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
        heard[:] = [response]
        return response

    session = Session(ANSWER_S)
    if destination.user:
        session.auth = requests.auth.HTTPBasicAuth(destination.user.encode(), destination.password().encode())
    if destination.ca_file is not None:
        if not destination.ca_file.is_file():
            raise UndeliveredError(f"ca_file: there is no file {destination.ca_file}.")
        session.verify = str(destination.ca_file)
    client = DICOMwebClient(
        destination.url.rstrip("/"),
        session=session,
        headers={"Accept": JSON, **destination.headers()},
        callback=hear,
        chunk_size=AT_ONCE,
        timeout=(CONNECT_S, ANSWER_S),
    )
    client.set_http_retry_params(retry=False)
    return client, heard


def _offer_one(client: DICOMwebClient, heard: list[requests.Response], ds: Dataset, name: str) -> Answer:
    import requests

    from service.stow_session import AnswerError

    heard.clear()
    said: Mapping[str, Any] = {}
    try:
        said = client.store_instances([ds]).to_json_dict()  # also of XML
    except requests.HTTPError:
        pass  # its response is in `heard`, with the reason
    except requests.ReadTimeout:
        raise BrokenError(f"{name}: the archive did not answer within {ANSWER_S} s.") from None
    except AnswerError as error:
        raise BrokenError(f"{name}: {error}.") from None
    except requests.RequestException as error:
        if _was_there(error):
            raise BrokenError(f"{name}: the connection was lost before it had answered.") from None
        raise _unreachable_at(client.base_url, error) from None
    except _NOT_READ as error:
        if not heard:
            return Answer(taken=False, sentence=f"{name}: {error}.")
    return read_answer(heard[-1].status_code, _json(heard[-1].content) or said, identity(ds).sop_instance_uid, name)


def read_answer(status: int, words: Mapping[str, Any], sop_instance_uid: str, name: str) -> Answer:
    """What a response (in DICOM JSON) says of one object.

    A success that does not name the object is none: it may be the page of a proxy that asks for a password.
    """
    failed = _of(words, "00081198", sop_instance_uid)
    if failed is not None:
        code = _number(failed, "00081197")
        why = REASONS.get(code, f"reason 0x{code:04X}") if code is not None else "no reason given"
        return Answer(taken=False, sentence=f"{name}: refused with HTTP {status}, {why}.", kind_refused=code == KIND_REFUSED)
    stored = _of(words, "00081199", sop_instance_uid)
    if stored is not None and status < 300:
        warning = _number(stored, "00081196")
        return Answer(taken=True, sentence="" if not warning else f"{REMARK} 0x{warning:04X}")
    if status < 400 and status not in MEANINGS:
        return Answer(taken=False, sentence=f"{name}: answered with HTTP {status}, which does not say that it is stored.")
    return Answer(taken=False, sentence=f"{name}: refused with HTTP {status}{_meaning(status)}.", kind_refused=status == 415)


def _meaning(status: int) -> str:
    return f": {MEANINGS[status]}" if status in MEANINGS else ""


def _json(body: bytes) -> Mapping[str, Any]:
    """The response's dataset in DICOM JSON; some wrap it into a list. Empty where it is none."""
    try:
        words = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(words, list):
        words = words[0] if words else {}
    return words if isinstance(words, dict) else {}


def _of(words: Mapping[str, Any], tag: str, sop_instance_uid: str) -> Mapping[str, Any] | None:
    """The item of a sequence that names this object (ReferencedSOPInstanceUID)."""
    for item in _values(words, tag):
        if isinstance(item, dict) and sop_instance_uid in _values(item, "00081155"):
            return item
    return None


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    return next((int(value) for value in _values(item, tag) if isinstance(value, int)), None)


def _values(words: Mapping[str, Any], tag: str) -> list[Any]:
    element = words.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _was_there(error: requests.RequestException) -> bool:
    """Whether it broke off after the connection was there: then it may be this object that it does not bear."""
    import requests
    from urllib3.exceptions import ProtocolError

    return isinstance(error, requests.ConnectionError) and isinstance(next(iter(error.args), None), ProtocolError)


def _unreachable(destination: Destination, error: Exception) -> UndeliveredError:
    return _unreachable_at(destination.url, error)


def _unreachable_at(url: str, error: Exception) -> UndeliveredError:
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return UndeliveredError(f"{url}: its certificate is not trusted; ca_file names those that are.")
    if isinstance(error, requests.ConnectTimeout | requests.ConnectionError):
        return UndeliveredError(f"{url} cannot be reached.")
    return UndeliveredError(f"{url} cannot be asked ({type(error).__name__}).")

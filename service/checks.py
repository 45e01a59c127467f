"""What `duet check` looks at, one line each."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from analysis.errors import ModelUnavailable, Rejected
from analysis.values import Tracer
from service.alert_posts import CHANNELS, AlertSettings
from service.anatomy_models import anatomy_in_use
from service.audit import AuditSettings
from service.cohort_inputs import clinical_table, cohort_section
from service.config import NodeSettings, Settings, load
from service.dask_runner import workers_at
from service.dask_security import security_of
from service.destinations import DeliverySettings, Destination, UndeliveredError
from service.journal import journal_url, open_journal
from service.journal_folder import require_own
from service.journal_upgrade import BackupSettings
from service.models import installed, models_of
from service.node_settings import analysis_of, archives_of, destinations_of, objects_of, rules_of, senders_of
from service.receiver import ReceiverSettings
from service.retention import RetentionSettings
from service.retrieval import Archive, ArchiveError, RetrievalSettings
from service.retrieval_link import Link
from service.secret import needed_secret, open_to_others
from service.storage import call, echo
from service.stow import look
from service.tls import WARN_DAYS, TlsError, TlsSettings, Trust, days_left, load_own
from service.web_settings import WebSettings, check_certificate, keyhole

LEAST_MB = 100  # of free disk, whatever [receiver] free_gb says: results of one case, and the journal
_APART = ("inbox", "cases", "cohort", "logs")  # may lie on disks of their own
Line = tuple[str, bool, str]  # name, whether it is a fault, one sentence


def run_checks(config: Path | None) -> Iterator[Line]:
    """Check one thing after the other; nothing more is checked where the settings are wrong."""
    try:
        settings = load(config)
        source = _settings(settings)
    except Rejected as error:
        yield "settings", True, str(error)
        return
    yield "settings", False, source
    yield _tell("disk", lambda: _disk(settings))
    yield _tell("journal", lambda: _journal(settings))
    yield _tell("door", lambda: _door(settings))
    yield _tell("TLS", lambda: _tls(settings))
    yield _tell("secrets", lambda: _secrets(settings))
    destinations = destinations_of(settings)
    if not destinations:
        yield "destinations", False, "none is set; results stay in the case folders"
    for destination in destinations:
        yield _tell(f"destination {destination.name}", lambda destination=destination: _peer(destination, settings))  # type: ignore[misc]
    for archive in archives_of(settings):
        yield _tell(f"archive {archive.name}", lambda archive=archive: _archive(archive, settings))  # type: ignore[misc]
    yield _tell("scheduler", lambda: _scheduler(settings))
    yield from _weights(settings)
    for tracer in Tracer:
        yield _tell(f"{tracer} lesions", lambda tracer=tracer: _lesions(settings, tracer))  # type: ignore[misc]
    yield _tell("cohort", lambda: _cohort(settings))
    yield _tell("pages", lambda: _pages(settings.section("web", WebSettings)))
    yield _tell("alerts", lambda: _alerts(settings.section("alerts", AlertSettings)))
    yield _tell("anatomy", lambda: anatomy_in_use(settings))
    yield _tell("GPU", lambda: _gpu(settings))


def _tell(name: str, look: Callable[[], str]) -> Line:
    try:
        return name, False, look()
    except (Rejected, OSError, SQLAlchemyError, UndeliveredError, ArchiveError, TlsError) as error:
        return name, True, str(error).splitlines()[0]


def _settings(settings: Settings) -> str:
    settings.section("receiver", ReceiverSettings)
    security_of(settings.node.scheduler, settings.section("tls", TlsSettings))
    settings.section("audit", AuditSettings)
    settings.section("delivery", DeliverySettings)
    settings.section("web", WebSettings)
    settings.section("alerts", AlertSettings)
    rules_of(settings)
    destinations_of(settings)
    archives_of(settings)
    settings.section("retrieval", RetrievalSettings)
    settings.section("backup", BackupSettings)
    settings.section("retention", RetentionSettings)
    senders_of(settings)
    objects_of(settings)
    analysis_of(settings)
    models_of(settings)
    cohort_section(settings)
    without = f"; without effect in this version: {', '.join(settings.unheeded)}" if settings.unheeded else ""
    return f"{settings.source}; AE title {settings.node.ae_title}{without}"


def _disk(settings: Settings) -> str:
    data = settings.node.data.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(data, os.W_OK):
        raise OSError(f"{data} cannot be written")
    free, floor = shutil.disk_usage(data).free / 1e9, settings.section("receiver", ReceiverSettings).free_gb
    if free < floor:
        raise OSError(f"{free:.1f} GB free in {data}; below {floor:g} GB nothing is received")
    for folder in (data, *(data / name for name in _APART if (data / name).is_dir())):
        if (megabytes := shutil.disk_usage(folder).free / 1e6) < LEAST_MB:
            raise OSError(f"{megabytes:.0f} MB free in {folder}; what a node writes needs {LEAST_MB} MB at the least")
    return f"{free:.0f} GB free in {data}"


def _journal(settings: Settings) -> str:
    node = settings.node
    journal = open_journal(node.journal, node.data)
    try:
        require_own(journal, journal_url(node.journal, node.data), node.data)
    finally:
        journal.close()
    return node.journal.rpartition("@")[2] or "SQLite below the data folder"


def _door(settings: Settings) -> str:
    """Whether the port answers (a node runs) or is free (one can be started)."""
    receiver = settings.section("receiver", ReceiverSettings)
    if not receiver.port:
        return "none without TLS ([receiver] port = 0)"
    here = "127.0.0.1" if receiver.host == "0.0.0.0" else receiver.host  # noqa: S104
    try:
        echo(
            Destination(name="this node", url=f"dicom://{settings.node.ae_title}@{here}:{receiver.port}"),
            settings.node.ae_title,
        )
    except UndeliveredError:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((receiver.host, receiver.port))
        return f"no node runs; port {receiver.port} is free"
    return f"the node answers C-ECHO on port {receiver.port}"


def _tls(settings: Settings) -> str:
    """Whether the certificate can be used and for how long, and whether the TLS door answers. Raises TlsError."""
    tls = settings.section("tls", TlsSettings)
    if tls.certificate_file is None:
        return "not set up; what is sent and received can be read on the network"
    load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
    days = days_left(tls.certificate_file)
    told = f"the certificate is good for {days} days" if days >= WARN_DAYS else f"the certificate ends in {days} days: renew it"
    if not tls.port:
        return f"{told}; no TLS door ([tls] port = 0)"
    here = "127.0.0.1" if tls.host == "0.0.0.0" else tls.host  # noqa: S104
    try:
        call((settings.node.ae_title, here, tls.port), settings.node.ae_title, Trust(tls=tls, any_name=True))
    except UndeliveredError as error:
        return f"{told}; no node answers on port {tls.port} ({error})"
    return f"{told}; the node answers C-ECHO on port {tls.port}"


def _secrets(settings: Settings) -> str:
    """Whether every file with a secret is closed to other users of this machine. Raises OSError."""
    tls, node = settings.section("tls", TlsSettings), settings.section("node", NodeSettings)
    files = {tls.key_file or tls.certificate_file, tls.key_password_file, node.journal_password_file}
    files |= {path for each in destinations_of(settings) for path in (each.password_file, each.headers_file)}
    if ":" in node.journal.partition("://")[2].rpartition("@")[0]:  # a password within the settings file itself
        files.add(Path(settings.source))
    found = [path for path in files if path is not None]
    if exposed := sorted(str(path) for path in found if open_to_others(path)):
        raise OSError(f"every user of this machine can read {', '.join(exposed)}; take that away with chmod o-r")
    return f"{len(found)} file(s) with secrets, none open to other users" if found else "none in files"


def _peer(destination: Destination, settings: Settings) -> str:
    if destination.web:
        return look(destination)
    echo(destination, settings.node.ae_title)
    return f"answers C-ECHO at {destination.url}"


def _archive(archive: Archive, settings: Settings) -> str:
    with Link(archive, settings.node.ae_title) as link:
        return link.check()


def _scheduler(settings: Settings) -> str:
    """Whether cases that go to other processes find a worker. Raises ConnectionError."""
    address = settings.node.scheduler
    if not address:
        return "none is set; cases run in a process of this node"
    security = security_of(address, settings.section("tls", TlsSettings))
    return workers_at(address, gpu=models_of(settings).device == "cuda", security=security)


def _weights(settings: Settings) -> Iterator[Line]:
    """Each network of [models] folder: whether its files are those of its sidecar and on the operator's list."""
    models = models_of(settings)
    here = installed(models, thorough=True)
    if not here:
        yield "weights", False, f"none in {models.folder}; none are needed: lesions and organs are found by rules"
    for each in here:
        listed = "verified, and on the list; `duet models verify` also loads it"
        yield f"weights {each.name}", bool(each.fault), each.fault or listed


def _lesions(settings: Settings, tracer: Tracer) -> str:
    """How the tracer's lesions are found. Raises ModelUnavailable where its cases would be held as not run."""
    from analysis.segmenters.segmentation_settings import SegmentationSettings  # with it come scipy and SimpleITK

    wanted, models = settings.section("segmentation", SegmentationSettings), models_of(settings)
    name = wanted.network(tracer)
    if wanted.method(tracer) == "rules":
        return "found by rules"
    fault = next(
        (each.fault for each in installed(models) if each.name == name), f"there is no folder {name} in {models.folder}."
    )
    if fault:
        raise ModelUnavailable(f"[segmentation] asks for the network {name}, and cases are held as not run: {fault}")
    return f"found by {name} ({wanted.method(tracer)})"


def _cohort(settings: Settings) -> str:
    """Whether the clinical table can be read as it is. Raises BadSettings."""
    section = cohort_section(settings)
    if section.clinical is None:
        return "no clinical table is set, so the node makes no report of its cohort"
    return f"{len(clinical_table(section.clinical).rows)} treatment cycles in {section.clinical}"


def _pages(web: WebSettings) -> str:
    """Who may see the pages. Raises BadSettings where password or certificate cannot be used."""
    keyhole(web)
    check_certificate(web)
    if not web.enabled:
        return "not served"
    if web.local and not web.password and not web.proxy_header:
        return f"at {web.address}, for this machine alone"
    ways = ("a password" if web.password else "", "a proxy that names the user" if web.proxy_header else "")
    by = " or ".join(filter(None, ways))
    open_words = "" if web.encrypted or web.local or not web.password else "; the password travels unencrypted"
    return f"at {web.address}, with {by}{open_words}"


def _alerts(alerts: AlertSettings) -> str:
    """Who is told. Raises BadSettings where a secret cannot be had; nothing is sent."""
    if alerts.webhook_secret_file or alerts.webhook_secret_env:
        needed_secret("[alerts] webhook_secret", alerts.webhook_secret_file, alerts.webhook_secret_env)
    if alerts.mail_user:
        needed_secret("[alerts] mail_password", alerts.mail_password_file, alerts.mail_password_env)
    told = " and ".join(channel for channel in CHANNELS if alerts.uses(channel))
    return f"told by {told}" if told else "neither webhook nor mail is set; only the log and /metrics have them"


def _gpu(settings: Settings) -> str:
    """What the networks would run on. Raises ModelUnavailable where [models] asks for a GPU that torch does not see."""
    wanted = models_of(settings).device
    if wanted == "cpu" or (wanted == "auto" and shutil.which("nvidia-smi") is None):
        return 'not used: [models] device is "cpu"' if wanted == "cpu" else "none; not needed by the rules"
    from analysis.segmenters.device import seen_gpu  # loads torch, which takes seconds

    found = seen_gpu()
    if found is None and wanted == "cuda":
        raise ModelUnavailable('[models] device is "cuda", and torch sees no GPU; "auto" takes what there is.')
    return found or "there is one, but this build of torch does not see it"

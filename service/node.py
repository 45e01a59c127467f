"""The node: the door first, then intake, engine and outbox, each in a thread of its own, until it is told to stop."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from analysis.errors import BadSettings, Rejected
from service import arrivals, audit_events, casebook, commitments, intake, recovery
from service.alert_posts import AlertSettings
from service.alerts import Watchman
from service.audit import AuditSettings, Trail
from service.audit_syslog import SyslogSender
from service.case_lock import only_worker
from service.cohort_inputs import cohort_section
from service.cohort_keeper import Keeper, Shelf
from service.commitment import Reports
from service.commitment_promises import Promises
from service.config import Settings
from service.destinations import DeliverySettings
from service.door_process import Plan, commitment
from service.door_processes import Processes
from service.explain import Patience
from service.handover import put_all_back
from service.inbox import Inbox
from service.journal import Journal, journal_url, telling_errors
from service.journal_folder import require_own
from service.journal_upgrade import BackupSettings, upgraded_journal
from service.keeping import StoreHandler
from service.logs import logger
from service.missing_half import Asking, MissingHalf
from service.node_settings import analysis_of, archives_of, destinations_of, objects_of, rules_of, senders_of
from service.outbox import Desk, Outbox
from service.pulse import Pulse
from service.receiver import Receiver, ReceiverSettings
from service.retention import Retention, RetentionSettings
from service.retrieval import RetrievalSettings
from service.retrieval_study import Holdings
from service.tally_keeper import TallyKeeper
from service.tls import TlsSettings
from service.watched import Watched
from service.web import Web
from service.web_pages import Material
from service.web_settings import WebSettings
from service.worker import clear_drafts

if TYPE_CHECKING:
    from distributed.security import Security

    from service.engine import Engine

PAUSE_S = 0.5  # between two looks at the journal
OWN_S = 5.0  # between two looks whether it still serves this folder
HEAD_START_S = 1.0  # the door answers before the analysis is imported
LOCK_TRIES = 20  # within a second
RULES_FACT = "rules"


class Node:
    """One node on one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._node = settings.node
        self._receiver_settings = settings.section("receiver", ReceiverSettings)
        self._tls = settings.section("tls", TlsSettings)
        self._audit = settings.section("audit", AuditSettings)
        self._delivery = settings.section("delivery", DeliverySettings)
        self._destinations = destinations_of(settings)
        self._archives = archives_of(settings)
        moved_to = (archive.move_to for archive in self._archives if archive.move_to)
        also_called = (*self._receiver_settings.also_called, *moved_to)
        self._receiver_settings = replace(self._receiver_settings, also_called=also_called)
        self._backup = settings.section("backup", BackupSettings)
        self._retention = settings.section("retention", RetentionSettings)
        self._retrieval = settings.section("retrieval", RetrievalSettings)
        self._senders = senders_of(settings)
        self._rules = rules_of(settings)
        self._objects = objects_of(settings)
        self._cohort = cohort_section(settings)
        self._data = self._node.data.absolute()
        self._web = settings.section("web", WebSettings)
        self._alerts = settings.section("alerts", AlertSettings)
        self._pulse = Pulse()
        self._stop = threading.Event()
        self._failed = False

    def stop(self) -> None:
        """Ask the node to end; what is unfinished goes on at the next start."""
        self._stop.set()

    def run(self, announce: Callable[[str], None]) -> bool:
        """Serve until stopped; False where a part of the node failed. Raises BadSettings."""
        with only_node(self._data) as lock, audit_events.trail_of(self._settings) as trail:
            journal = upgraded_journal(self._node.journal, self._data, self._backup)
            inbox = Inbox(self._data)
            inbox.prepare()
            put_all_back(self._data / "cases")
            _clear_drafts(self._data / "cases")  # before anything of this node writes one
            url = journal_url(self._node.journal, self._data)
            with telling_errors(url):
                arrivals.break_open_associations(journal, time.time())
                commitments.ask_anew(journal, time.time())
            promises = Promises(journal, inbox, self._node.ae_title, self._senders)
            handlers = commitment(promises, Reports(journal, self._delivery))
            door = Receiver(self._node.ae_title, self._receiver_settings, inbox, journal, handlers, self._tls)
            processes = Processes(self._plan, journal, inbox, keep_open=[lock])
            web = Web(self._web)
            if self._web.enabled:
                web.open()
            door.start(processes.station)
            with telling_errors(url):
                audit_events.began(self._settings, journal)
            announce(
                f"{self._node.ae_title} receives on {self._doors()}; data in {self._data}. Research use only. Ctrl-C ends it."
            )
            if self._web.enabled:
                announce(f"Its pages are at {self._web.address}")
            others = {"audit": lambda: self._keep_trail(journal, trail), **self._watch_by(web, door, processes)}
            if self._receiver_settings.processes:
                others["door processes"] = partial(self._repeat, processes.step)
            threads = self._start(journal, inbox, promises, others)
            self._stop.wait()
            door.stop()
            processes.stop()
            web.stop()
            for thread in threads:
                thread.join(timeout=10)
            audit_events.ended(self._node.ae_title)
            journal.close()
        return not self._failed

    def _security(self) -> Security | None:
        from service.dask_security import security_of

        return security_of(self._node.scheduler, self._tls)

    def _doors(self) -> str:
        doors = ((self._receiver_settings, ""), (self._tls, " (TLS)"))
        return " and ".join(f"{door.host}:{door.port}{kind}" for door, kind in doors if door.port)

    def _start(
        self, journal: Journal, inbox: Inbox, promises: Promises, others: Mapping[str, Callable[[], None]]
    ) -> list[threading.Thread]:
        url = journal_url(self._node.journal, self._data)
        retention = Retention(journal, inbox, self._retention, self._rules.pairing.max_days)
        works: dict[str, Callable[[], None]] = {
            "intake": lambda: self._take_in(journal, inbox),
            "engine": lambda: self._work(journal),
            "promises": lambda: self._repeat(promises.step),
            "journal": lambda: self._repeat(lambda: require_own(journal, url, self._data), OWN_S),
            "retention": lambda: self._repeat(lambda: retention.hourly(time.time())),
        }
        desk = Desk(journal=journal, data=self._data, ae_title=self._node.ae_title, settings=self._delivery)
        for destination in self._destinations:
            outbox = Outbox(destination, desk)
            works[f"outbox {destination.name}"] = lambda outbox=outbox: self._repeat(outbox.step)  # type: ignore[misc]
        if self._retrieval.missing_half and self._archives:
            works["missing half"] = partial(self._repeat, self._missing_half(journal, inbox).step)
        if self._rules.counted:
            keeper = TallyKeeper(journal, self._archives, self._node.ae_title, self._rules.intake.soonest_s)
            works["tallies"] = partial(self._repeat, keeper.step)
        works["cohort"] = lambda: self._keep_cohort(journal)
        works |= others
        threads = [threading.Thread(target=self._watch, args=work, name=work[0], daemon=True) for work in works.items()]
        for thread in threads:
            thread.start()
        return threads

    @property
    def _plan(self) -> Plan:
        """What the door processes need to know."""
        return Plan(
            ae_title=self._node.ae_title,
            data=self._data,
            journal=self._node.journal,
            receiver=self._receiver_settings,
            tls=self._tls,
            senders=self._senders,
            delivery=self._delivery,
            audit=self._audit,
        )

    def _watch_by(self, web: Web, door: Receiver, processes: Processes) -> Mapping[str, Callable[[], None]]:
        """What watches the node, as parts of it: its pages, if they are served, and its alerts."""
        url = journal_url(self._node.journal, self._data)
        watched = Watched(
            journal=Journal(url),  # of their own: whoever loads pages takes no connection from the door
            data=self._data,
            floor_gb=self._receiver_settings.free_gb,
            door=lambda: door.is_open,
            behind=lambda: door.is_behind or processes.behind,
            parts=lambda: self._parts(processes),
        )
        watchman = Watchman(watched, self._alerts, self._node.ae_title)
        works: dict[str, Callable[[], None]] = {"alerts": lambda: self._repeat(watchman.step)}
        if self._web.enabled:
            watched = replace(watched, alerts=watchman.firing)
            intake = self._rules.intake
            patience = Patience(silence_s=intake.silence_s, patience_s=intake.patience_s)
            material = Material(journal=watched.journal, data=self._data, ae_title=self._node.ae_title, patience=patience)
            works["web"] = lambda: web.serve(watched, material)
        return works

    def _parts(self, processes: Processes) -> Mapping[str, str]:
        """Each part of the node, and what it waits for."""
        parts = dict(self._pulse.parts())
        if not parts.get("door processes", "none"):
            parts["door processes"] = processes.trouble
        return parts

    def _watch(self, name: str, work: Callable[[], None]) -> None:
        """Run one part of the node; where it ends in an error the whole node ends, so that its supervisor starts it anew."""
        self._pulse.beats(name)
        try:
            work()
        except Rejected as error:
            logger().error("settings refused", error=str(error))
        finally:
            if not self._stop.is_set():
                logger().error("a part of the node has ended", part=name)
                self._pulse.falters(name, "has ended")
                self._failed = True
                self._stop.set()

    def _repeat(self, step: Callable[[], None], pause_s: float = PAUSE_S) -> None:
        """One step after the other; a full disk or a database that is away is waited for."""
        while not self._stop.wait(pause_s):
            self._tried(step)

    def _first(self, step: Callable[[], None]) -> None:
        """One step that everything after it rests on: it is tried until it is done."""
        while not self._stop.is_set() and not self._tried(step):
            continue

    def _tried(self, step: Callable[[], None]) -> bool:
        part = threading.current_thread().name
        try:
            step()
        except (OSError, SQLAlchemyError) as error:
            self._pulse.falters(part, "waits for disk or database")
            logger().error("waiting for disk or database", error=type(error).__name__, number=getattr(error, "errno", None))
            self._stop.wait(10 * PAUSE_S)
            return False
        self._pulse.beats(part)
        return True

    def _take_in(self, journal: Journal, inbox: Inbox) -> None:
        self._first(lambda: self._recover(journal, inbox))
        self._repeat(lambda: intake.step(journal, self._data, self._rules, time.time()))

    def _recover(self, journal: Journal, inbox: Inbox) -> None:
        """What the last end of the node, or a change of rules, has left to be looked at again."""
        recovered = recovery.recover(journal, inbox, time.time())
        if recovered:
            logger().info("files without a row were entered", count=recovered)
        judged_by = f"{version('duet-node')} {self._rules!r}"
        if journal.fact(RULES_FACT) != judged_by:
            casebook.unsettle_all(journal)
            journal.remember(RULES_FACT, judged_by)

    def _work(self, journal: Journal) -> None:
        self._stop.wait(HEAD_START_S)
        self._first(lambda: casebook.resume(journal, time.time(), release_held=self._delivery.deliver_held))
        while not self._stop.is_set():
            try:
                with self._engine(journal) as engine:
                    self._repeat(engine.step)
            except OSError as error:  # no process can be started; images are received meanwhile
                logger().error("no workers", error=type(error).__name__)
                self._pulse.falters("engine", "waits for workers")
                self._stop.wait(10)

    def _keep_trail(self, journal: Journal, trail: Trail) -> None:
        """What was received is entered, and the trail goes to syslog where that is set."""
        received, sender = audit_events.Received(journal, self._node.ae_title), SyslogSender(trail, self._tls)
        received.begin()

        def step() -> None:
            received.step()
            sender.step()

        try:
            self._repeat(step)
        finally:
            sender.close()

    def _missing_half(self, journal: Journal, inbox: Inbox) -> MissingHalf:
        asking = Asking(
            archives=self._archives,
            settings=self._retrieval,
            max_days=self._rules.pairing.max_days,
            ae_title=self._node.ae_title,
        )
        store_handler = StoreHandler(inbox, journal, self._receiver_settings.free_gb)
        return MissingHalf(asking, Holdings(journal=journal, data=self._data), store_handler)

    def _keep_cohort(self, journal: Journal) -> None:
        if self._cohort.clinical is None:
            self._stop.wait()
            return
        _clear_drafts(self._data / "cohort")
        names = [destination.name for destination in self._destinations]
        keeper = Keeper(journal=journal, shelf=Shelf(data=self._data, section=self._cohort, destinations=names))
        try:
            self._first(keeper.position)
            self._repeat(keeper.step)
        finally:
            keeper.close()

    @contextmanager
    def _engine(self, journal: Journal) -> Iterator[Engine]:
        from service.dask_runner import DaskRunner
        from service.engine import Engine, Plan

        plan = Plan(
            data=self._data,
            tracers=self._rules.tracers,
            pairing=self._rules.pairing,
            objects=self._objects,
            analysis=analysis_of(self._settings),
            destinations=[destination.name for destination in self._destinations],
            deliver_held=self._delivery.deliver_held,
        )
        runner = DaskRunner(self._node.scheduler, gpu=plan.analysis.models.device == "cuda", security=self._security())
        try:
            yield Engine(journal, plan, runner)
        finally:
            runner.close()


@contextmanager
def only_node(data: Path) -> Iterator[int]:
    """Keep a second node off the data folder; the lock, whose descriptor this gives, ends with the processes that hold it,
    however they end. Raises BadSettings."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "node.lock").open("w")
    except OSError as error:
        raise BadSettings(f"[node] data: {data} cannot be written: {error.strerror}.") from None
    with lock:
        if not _locked(lock):
            raise BadSettings(f"[node] data: another node runs on {data}; each node needs a folder of its own.")
        yield lock.fileno()


def _locked(lock: IO[str]) -> bool:
    """Whether the lock was had within a second: a `duet status` that looks whether a node runs has it for a moment."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(1 / LOCK_TRIES)
        else:
            return True
    return False


def _clear_drafts(cases: Path) -> None:
    """Take away what a killed worker left half written, and leave what a worker elsewhere still writes."""
    for draft in cases.glob(".*"):
        folder = cases / draft.name[1:].rpartition(".")[0]
        with only_worker(folder) as nobody_else:
            if nobody_else:
                clear_drafts(folder)

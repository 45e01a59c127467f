"""The node: the door first, then intake, engine and outbox, each in a thread of its own, until it is told to stop."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pynetdicom import evt
from sqlalchemy.exc import SQLAlchemyError

from analysis.errors import BadSettings, Rejected
from service import arrivals, casebook, commitments, intake
from service.cohort_inputs import cohort_section
from service.cohort_keeper import Keeper, Shelf
from service.commitment import Reports
from service.commitment_promises import Promises
from service.config import ANALYSIS_TABLES, Settings
from service.destinations import DeliverySettings, Destination, Sender
from service.handover import put_all_back
from service.inbox import Inbox
from service.intake import Rules
from service.journal import Journal
from service.journal_upgrade import BackupSettings, upgraded_journal
from service.keeping import StoreHandler
from service.logs import logger
from service.missing_half import Asking, MissingHalf
from service.outbox import Desk, Outbox
from service.readiness import IntakeSettings
from service.receiver import Receiver, ReceiverSettings
from service.retention import Retention, RetentionSettings
from service.retrieval import Archive, RetrievalSettings
from service.retrieval_study import Holdings
from service.tally_keeper import TallyKeeper

if TYPE_CHECKING:
    from analysis.patient.pipeline import AnalysisSettings
    from dicom_io.derived import ObjectSettings
    from service.engine import Engine

PAUSE_S = 0.5  # between two looks at the journal
HEAD_START_S = 1.0  # the door answers before the analysis is imported
LOCK_TRIES = 20  # within a second
RULES_FACT = "rules"


def rules_of(settings: Settings) -> Rules:
    """[intake], [tracers] and [pairing]. Raises BadSettings."""
    from dicom_io.pairing import PairingSettings
    from dicom_io.tracers import TracerRules

    intake = settings.section("intake", IntakeSettings)
    return Rules(
        intake=intake,
        counted=intake.ask_archives and bool(settings.sections("archive", Archive)),
        tracers=settings.section("tracers", TracerRules),
        pairing=settings.section("pairing", PairingSettings),
    )


def analysis_of(settings: Settings) -> AnalysisSettings:
    """The sections that steer the analysis; imports all of it. Raises BadSettings."""
    from dataclasses import replace

    from analysis.patient.pipeline import AnalysisSettings

    return replace(settings.group(AnalysisSettings, ANALYSIS_TABLES), cache=settings.node.data / "anatomy")


def objects_of(settings: Settings) -> ObjectSettings:
    """[objects]. Raises BadSettings."""
    from dicom_io.derived import ObjectSettings

    return settings.section("objects", ObjectSettings)


def destinations_of(settings: Settings) -> tuple[Destination, ...]:
    """Every [[destination]]. Raises BadSettings where two bear one name."""
    destinations = settings.sections("destination", Destination)
    names = [destination.name for destination in destinations]
    if len(set(names)) < len(names):
        raise BadSettings(f"{settings.source}: two [[destination]] bear one name; deliveries are remembered by it.")
    return destinations


def archives_of(settings: Settings) -> tuple[Archive, ...]:
    """Every [[archive]]. Raises BadSettings where two bear one name."""
    archives = settings.sections("archive", Archive)
    if len({archive.name for archive in archives}) < len(archives):
        raise BadSettings(f"{settings.source}: two [[archive]] bear one name; a command names one of them.")
    return archives


def senders_of(settings: Settings) -> tuple[Sender, ...]:
    """Every [[sender]]. Raises BadSettings where two bear one AE title."""
    senders = settings.sections("sender", Sender)
    if len({sender.ae_title for sender in senders}) < len(senders):
        raise BadSettings(f"{settings.source}: two [[sender]] bear one AE title; it is by that that they are called back.")
    return senders


class Node:
    """One node on one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._node = settings.node
        self._receiver_settings = settings.section("receiver", ReceiverSettings)
        self._delivery = settings.section("delivery", DeliverySettings)
        self._destinations = destinations_of(settings)
        self._archives = archives_of(settings)
        self._backup = settings.section("backup", BackupSettings)
        self._retention = settings.section("retention", RetentionSettings)
        self._retrieval = settings.section("retrieval", RetrievalSettings)
        self._senders = senders_of(settings)
        self._rules = rules_of(settings)
        self._objects = objects_of(settings)
        self._cohort = cohort_section(settings)
        self._data = self._node.data.absolute()
        self._stop = threading.Event()
        self._failed = False

    def stop(self) -> None:
        """Ask the node to end; what is unfinished goes on at the next start."""
        self._stop.set()

    def run(self, announce: Callable[[str], None]) -> bool:
        """Serve until stopped; False where a part of the node failed. Raises BadSettings."""
        with only_node(self._data):
            journal = upgraded_journal(self._node.journal, self._data, self._backup)
            inbox = Inbox(self._data)
            inbox.prepare()
            put_all_back(self._data / "cases")
            arrivals.break_open_associations(journal, time.time())
            commitments.ask_anew(journal, time.time())
            promises = Promises(journal, inbox, self._node.ae_title, self._senders)
            reports = Reports(journal, self._delivery)
            commitment = [(evt.EVT_N_EVENT_REPORT, reports.hear), (evt.EVT_N_ACTION, promises.take)]
            door = Receiver(self._node.ae_title, self._receiver_settings, inbox, journal, commitment)
            door.start()
            host, port = self._receiver_settings.host, self._receiver_settings.port
            announce(
                f"{self._node.ae_title} receives on {host}:{port}; data in {self._data}. Research use only. Ctrl-C ends it."
            )
            threads = self._start(journal, inbox, promises)
            self._stop.wait()
            door.stop()
            for thread in threads:
                thread.join(timeout=10)
            journal.close()
        return not self._failed

    def _start(self, journal: Journal, inbox: Inbox, promises: Promises) -> list[threading.Thread]:
        retention = Retention(journal, inbox, self._retention, self._rules.pairing.max_days)
        works: dict[str, Callable[[], None]] = {
            "intake": lambda: self._take_in(journal, inbox),
            "engine": lambda: self._work(journal),
            "promises": lambda: self._repeat(promises.step),
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
        threads = [threading.Thread(target=self._watch, args=work, name=work[0], daemon=True) for work in works.items()]
        for thread in threads:
            thread.start()
        return threads

    def _watch(self, name: str, work: Callable[[], None]) -> None:
        """Run one part of the node; where it ends in an error the whole node ends, so that its supervisor starts it anew."""
        try:
            work()
        except Rejected as error:
            logger().error("settings refused", error=str(error))
        finally:
            if not self._stop.is_set():
                logger().error("a part of the node has ended", part=name)
                self._failed = True
                self._stop.set()

    def _repeat(self, step: Callable[[], None]) -> None:
        """One step after the other; a full disk or a database that is away is waited for."""
        while not self._stop.wait(PAUSE_S):
            try:
                step()
            except (OSError, SQLAlchemyError) as error:
                logger().error("waiting for disk or database", error=type(error).__name__, number=getattr(error, "errno", None))
                self._stop.wait(10 * PAUSE_S)

    def _take_in(self, journal: Journal, inbox: Inbox) -> None:
        recovered = intake.recover(journal, inbox, time.time())
        if recovered:
            logger().info("files without a row were entered", count=recovered)
        judged_by = f"{version('duet-node')} {self._rules!r}"
        if journal.fact(RULES_FACT) != judged_by:
            casebook.unsettle_all(journal)
            journal.remember(RULES_FACT, judged_by)
        self._repeat(lambda: intake.step(journal, self._data, self._rules, time.time()))

    def _work(self, journal: Journal) -> None:
        self._stop.wait(HEAD_START_S)
        casebook.resume(journal, time.time(), release_held=self._delivery.deliver_held)
        _clear_drafts(self._data / "cases")
        while not self._stop.is_set():
            try:
                with self._engine(journal) as engine:
                    self._repeat(engine.step)
            except OSError as error:  # a scheduler that cannot be reached: images are received meanwhile
                logger().error("no workers", error=type(error).__name__)
                self._stop.wait(10)

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
            keeper.position()
            self._repeat(keeper.step)
        finally:
            keeper.close()

    @contextmanager
    def _engine(self, journal: Journal) -> Iterator[Engine]:
        from service.engine import DaskRunner, Engine, Plan

        plan = Plan(
            data=self._data,
            tracers=self._rules.tracers,
            pairing=self._rules.pairing,
            objects=self._objects,
            analysis=analysis_of(self._settings),
            destinations=[destination.name for destination in self._destinations],
            deliver_held=self._delivery.deliver_held,
        )
        runner = DaskRunner(self._node.scheduler)
        try:
            yield Engine(journal, plan, runner)
        finally:
            runner.close()


@contextmanager
def only_node(data: Path) -> Iterator[None]:
    """Keep a second node off the data folder; the lock ends with the process, however that ends. Raises BadSettings."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "node.lock").open("w")
    except OSError as error:
        raise BadSettings(f"[node] data: {data} cannot be written: {error.strerror}.") from None
    with lock:
        if not _locked(lock):
            raise BadSettings(f"[node] data: another node runs on {data}; each node needs a folder of its own.")
        yield


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
    """Take away what a killed worker left half written."""
    import shutil

    for draft in cases.glob(".*"):
        shutil.rmtree(draft, ignore_errors=True)

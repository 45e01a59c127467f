"""JSON lines for those who run the node, without names and identifiers of patients."""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from analysis.errors import BadSettings


def set_up(folder: Path) -> None:
    """Log to standard error and to duet.jsonl below the folder, which is rotated at 20 MB. Raises BadSettings."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(folder / "duet.jsonl", maxBytes=20_000_000, backupCount=5)
    except OSError as error:
        raise BadSettings(f"[node] data: the logs in {folder} cannot be written: {error.strerror}.") from None
    _configure([logging.StreamHandler(), file])


def to_standard_error() -> None:
    """Log to standard error alone, as a worker does."""
    _configure([logging.StreamHandler()])


def _configure(handlers: list[logging.Handler]) -> None:
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.raiseExceptions = False  # a line that a full disk does not take is lost; it must not become a traceback
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("duet").setLevel(logging.INFO)
    # A warning about a header element quotes its value, which may be a name.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    threading.excepthook = _tell_of_thread
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    """A line in place of a traceback: a caller whose bytes are no DICOM ends the thread that reads them, and only that one.

    Not what the error says: it may quote what was sent.
    """
    where = "".join(traceback.format_tb(ended.exc_traceback)[-2:])
    logger().error("a thread has ended", error=ended.exc_type.__name__, where=where)


def logger() -> Any:
    """The node's logger: an event in words, facts as keywords."""
    return structlog.stdlib.get_logger("duet")

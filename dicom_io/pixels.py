"""Pixels as they are stored: every slice of a series decoded, two or more at a time, handed on in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from analysis.errors import IncompleteSeries
from dicom_io.decoders import plugin_for
from dicom_io.elements import number, require_content_fault
from dicom_io.headers import UNREADABLE
from dicom_io.studies import Instance, Series

# How many slices are decoded at once. More hardly help: finding a frame in its file is Python's work, one at a time.
_AT_ONCE = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
# Decoded slices that wait for their turn; each may be half a megabyte.
_WAITING = 4 * _AT_ONCE
# Tag, VR, two reserved bytes and the length before encapsulated pixel data, which are always explicit little endian.
_ELEMENT_HEAD = 12
_EXTENDED_OFFSETS = 0x7FE00001

T = TypeVar("T")
R = TypeVar("R")


def stored_slices(series: Series) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """(k, decoded slice as stored) of every instance, file by file: each file is read once, a multi-frame one frame by frame.

    Raises IncompleteSeries: a slice is damaged, or no single grey slice.
    """
    files: dict[Path, dict[int | None, int]] = {}
    for k, instance in enumerate(series.instances):
        files.setdefault(instance.path, {})[instance.frame] = k
    whole = [places[None] for places in files.values() if None in places]
    yield from zip(whole, _ahead(stored_values, [series.instances[k] for k in whole]), strict=True)
    for places in files.values():
        if None not in places:
            wanted = [(series.instances[k], k) for k in places.values()]
            yield from _stored_frames(sorted(wanted, key=lambda one: one[0].frame or 0))


def _ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` makes of each item, in order; the next few are worked on by other threads meanwhile."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _stored_frames(wanted: list[tuple[Instance, int]]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The same of the frames of one file. wanted: (instance, k), by frame."""
    left = iter(wanted)
    instance, k = next(left)
    try:
        for count, decoded in enumerate(_decoded_frames(instance)):
            if count == instance.frame:
                yield k, _one_grey_slice(instance, decoded)
                instance, k = next(left)
    except StopIteration:
        return
    except (*UNREADABLE, RuntimeError) as error:
        require_content_fault(error)
        raise _damaged(instance, error) from error
    raise _damaged(instance, None)


def stored_values(instance: Instance) -> npt.NDArray[Any]:
    """The decoded slice (rows, columns) as stored. Raises IncompleteSeries: it is damaged, or no single grey slice."""
    try:
        decoded = _decoded(instance)
    except (*UNREADABLE, RuntimeError, StopIteration) as error:  # the latter where more frames are announced than there are
        require_content_fault(error)
        raise _damaged(instance, error) from error
    return _one_grey_slice(instance, decoded)


def _damaged(instance: Instance, error: Exception | None) -> IncompleteSeries:
    syntax = instance.header.file_meta.TransferSyntaxUID
    detail = "" if not isinstance(error, NotImplementedError) else f" (compression {syntax.name} is not supported)"
    return IncompleteSeries(
        f"The pixel data of {instance.label} cannot be decoded{detail}: the file is damaged; send it again."
    )


def _one_grey_slice(instance: Instance, decoded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = number(instance.header, "Rows"), number(instance.header, "Columns")
    if decoded.shape != shape:
        raise IncompleteSeries(
            f"{instance.label.capitalize()} decodes to {decoded.shape}, where one grey slice of {shape} was announced."
        )
    return decoded


def _decoded(instance: Instance) -> npt.NDArray[Any]:
    meta = instance.header.file_meta
    if not meta.TransferSyntaxUID.is_encapsulated:
        return _read(instance).pixel_array
    plugin = plugin_for(meta.TransferSyntaxUID)
    if plugin and instance.pixels_at is not None and _EXTENDED_OFFSETS not in instance.header:
        return pixel_array(_with_pixels(instance, instance.pixels_at), decoding_plugin=plugin)
    return pixel_array(instance.path, decoding_plugin=plugin)


def _with_pixels(instance: Instance, pixels_at: int) -> Dataset:
    """What pydicom needs of a compressed slice; the header is not read again."""
    dataset = instance.header.group_dataset(0x0028)
    dataset.file_meta = instance.header.file_meta
    with instance.path.open("rb") as stream:
        stream.seek(pixels_at + _ELEMENT_HEAD)
        dataset.PixelData = stream.read()
    return dataset


def _decoded_frames(instance: Instance) -> Iterator[npt.NDArray[Any]]:
    """All frames of the instance's file, one at a time; a deflated file must be read as a whole."""
    syntax = instance.header.file_meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        return iter_pixels(_read(instance))
    return iter_pixels(instance.path, decoding_plugin=plugin_for(syntax), transfer_syntax_uid=syntax)


def _read(instance: Instance) -> Dataset:
    """The whole dataset. A file that came without meta information has none; the header's was derived when it was read."""
    dataset = dcmread(instance.path, force=True)
    dataset.file_meta = instance.header.file_meta
    return dataset

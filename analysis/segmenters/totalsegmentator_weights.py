"""TotalSegmentator's weights on disk: which are needed, whether they are there, and whether they may be loaded.

They lie below `totalsegmentator` in the models' folder, as TotalSegmentator itself lays them out: Dataset... folders in
`nnunet/results`, or at once in `totalsegmentator`. Its own download is never used. Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.errors import ModelUnavailable
from analysis.segmenters.anatomy_names import of_kinds
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings

HOME = "totalsegmentator"
PACKAGE = "TotalSegmentator"
TASK = "total"
FULL, ROUGH = "default", "fastest"  # variants: the five networks, and the one that crops where not all classes are wanted
_FILES = ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth")  # what nnU-Net opens of a network


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network by the names of its folders."""

    dataset: str
    trainer: str

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are loaded, from the folder of all networks."""
        return tuple(f"{self.dataset}/{self.trainer}__nnUNetPlans__3d_fullres/{file}" for file in _FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights that are there and allowed.

    results: the folder of all networks. sums: SHA-256 of every file that is loaded, by its path from there. classes: those
    to ask for, None for all. package: version of TotalSegmentator.
    """

    results: Path
    networks: tuple[Network, ...]
    sums: Mapping[str, str]
    classes: tuple[str, ...] | None
    package: str

    @property
    def sha256(self) -> str:
        """One sum for all files: that of the lines which `sha256sum` writes for them, in the order of their paths."""
        lines = "".join(f"{self.sums[path]}  {path}\n" for path in sorted(self.sums))
        return hashlib.sha256(lines.encode()).hexdigest()


def weights_present(models: ModelSettings, settings: TotalSegmentatorSettings) -> bool:
    """Whether every file that the settings need is there, allowed or not."""
    try:
        weight_sums(models, settings)
    except ModelUnavailable:
        return False
    return True


def verified_weights(models: ModelSettings, settings: TotalSegmentatorSettings) -> Weights:
    """The weights that the settings need, every file of them on the list of allowed SHA-256. Raises ModelUnavailable."""
    sums = weight_sums(models, settings)
    for path, digest in sums.items():
        if digest not in models.allow:
            raise ModelUnavailable(
                f"TotalSegmentator is not loaded: the SHA-256 of {path} ({digest}) is not in [models] allow of duet.toml."
            )
    return Weights(
        results=results_folder(models),
        networks=needed_networks(settings),
        sums=sums,
        classes=wanted_classes(settings),
        package=package_version(),
    )


def weight_sums(models: ModelSettings, settings: TotalSegmentatorSettings) -> dict[str, str]:
    """SHA-256 of every file that would be loaded, by its path from the folder of all networks. Raises ModelUnavailable."""
    results, sums = results_folder(models), {}
    for network in needed_networks(settings):
        for file in network.files:
            try:
                stat = (results / file).stat()
                sums[file] = _sha256(results / file, stat.st_size, stat.st_mtime_ns)
            except OSError as error:
                raise ModelUnavailable(
                    f"TotalSegmentator at {settings.resolution_mm:g} mm cannot read {results / file} ({error.strerror}); fetch "
                    f"{network.dataset} where there is a network and put it there, or set [segmentation] anatomy to rules."
                ) from None
    return sums


def results_folder(models: ModelSettings) -> Path:
    """The folder that holds the Dataset... folders."""
    home = models.folder / HOME
    return home / "nnunet" / "results" if (home / "nnunet" / "results").is_dir() else home


def package_version() -> str:
    """The installed TotalSegmentator's version. Raises ModelUnavailable where there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise ModelUnavailable("TotalSegmentator is not installed; install it or set [segmentation] anatomy = rules.") from None


def wanted_classes(settings: TotalSegmentatorSettings) -> tuple[str, ...] | None:
    """The names of the classes to ask for, as the installed package has them; None for all."""
    return None if settings.complete else of_kinds(_tables().classes, settings.parts)


def needed_networks(settings: TotalSegmentatorSettings) -> tuple[Network, ...]:
    """What a run of the settings loads, by the installed package's own tables. Raises ModelUnavailable."""
    tables, classes = _tables(), wanted_classes(settings)
    networks = tables.networks[settings.variant]
    if classes is None:
        return networks
    if settings.variant == FULL:
        networks = tuple(net for net, names in zip(networks, tables.parts, strict=True) if set(classes) & set(names))
    return tuple(dict.fromkeys([*networks, *tables.networks[ROUGH]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """What the installed package says: its networks by variant, all classes, the classes of each network of FULL."""

    networks: Mapping[str, tuple[Network, ...]]
    classes: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]


def _tables() -> _Tables:
    try:
        from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS  # noqa: PLC0415
        from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct  # noqa: PLC0415
    except ImportError as error:
        found = package_version()
        raise ModelUnavailable(f"TotalSegmentator {found} is not laid out as 2.18 is ({error}); install that one.") from error
    modes = TASK_CONFIGS[TASK]["sub_modes"]
    return _Tables(
        networks={name: _networks(mode, TASK_ID_WEIGHTS_CONFIGS) for name, mode in modes.items()},
        classes=tuple(class_map[TASK].values()),
        parts=tuple(tuple(class_map_5_parts[map_taskid_to_partname_ct[n]].values()) for n in modes[FULL]["task_id"]),
    )


def _networks(mode: Mapping[str, Any], folders: Mapping[int, Mapping[str, str]]) -> tuple[Network, ...]:
    numbers = mode["task_id"] if isinstance(mode["task_id"], list) else [mode["task_id"]]
    return tuple(Network(dataset=folders[number]["foldername"], trainer=mode["trainer"]) for number in numbers)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    """Of a file that had this size and time: gigabytes need not be read for each case. What is loaded is hashed again."""
    del size, modified_ns
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

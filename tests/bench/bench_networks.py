"""How much of a network's run is not its forward pass: measured inside the process, around the network itself.

Two networks: the small one that comes with duet, and one of a published model's size (nnU-Net's own 3d_fullres architecture, 31
million weights drawn by chance) on tiles of 128 x 128 x 128. One digital patient, both tracers; FDG lies on the networks'
own voxels, PentixaFor is resampled. Loading is told apart: a worker does it once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from results import Figure, keep

from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.segmenters.catalogue import SHIPPED
from analysis.segmenters.device import chosen_device, seen_gpu
from analysis.segmenters.model_files import look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.nnunet import NnUnetLesions, load_network
from analysis.values import Tracer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
from nets import ARCHITECTURE, sealed, write_fold

SMALL, LARGE = "duet-phantom-lesions", "published-size"
STAGES = 6
LARGE_ARCHITECTURE = {
    **ARCHITECTURE,
    "arch_kwargs": {
        **ARCHITECTURE["arch_kwargs"],  # type: ignore[dict-item]
        "n_stages": STAGES,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * STAGES,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (STAGES - 1),
        "n_conv_per_stage": [2] * STAGES,
        "n_conv_per_stage_decoder": [2] * (STAGES - 1),
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    },
}


@dataclass
class Stopwatch:
    """Seconds within the network, and how many tiles it saw."""

    seconds: float = 0.0
    tiles: int = 0
    began: float = field(default=0.0)

    def start(self, *_: object) -> None:
        self._settle()
        self.began = time.perf_counter()

    def stop(self, *_: object) -> None:
        self._settle()
        self.seconds += time.perf_counter() - self.began
        self.tiles += 1

    def _settle(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()


@contextmanager
def watched(network: NnUnetLesions) -> Iterator[Stopwatch]:
    watch, module = Stopwatch(), network.resident.predictor.network
    hooks = [module.register_forward_pre_hook(watch.start), module.register_forward_hook(watch.stop)]
    yield watch
    for hook in hooks:
        hook.remove()


def large(models: Path) -> ModelSettings:
    """A model folder of a published network's size; its weights are drawn by chance."""
    folder, card = models / LARGE, look_into(SHIPPED, SMALL).card
    folder.mkdir()
    plans = json.loads((SHIPPED / SMALL / "plans.json").read_text())
    plans["configurations"]["3d_fullres"] |= {"architecture": LARGE_ARCHITECTURE, "patch_size": [128, 128, 128]}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_bytes((SHIPPED / SMALL / "dataset.json").read_bytes())
    arch = LARGE_ARCHITECTURE
    torch.manual_seed(1)
    names = arch["network_class_name"], arch["arch_kwargs"], arch["_kw_requires_import"]
    write_fold(folder / "fold_0", get_network_from_plans(*names, 2, 2, True, False), plans)
    return sealed(models, replace(card, name=LARGE, version="random", trainer="nnUNetTrainer", files={}))


def measure(settings: ModelSettings, name: str, patient: DigitalPatient) -> list[Figure]:
    """One model on both tracers. Warm: each was run once before."""
    device = chosen_device(settings, name)
    began = time.perf_counter()
    network = load_network(settings, name, Tracer.FDG)
    assert isinstance(network, NnUnetLesions)
    figures = [Figure(what=f"{name}: load", ours=time.perf_counter() - began, unit="s")]
    if name == SMALL:
        network.lesion_probability(patient.fdg)
    for tracer in Tracer:
        with watched(network) as watch:
            began = time.perf_counter()
            network.lesion_probability(patient.study(tracer))
            whole = time.perf_counter() - began
        outside = 100.0 * (whole - watch.seconds) / whole
        figures += [
            Figure(what=f"{name}, {tracer}: {watch.tiles} tiles on {device}", ours=whole, unit="s"),
            Figure(
                what=f"{name}, {tracer}: outside the forward pass",
                ours=outside,
                unit="%",
                target="at most 10 %",
                met=outside <= 10.0,
            ),
        ]
    return figures


def main() -> None:
    patient = make_patient(PhantomSettings(seed=3))
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        shipped = ModelSettings(folder=SHIPPED, allow=tuple(look_into(SHIPPED, SMALL).to_allow.values()))
        figures = measure(shipped, SMALL, patient)
        figures += measure(replace(large(models), device="auto"), LARGE, patient)
    gpu = seen_gpu()
    note = f"GPU: {gpu}." if gpu else "No GPU was at hand; nothing was measured on one."
    keep("Networks: time outside the forward pass", figures, note)


if __name__ == "__main__":
    main()

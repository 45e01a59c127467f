"""TotalSegmentator in a process of its own, for it changes threads and the environment, prints, and may exit.

Run as `python -P totalsegmentator_child.py REQUEST` by `totalsegmentator_process`, which also sets the environment; it
imports nothing of duet. REQUEST is a JSON file:

    images: [{ct: .npy int16 HU [k, j, i], affine: 4 x 4, indices (i, j, k) to RAS mm, labels: .npy to write, uint8 [k, j, i]}]
    names: JSON file to write, label > class name;  variant: default, fast, fastest;  classes: names, or null for all
    sha256: of every file that may be loaded;  threads: at most so many;  device: auto, cpu, cuda

Standard input is a pipe that the parent holds open: when it closes, the parent is gone, and this process group ends.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

OFFLINE = "TotalSegmentator tried to reach the network, which duet does not allow; its weights are to lie in the models' folder"
HOME_PREFIX = "duet-totalsegmentator-"  # of the run's own folder, which holds the request
_TRAINING = "nnunetv2.training.nnUNetTrainer.variants"
_TRAINERS = {
    "nnUNetTrainerNoMirroring": f"{_TRAINING}.data_augmentation.nnUNetTrainerNoMirroring",
    "nnUNetTrainer_4000epochs_NoMirroring": f"{_TRAINING}.training_length.nnUNetTrainer_Xepochs_NoMirroring",
}
_KEPT: list[Any] = []
_REFUSED: list[str] = []
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")


def main(request: Path) -> None:
    """Labels every image of the request; raises whatever goes wrong, and the last line of the traceback says what."""
    sys.addaudithook(refuse_network)
    threading.Thread(target=end_with_parent, args=(request.parent,), daemon=True).start()
    wanted = json.loads(request.read_text(encoding="utf-8"))
    cap_threads(wanted["threads"])
    load_only(frozenset(wanted["sha256"]))
    work_in_this_process()
    find_trainers_quickly()
    names = label_names()
    for image in wanted["images"]:
        label(image, wanted)
    if _REFUSED:  # TotalSegmentator passes over it in silence where it sends its statistics
        raise RuntimeError(OFFLINE)
    Path(wanted["names"]).write_text(json.dumps(names), encoding="utf-8")


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, which Python code cannot take away again; sockets of this machine (AF_UNIX) stay."""
    if event not in _NETWORK:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and not isinstance(arguments[1], tuple):
        return
    _REFUSED.append(event)
    raise RuntimeError(OFFLINE)


def end_with_parent(home: Path) -> None:
    """Waits until the parent is gone, then ends this process and all that it started, and leaves no patient's CT behind."""
    while os.read(0, 1):  # not sys.stdin, whose lock the end of the interpreter would find taken
        pass
    if home.name.startswith(HOME_PREFIX):
        shutil.rmtree(home, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def cap_threads(most: int) -> None:
    """TotalSegmentator gives torch every processor of the machine; here it gets no more than it was given."""
    import torch  # noqa: PLC0415

    real = torch.set_num_threads

    def no_more(nthreads: int) -> None:
        real(min(nthreads, most))

    torch.set_num_threads = no_more
    no_more(most)


def find_trainers_quickly() -> None:
    """nnU-Net looks for a trainer's class by importing every trainer it has, and with them torchvision and more.

    The two that TotalSegmentator's nets of `total` were trained with are taken from where they are; others are looked for.
    """
    import nnunetv2.inference.predict_from_raw_data as inference  # noqa: PLC0415

    look_everywhere = inference.recursive_find_trainer_class_by_name

    def find(name: str) -> Any:
        if name in _TRAINERS:
            return getattr(importlib.import_module(_TRAINERS[name]), name)
        bear_other_torchvision()
        return look_everywhere(name)

    inference.recursive_find_trainer_class_by_name = find


def bear_other_torchvision() -> None:
    """Lets torchvision be imported where it was built for CUDA and torch was not: then its operators are missing.

    Each operator that the import asks for is declared; nobody here calls them.
    """
    import torch  # noqa: PLC0415

    library_of: Any = torch.library.Library
    for _ in range(20):
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library = library_of("torchvision", "FRAGMENT")
            library.define(f"{missing[1]}(Tensor input) -> Tensor")
            _KEPT.append(library)  # its operators would vanish with it
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
        else:
            return


def load_only(allowed: frozenset[str]) -> None:
    """From here on checkpoints and plans are loaded from the very bytes whose SHA-256 is on the list, or not at all."""
    import nnunetv2.inference.predict_from_raw_data as inference  # noqa: PLC0415
    import torch  # noqa: PLC0415

    def checked(file: str | Path) -> bytes:
        data = Path(file).read_bytes()
        if hashlib.sha256(data).hexdigest() not in allowed:
            raise RuntimeError(f"{file} is not the file that was allowed")
        return data

    real = torch.load
    torch.load = lambda file, **options: real(io.BytesIO(checked(file)), **options)
    inference.load_json = lambda file: json.loads(checked(file))


def work_in_this_process() -> None:
    """nnU-Net starts three pools of processes for each net, which take longer than a small net itself; here are 1 to 3 images.

    TotalSegmentator hands over a folder of `NAME_0000.nii.gz` (one channel) and awaits `NAME.nii.gz`.
    """
    import totalsegmentator.nnunet  # noqa: F401, PLC0415  adds its own trainers and methods to nnU-Net, so it comes first
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    def predict_here(predictor: Any, source: str, target: str, **options: Any) -> Any:
        heeded = ("save_probabilities", "overwrite", "use_cropped_logits_resampling")
        kept = {name: options[name] for name in heeded if name in options}
        files = sorted(Path(source).glob("*_0000.nii.gz"))
        named = [str(Path(target) / file.name.removesuffix("_0000.nii.gz")) for file in files]
        return predictor.predict_from_files_sequential([[str(file)] for file in files], named, **kept)

    nnUNetPredictor.predict_from_files = predict_here


def label_names() -> dict[int, str]:
    """The classes of `total` as the installed package numbers them."""
    from totalsegmentator.map_to_binary import class_map  # noqa: PLC0415

    return dict(class_map["total"])


def label(image: dict[str, Any], wanted: dict[str, Any]) -> None:
    """One CT to its label map."""
    import nibabel  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from totalsegmentator.python_api import totalsegmentator  # noqa: PLC0415

    image_of: Any = nibabel.Nifti1Image
    found = totalsegmentator(
        image_of(np.load(image["ct"]).transpose(2, 1, 0), np.array(image["affine"])),
        None,
        task="total",
        fast=wanted["variant"] == "fast",
        fastest=wanted["variant"] == "fastest",
        roi_subset=wanted["classes"],
        device=device_name(wanted["device"]),
        nr_thr_resamp=1,
        nr_thr_saving=1,
        quiet=True,
    )
    labels = np.asanyarray(found.dataobj).astype(np.uint8)
    np.save(image["labels"], np.ascontiguousarray(labels.transpose(2, 1, 0)))


def device_name(device: str) -> str:
    """TotalSegmentator's word for the device; a GPU that is asked for and is not there is an error, not a slow run."""
    import torch  # noqa: PLC0415

    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise RuntimeError('device = "cuda" was asked for, and torch sees no GPU')
    return "gpu" if device != "cpu" and present else "cpu"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

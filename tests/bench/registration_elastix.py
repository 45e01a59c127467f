"""itk-elastix in a process of its own: python registration_elastix.py CASE.npz FIELD.npz, maps rigid and bspline, two threads.

CASE: fixed, moving (HU), fixed_affine, moving_affine (index k, j, i to LPS mm). FIELD: shift (nk, nj, ni, 3) in mm on the fixed
grid, and the wall and processor seconds of the registration alone. Apart, because ITK and SimpleITK in one process are not
meant for each other.
"""

from __future__ import annotations

import sys
import time

import itk
import numpy as np


def image(values: np.ndarray, affine: np.ndarray) -> itk.Image:
    made = itk.image_from_array(np.ascontiguousarray(values, dtype=np.float32))
    axes = affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    made.SetOrigin([float(x) for x in affine[:3, 3]])
    made.SetSpacing([float(x) for x in spacing])
    made.SetDirection(itk.matrix_from_array(np.ascontiguousarray(axes / spacing)))
    return made


def main(source: str, target: str) -> None:
    case = np.load(source)
    fixed, moving = (image(case[name], case[f"{name}_affine"]) for name in ("fixed", "moving"))
    maps = itk.ParameterObject.New()
    maps.AddParameterMap(maps.GetDefaultParameterMap("rigid"))
    bspline = maps.GetDefaultParameterMap("bspline")
    # The default's second metric, bending energy, ends itk-elastix 0.25.4 with a segmentation fault on two threads
    # (in "Sampling gradients"), and on one thread makes a round seven times as long; so mutual information alone.
    bspline["Registration"], bspline["Metric"] = ("MultiResolutionRegistration",), ("AdvancedMattesMutualInformation",)
    # The step size by Qiao (2016): the default way to it takes longer than the whole registration.
    bspline["ASGDParameterEstimationMethod"] = ("DisplacementDistribution",)
    maps.AddParameterMap(bspline)
    began, spent = time.perf_counter(), time.process_time()
    _, found = itk.elastix_registration_method(fixed, moving, parameter_object=maps, number_of_threads=2, log_to_console=False)
    seconds = time.perf_counter() - began, time.process_time() - spent
    shift = itk.array_from_image(itk.transformix_deformation_field(moving, found))
    np.savez(target, shift=shift.astype(np.float32), seconds=np.array(seconds))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

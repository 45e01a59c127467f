"""How others see a picture: contrast by WCAG 2.2, lightness by CIE 1976, colour blindness by Machado 2009."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision deficiency, IEEE TVCG 15:1291
# (2009), doi 10.1109/TVCG.2009.113: severity 1.0, for linear RGB.
MACHADO = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
KINDS = ("nobody's", *MACHADO)


def seen_by(rgb: npt.ArrayLike, kind: str) -> npt.NDArray[np.uint8]:
    """(..., 3) sRGB 0..255 as seen with the deficiency."""
    if kind not in MACHADO:
        return np.asarray(rgb, np.uint8)
    light = np.clip(linear(rgb) @ np.array(MACHADO[kind]).T, 0, 1)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)


def linear(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """sRGB 0..255 as linear light 0..1 (IEC 61966-2-1)."""
    c = np.asarray(rgb, np.float64) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(linear(rgb) @ np.array([0.2126, 0.7152, 0.0722]))


def lightness(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """CIE L*, 0..100."""
    y = luminance(rgb)
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def contrast(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """WCAG 2.2 contrast ratio, 1..21."""
    low, high = sorted((float(luminance(one)), float(luminance(other))))
    return (high + 0.05) / (low + 0.05)

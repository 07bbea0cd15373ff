"""What a drawn photo is made of before light falls on it, and the noise it is made from.

Lengths are pixels of the finished photo, reflectance is linear light (not sRGB).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

Size = tuple[int, int]


@dataclass
class Canvas:
    """A surface under construction: the makers below change its arrays in place."""

    kind: str
    albedo: np.ndarray
    """(H, W, 3) float32 linear reflectance, 0..1."""
    height: np.ndarray
    """(H, W) float32, pixels towards the camera; its slope makes the shading."""
    light: np.ndarray
    """(H, W) float32, multiplies the light that arrives: shadows and reflections."""
    is_metal: bool = False
    distractors: list[str] = field(default_factory=list)

    @property
    def size_hw(self) -> Size:
        return self.height.shape[0], self.height.shape[1]


def blank_canvas(kind: str, size_hw: Size, colour: np.ndarray, is_metal: bool = False) -> Canvas:
    """A flat, evenly lit canvas of one linear RGB colour (3,)."""
    height, width = size_hw
    albedo = np.empty((height, width, 3), np.float32)
    albedo[:] = colour
    return Canvas(
        kind, albedo, np.zeros(size_hw, np.float32), np.ones(size_hw, np.float32), is_metal=is_metal
    )


def linear(*srgb: float) -> np.ndarray:
    """An sRGB colour (0..255 each) as linear reflectance (3,) float32."""
    return ((np.array(srgb, np.float32) / 255) ** 2.2).astype(np.float32)


@lru_cache(maxsize=16)
def _frequencies(size_hw: Size) -> tuple[np.ndarray, np.ndarray]:
    """Cycles per pixel of an rfft2: (H, 1) and (1, W // 2 + 1) float32."""
    fy = np.fft.fftfreq(size_hw[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size_hw[1]).astype(np.float32)[None, :]
    return fy, fx


@lru_cache(maxsize=32)
def _spectrum(size_hw: Size, beta: float, shortest_px: float, longest_px: float) -> np.ndarray:
    """Amplitude of the noise that `fractal` draws, on the frequencies of an rfft2."""
    fy, fx = _frequencies(size_hw)
    square = fy * fy + fx * fx
    square[0, 0] = 1.0
    low, high = (square * longest_px**2) ** -2, (square * shortest_px**2) ** 2
    spectrum = square ** np.float32(-beta / 4) / ((1 + low) * (1 + high))
    spectrum[0, 0] = 0.0
    return spectrum.astype(np.float32)


def _shape_noise(rng: np.random.Generator, size_hw: Size, spectrum: np.ndarray, padded: Size) -> np.ndarray:
    from scipy import fft

    white = rng.standard_normal(padded, dtype=np.float32)
    shaped = np.asarray(fft.irfft2(np.asarray(fft.rfft2(white)) * spectrum, s=padded))
    shaped = shaped[: size_hw[0], : size_hw[1]]
    shaped = shaped - shaped.mean()
    return (shaped / max(float(shaped.std()), 1e-6)).astype(np.float32)


def _padded(size_hw: Size) -> Size:
    """A size the FFT likes, a little larger, so that opposite borders do not match."""
    from scipy import fft

    height, width = (int(fft.next_fast_len(side + 16, real=True) or side) for side in size_hw)
    return height, width


def resize(field_2d: np.ndarray, size_hw: Size) -> np.ndarray:
    """(h, w) float32 → (H, W) float32, bicubic."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(field_2d, np.float32))
    return np.asarray(image.resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC))


def fractal(
    rng: np.random.Generator, size_hw: Size, beta: float, shortest_px: float = 2.0, longest_px: float = 1e4
) -> np.ndarray:
    """(H, W) noise of mean 0 and spread 1 whose power falls as frequency**-beta between two wavelengths."""
    if shortest_px >= 8:  # nothing fine in it: draw it at a quarter of the size
        small = (-(-size_hw[0] // 4), -(-size_hw[1] // 4))
        return resize(fractal(rng, small, beta, shortest_px / 4, longest_px / 4), size_hw)
    padded = _padded(size_hw)
    return _shape_noise(rng, size_hw, _spectrum(padded, beta, shortest_px, longest_px), padded)


def streaks(
    rng: np.random.Generator, size_hw: Size, angle: float, along_px: float, across_px: float
) -> np.ndarray:
    """(H, W) noise of mean 0 and spread 1, drawn out along `angle` (radians, 0 is horizontal)."""
    padded = _padded(size_hw)
    fy, fx = _frequencies(padded)
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = fy * np.cos(angle) - fx * np.sin(angle)
    spectrum = np.exp(-2 * np.pi**2 * ((along * along_px) ** 2 + (across * across_px) ** 2))
    spectrum[0, 0] = 0.0
    return _shape_noise(rng, size_hw, spectrum, padded)


def smooth_walk(rng: np.random.Generator, n: int, scale: float) -> np.ndarray:
    """(n,) noise of mean about 0 and spread about 1 that forgets itself over `scale` samples."""
    n_knots = max(2, int(np.ceil(n / max(scale, 1.0))) + 2)
    knots = rng.standard_normal(n_knots)
    fine = np.linspace(0, n_knots - 1, n)
    left = np.minimum(fine.astype(int), n_knots - 2)
    t = fine - left
    t = t * t * (3 - 2 * t)
    return (knots[left] * (1 - t) + knots[left + 1] * t).astype(np.float32)


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def grid(size_hw: Size) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates y (H, 1) and x (1, W), float32."""
    return (
        np.arange(size_hw[0], dtype=np.float32)[:, None],
        np.arange(size_hw[1], dtype=np.float32)[None, :],
    )

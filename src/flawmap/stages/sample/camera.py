"""From a canvas to a photo: light, lens, sensor and the camera's own processing."""

from __future__ import annotations

import numpy as np

from flawmap.stages.sample.canvas import Canvas, fractal, grid, ramp


def take_photo(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a canvas under one random light, with one random camera."""
    from scipy.ndimage import gaussian_filter

    scene = canvas.albedo * (_shading(rng, canvas) * canvas.light * _falloff(rng, canvas))[..., None]
    warmth, green = rng.normal(-0.01, 0.06), rng.normal(0, 0.015)
    scene *= np.array([1 + warmth, 1 + green, 1 - warmth], np.float32)
    target = float(np.exp(rng.uniform(np.log(0.11), np.log(0.42))))
    exposed = scene * np.float32(target / max(float(scene[::4, ::4].mean()), 1e-4))
    softness = rng.uniform(0.45, 1.15)
    exposed = gaussian_filter(exposed, (softness, softness, 0), truncate=3.0)
    exposed = _sense(rng, exposed)
    image = np.clip(exposed, 0, None) ** np.float32(1 / 2.2)
    image = _develop(rng, image)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shading(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """(H, W): Lambert's law on the height field, part of the light coming from all round."""
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = np.deg2rad(rng.uniform(28, 65))
    towards = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
    gy, gx = np.gradient(canvas.height)
    lit = (towards[2] - gx * towards[0] - gy * towards[1]) / np.sqrt(1 + gx * gx + gy * gy)
    ambient = rng.uniform(0.3, 0.6)
    return (ambient + (1 - ambient) * np.clip(lit, 0, None) / towards[2]).astype(np.float32)


def _falloff(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """(H, W): light that is stronger on one side, and the lens's darker corners."""
    height, width = canvas.size_hw
    y, x = grid(canvas.size_hw)
    y, x = (y - height / 2) / max(height, width) * 2, (x - width / 2) / max(height, width) * 2
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.02, 0.3)
    uneven = 1 + slope * (x * np.cos(angle) + y * np.sin(angle))
    uneven = uneven * (1 + 0.04 * fractal(rng, canvas.size_hw, 3.0, 100, 2000))
    return (uneven * (1 - rng.uniform(0.05, 0.25) * (x * x + y * y))).astype(np.float32)


def _sense(rng: np.random.Generator, exposed: np.ndarray) -> np.ndarray:
    """Shot and read noise, a little smeared, as a colour filter's interpolation leaves it."""
    height, width = exposed.shape[:2]
    grey = rng.standard_normal((height, width), dtype=np.float32)
    colour = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    colour = colour.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    noise = 0.8 * grey[..., None] + 0.3 * colour
    shot, read = rng.uniform(0.006, 0.028), rng.uniform(0.0008, 0.003)
    return exposed + noise * np.sqrt(shot**2 * np.clip(exposed, 0, None) + read**2)


def _develop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Tone curve, saturation and sharpening, as a phone or a compact camera does them."""
    from scipy.ndimage import gaussian_filter

    amount = rng.uniform(0.0, 0.7)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    detail = grey - gaussian_filter(grey, rng.uniform(0.8, 1.4), truncate=2.5)
    saturation = rng.uniform(0.75, 1.2)
    image = grey[..., None] + saturation * (image - grey[..., None]) + (amount * detail)[..., None]
    contrast = rng.uniform(0.1, 0.7)
    return (1 - contrast) * image + contrast * ramp(image, -0.02, 1.02)

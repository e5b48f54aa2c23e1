# SPDX-License-Identifier: Apache-2.0
"""The physics of a simulated universe: from four parameters to the particle counts of four redshifts.

Initial density fluctuations are a Gaussian field with the linear power spectrum; particles on a lattice move along its
gradient (the Zel'dovich approximation), and are counted in voxels. References:
  Eisenstein & Hu 1998, ApJ 496, 605 (equations 26, 28-31: the transfer function without wiggles);
  Carroll, Press & Turner 1992, ARA&A 30, 499 (equation 29: the growth of structure);
  Zel'dovich 1970, A&A 5, 84.

Lengths are in Mpc/h, wave numbers in h/Mpc, throughout. Shape legend: D voxels along each edge, C redshifts; a field in
Fourier space has the shape (D, D, D // 2 + 1) of numpy's rfftn.
"""

import math
from dataclasses import dataclass

import numpy as np

REDSHIFTS = (0.0, 0.5, 1.5, 3.0)
BARYON_FRACTION = 0.16
CMB_TEMPERATURE_2K7 = 2.725 / 2.7
"""Temperature of the microwave background over 2.7 K."""
SIGMA_8_RADIUS = 8.0


@dataclass(frozen=True, kw_only=True)
class Cosmology:
    """A flat universe with cold dark matter and a cosmological constant."""

    omega_m: float
    """Density of matter over the critical one, today."""
    sigma_8: float
    """Root mean square of the linear density contrast in spheres of 8 Mpc/h, today."""
    n_s: float
    """Slope of the primordial power spectrum."""
    h_0: float
    """Hubble constant in km/s/Mpc."""

    @property
    def h(self) -> float:
        """Hubble constant in units of 100 km/s/Mpc."""
        return self.h_0 / 100

    def transfer(self, k: np.ndarray) -> np.ndarray:
        """T(k) without acoustic oscillations, Eisenstein & Hu 1998, equations 26 and 28-31; T(0) = 1."""
        omega_h2, baryons_h2 = self.omega_m * self.h**2, BARYON_FRACTION * self.omega_m * self.h**2
        sound_horizon = 44.5 * math.log(9.83 / omega_h2) / math.sqrt(1 + 10 * baryons_h2**0.75)  # Mpc
        suppression = (
            1
            - 0.328 * math.log(431 * omega_h2) * BARYON_FRACTION
            + 0.38 * math.log(22.3 * omega_h2) * BARYON_FRACTION**2
        )
        scale = (0.43 * sound_horizon * self.h) * k
        shape = self.omega_m * self.h * (suppression + (1 - suppression) / (1 + scale**4))
        q = k * CMB_TEMPERATURE_2K7**2 / shape
        logarithm = np.log(2 * math.e + 1.8 * q)
        return logarithm / (logarithm + (14.2 + 731 / (1 + 62.5 * q)) * q**2)

    def power(self, k: np.ndarray) -> np.ndarray:
        """Linear power spectrum today in (Mpc/h)^3, A k^n_s T(k)^2 with A such that sigma(8 Mpc/h) = sigma_8."""
        amplitude = (self.sigma_8 / _sigma(self._unnormalised_power, SIGMA_8_RADIUS)) ** 2
        return amplitude * self._unnormalised_power(k)

    def sigma(self, radius: float) -> float:
        """Root mean square of the linear density contrast today in spheres of `radius` Mpc/h."""
        return _sigma(self.power, radius)

    def growth(self, redshift: float) -> float:
        """Linear growth D(z) over today's: D(0) = 1. Carroll, Press & Turner 1992, equation 29, times a."""
        scale_factor = 1 / (1 + redshift)
        return scale_factor * self._growth_suppression(redshift) / self._growth_suppression(0.0)

    def _unnormalised_power(self, k: np.ndarray) -> np.ndarray:
        return k**self.n_s * self.transfer(k) ** 2

    def _growth_suppression(self, redshift: float) -> float:
        """g(a): growth relative to a universe of matter alone."""
        matter = self.omega_m * (1 + redshift) ** 3
        expansion_2 = matter + 1 - self.omega_m  # (H / H_0)^2 of a flat universe
        matter, vacuum = matter / expansion_2, (1 - self.omega_m) / expansion_2
        return 2.5 * matter / (matter ** (4 / 7) - vacuum + (1 + matter / 2) * (1 + vacuum / 70))


def displacement(cosmology: Cosmology, *, size: int, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Displacement field today, (3, D, D, D) float32 in Mpc/h, of a periodic box of `size` voxels of `cell` Mpc/h."""
    delta_k = density(cosmology, size=size, cell=cell, rng=rng)
    wave_vector, k_2 = wave_numbers(size, cell)
    k_2[0, 0, 0] = 1  # the mean does not move anything: delta_k is 0 there
    potential_k = delta_k / k_2
    return np.stack([np.fft.irfftn(1j * k_i * potential_k, s=(size,) * 3, axes=(0, 1, 2)) for k_i in wave_vector])


def density(cosmology: Cosmology, *, size: int, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Linear density contrast today in Fourier space: white noise coloured by sqrt(P(k) / cell volume)."""
    noise = rng.standard_normal((size,) * 3, dtype=np.float32)
    _, k_2 = wave_numbers(size, cell)
    return np.fft.rfftn(noise) * np.sqrt(cosmology.power(np.sqrt(k_2)) / cell**3)  # P(0) = 0: the mean stays


def wave_numbers(size: int, cell: float) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """(k_x, k_y, k_z) that broadcast, and k^2, of the modes of numpy's rfftn, in float32."""
    k_x = (2 * np.pi / cell) * np.fft.fftfreq(size).astype(np.float32)
    k_z = (2 * np.pi / cell) * np.fft.rfftfreq(size).astype(np.float32)
    wave_vector = (k_x[:, None, None], k_x[None, :, None], k_z[None, None, :])
    return wave_vector, sum(k_i**2 for k_i in wave_vector)


def counts(displacement_3DHW: np.ndarray, *, growth: float, cell: float) -> np.ndarray:
    """Particles in each voxel, int16 (D, D, D): one starts at each voxel and moves by growth * displacement."""
    size = displacement_3DHW.shape[-1]
    voxel = 0
    for axis, moved in enumerate(displacement_3DHW * (growth / cell)):
        start = np.arange(size, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        voxel = voxel * size + np.rint(moved + start).astype(np.int32) % size
    return np.bincount(voxel.ravel(), minlength=size**3).reshape((size,) * 3).astype(np.int16)


def universe(cosmology: Cosmology, *, size: int, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Particle counts (D, D, D, C) int16 at REDSHIFTS; each redshift holds D^3 particles."""
    moves = displacement(cosmology, size=size, cell=cell, rng=rng)
    return np.stack([counts(moves, growth=cosmology.growth(z), cell=cell) for z in REDSHIFTS], axis=-1)


def _sigma(power, radius: float) -> float:
    """sqrt of the integral of P(k) W(kR)^2 k^2 dk / 2 pi^2, over log k by the trapezoid rule."""
    log_k = np.linspace(np.log(1e-5), np.log(1e2), 4096)
    k = np.exp(log_k)
    x = k * radius
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return float(np.sqrt(np.trapezoid(power(k) * window**2 * k**3, log_k) / (2 * np.pi**2)))

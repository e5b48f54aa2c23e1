# SPDX-License-Identifier: Apache-2.0
"""The physics of simulated universes, against measurements on the fields themselves."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from cosmoflow.synthetic import cosmology
from cosmoflow.synthetic.cosmology import Cosmology

PLANCK = Cosmology(omega_m=0.31, sigma_8=0.82, n_s=0.965, h_0=67.7)
SIZE, CELL = 32, 8.0


@pytest.fixture(scope="module")
def displacements():
    """Displacement fields (3, D, D, D) of a few universes with the same parameters."""
    return [cosmology.displacement(PLANCK, size=SIZE, cell=CELL, rng=np.random.default_rng(seed)) for seed in range(4)]


def density_of(displacement) -> np.ndarray:
    """Density contrast of a displacement field: minus its divergence, taken in Fourier space; (D, D, D) complex."""
    k = 2 * np.pi * np.fft.fftfreq(SIZE, d=CELL)
    wave_vector = np.meshgrid(k, k, k, indexing="ij")
    return -sum(1j * k_i * np.fft.fftn(psi) for k_i, psi in zip(wave_vector, displacement, strict=True))


def wave_number() -> np.ndarray:
    k = 2 * np.pi * np.fft.fftfreq(SIZE, d=CELL)
    return np.sqrt(sum(k_i**2 for k_i in np.meshgrid(k, k, k, indexing="ij")))


def test_sigma_8_is_what_was_asked_for():
    def integrand(log_k):
        k = np.exp(log_k)
        x = 8 * k
        return PLANCK.power(k) * (3 * (np.sin(x) - x * np.cos(x)) / x**3) ** 2 * k**3 / (2 * np.pi**2)

    assert np.sqrt(quad(integrand, np.log(1e-5), np.log(20), limit=500)[0]) == pytest.approx(0.82, rel=1e-3)
    assert PLANCK.sigma(8.0) == pytest.approx(0.82, rel=1e-6)


def test_displacements_have_the_input_power_spectrum(displacements):
    """Averaged over shells of modes: each shell within 4 standard errors, sqrt(2 / modes), of the mean input power."""
    k = wave_number()
    power = np.mean([np.abs(density_of(psi)) ** 2 for psi in displacements], axis=0) * CELL**3 / SIZE**3
    edges = np.linspace(0.03, 0.9 * np.pi / CELL, 9)  # below the Nyquist frequency
    for low, high in pairwise(edges):
        shell = (k >= low) & (k < high)
        ratio = power[shell] / PLANCK.power(k[shell])
        assert ratio.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / (shell.sum() * len(displacements))))


def test_the_density_field_has_the_variance_of_its_spectrum_in_spheres(displacements):
    """Density in spheres of 16 Mpc/h, measured on the fields, against the integral over the same modes' power."""
    x = np.maximum(16 * wave_number(), 1e-6)
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    smoothed = [np.fft.ifftn(density_of(psi) * window).real for psi in displacements]
    modes = PLANCK.power(wave_number()) * window**2 / (SIZE * CELL) ** 3
    assert np.std(smoothed) == pytest.approx(np.sqrt(modes.sum()), rel=0.05)
    assert np.std(smoothed) == pytest.approx(PLANCK.sigma(16.0), rel=0.1)  # the box lacks the longest waves


def test_more_sigma_8_means_more_contrast():
    counts = [
        cosmology.universe(
            Cosmology(omega_m=0.3, sigma_8=sigma_8, n_s=1.0, h_0=70.0), size=16, cell=8.0, rng=np.random.default_rng(1)
        ).std(axis=(0, 1, 2))
        for sigma_8 in (0.4, 0.8, 1.2)
    ]
    assert (np.diff(counts, axis=0) > 0).all()
    assert (np.diff(counts, axis=1) < 0).all()  # structure grows with time: redshifts 0, 0.5, 1.5, 3


def test_displacements_scale_with_sigma_8():
    double = Cosmology(omega_m=0.31, sigma_8=1.64, n_s=0.965, h_0=67.7)
    fields = [cosmology.displacement(c, size=8, cell=8.0, rng=np.random.default_rng(0)) for c in (PLANCK, double)]
    np.testing.assert_allclose(fields[1], 2 * fields[0], rtol=1e-4, atol=1e-5)


def test_growth_is_one_today_and_smaller_before():
    for omega_m in (0.1, 0.3, 0.5):
        growth = [Cosmology(omega_m=omega_m, sigma_8=1, n_s=1, h_0=70).growth(z) for z in (0, 0.5, 1.5, 3, 10)]
        assert growth[0] == 1
        assert (np.diff(growth) < 0).all()


def test_growth_follows_the_exact_integral():
    """D(a) is proportional to H(a) times the integral of da / (a H)^3 (Heath 1977); the fit is close."""

    def exact(omega_m, redshift):
        def hubble(a):
            return np.sqrt(omega_m / a**3 + 1 - omega_m)

        scale_factor = 1 / (1 + redshift)
        return hubble(scale_factor) * quad(lambda a: (a * hubble(a)) ** -3, 0, scale_factor)[0]

    for omega_m in (0.1, 0.3, 0.5):
        for redshift in (0.5, 1.5, 3.0):
            expected = exact(omega_m, redshift) / exact(omega_m, 0)
            found = Cosmology(omega_m=omega_m, sigma_8=1, n_s=1, h_0=70).growth(redshift)
            assert found == pytest.approx(expected, rel=0.03 if omega_m == 0.1 else 0.005)


def test_matter_alone_grows_with_the_scale_factor():
    assert Cosmology(omega_m=1.0, sigma_8=1, n_s=1, h_0=70).growth(3.0) == pytest.approx(0.25)


def test_the_transfer_function_is_one_on_large_scales_and_falls():
    k = np.geomspace(1e-6, 10, 200)
    transfer = PLANCK.transfer(k)
    assert transfer[0] == pytest.approx(1, abs=1e-4)
    assert (np.diff(transfer) < 0).all()
    # The slope at small scales is that of ln(k) / k^2.
    assert np.log(transfer[-1] / transfer[-20]) / np.log(k[-1] / k[-20]) == pytest.approx(-1.85, abs=0.15)


def test_particles_that_do_not_move_are_one_a_voxel():
    assert (cosmology.counts(np.zeros((3, 4, 4, 4)), growth=1.0, cell=8.0) == 1).all()


def test_a_particle_moves_to_the_voxel_it_reaches_and_wraps_around():
    moves = np.zeros((3, 4, 4, 4))
    moves[:, 3, 1, 2] = 8.0, 16.0, -8.0  # one voxel on in x, two in y, one back in z
    counts = cosmology.counts(moves, growth=1.0, cell=8.0)
    assert counts[3, 1, 2] == 0
    assert counts[0, 3, 1] == 2
    assert counts.sum() == 64


def test_matter_gathers_where_it_was_dense(displacements):
    """The particle counts follow the linear density: the sign of the displacement is right."""
    psi = displacements[0]
    linear = np.fft.ifftn(density_of(psi)).real
    counts = cosmology.counts(psi, growth=0.5, cell=CELL)
    assert np.corrcoef(linear.ravel(), counts.ravel())[0, 1] > 0.3

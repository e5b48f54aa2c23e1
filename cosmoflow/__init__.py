# SPDX-License-Identifier: Apache-2.0
"""CosmoFlow: regress four cosmological parameters from the dark matter of a simulated universe."""

# SPDX-License-Identifier: Apache-2.0
"""Several processes that train together.

world.py                process group and device; launchers.py, rendezvous.py, affinity.py: how ranks find each other
batch_norm.py           statistics shared by several ranks
spatial.py, halo.py     one sample cut over several ranks
pipeline.py             layers cut over several ranks
gradient_compression.py gradients rounded to 16 bits on the wire

Imports: PyTorch and compliance.files only. Everything else in harness may import this package.
"""

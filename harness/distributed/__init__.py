# SPDX-License-Identifier: Apache-2.0
"""Training with several processes.

world.py                 process group and device: launch() and World
data_parallel.py         a model on its device, and its replicas
launchers.py             rank and size, from the launcher's environment
rendezvous.py            address and port at which the ranks meet
node_layout.py           the ranks of each node
node_group.py            process group of a node's ranks
affinity.py              the accelerator and the cores of a rank
watchdog.py              heartbeats of all ranks
mpi_group.py             process group over MPI
batch_norm.py            batch-norm statistics over several ranks
spatial.py, halo.py      one sample partitioned over several ranks
pipeline.py              layers partitioned over several ranks
gradient_compression.py  gradients rounded to 16 bits for the exchange

Imports: PyTorch and compliance.files only. Everything else in harness may import this package.
"""

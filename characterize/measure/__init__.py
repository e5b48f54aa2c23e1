# SPDX-License-Identifier: Apache-2.0
"""Measurements on this machine.

timing.py, device.py                        repeated timing, and the device
rank.py, ranks.py                           run a function on several ranks
benchmarks.py                               the benchmarks' networks and batches
training_step.py, step_costs.py, step_profile.py, data_parallel.py    the benchmarks' training steps
collectives.py, communication_timeline.py   communication
kernel_work.py, kernel_shapes.py            single kernels
file_access.py, io_tests.py, storage_tests.py, sample_formats.py      storage
memory_counters.py, darshan_log.py          counters of the platform

Imports: harness, results.
"""

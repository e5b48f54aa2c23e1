# SPDX-License-Identifier: Apache-2.0
"""What bounds a system under the benchmarks, layer by layer, and what it would do at another scale.

    python -m characterize roofline --output output/characterize       # measures what it needs, places the benchmarks

commands/  one file a command: kernels, allreduce, storage, roofline, breakdown, scaling, predict, report
measure/   what is measured on this machine
models/    pure functions of measurements: rooflines, times, predictions; tested without a machine
results/   results as files and tables
pictures/  plots; pages/: the report page; systems/: declared systems

Imports: harness and compliance; a benchmark's modules only when they are needed, so that a missing benchmark is
skipped. Nothing imports characterize.
"""

# SPDX-License-Identifier: Apache-2.0
"""Performance characterization: resources that bound a system under the benchmarks, and predictions at other scales.

    python -m characterize roofline --output output/characterize       # measures what it needs, places the benchmarks

commands/  one file per command: kernels, allreduce, storage, roofline, breakdown, scaling, predict, fom, report
measure/   measurements on this machine
models/    pure functions of measurements: rooflines, times, predictions; tested without hardware
results/   results as files and tables
pictures/  plots; pages/: the report page; systems/: systems described in TOML files

Imports: harness and compliance. A benchmark's modules are imported when they are needed, so a benchmark that is not
installed is skipped. Only perf imports characterize.
"""

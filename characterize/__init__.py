# SPDX-License-Identifier: Apache-2.0
"""What bounds a system under the benchmarks, layer by layer, and what it would do at another scale.

    python -m characterize roofline --output output/characterize       # measures what it needs, places the benchmarks

One module a verb (kernels, allreduce, storage, roofline, breakdown, scaling, predict, report); each measures, and hands
what it found to pure models (roofline_model, bandwidth, time_model, throughput_model, kernel_model) that are
tested without a machine. Imports: harness and compliance, and a benchmark's model and data modules only at the moment
when they are needed, so that a benchmark that is not installed is left out rather than fatal. Nothing imports
characterize.
"""

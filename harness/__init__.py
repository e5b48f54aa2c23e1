# SPDX-License-Identifier: Apache-2.0
"""The library that all four benchmarks train with: plain functions and context managers, no framework.

run.py            the only writer of the event log: legal order of events, target, status
event_log.py      the file of mlperf-logging lines of one run; run_lines.py: what a run prints; provenance.py: digests
                  of code, configuration and data; loss_watch.py: losses that are NaN or infinite
config.py         the two TOML files -> frozen dataclasses, checked against the rules; validate.py: bounds of fields
train_command.py  the request of a train command; cli.py: options and exit codes of all commands;
                  hpc_train.py: one command for all benchmarks
checkpoint.py     exact resume; signals.py: Ctrl-C and SIGTERM as exceptions
progress.py       progress bars
page_cache.py     drops cached pages of the data set; local_copy.py: staging and caching for a run
processor.py      the processor of this machine; children.py: child processes that end with their parent
system_settings.py  the settings of [system] that all benchmarks have
precision.py      fp32, tf32, bf16 or fp16; operator_check.py: the device's arithmetic, checked before the clock starts;
                  operators.py: a model's convolutions and matrix products; device.py: waits for the device;
                  flops.py: operations of a training step
optim/            learning-rate schedules, optimizers, parameter groups
distributed/      process group, launchers, batch norm over ranks, spatial and pipeline parallelism
data/             manifests, samplers, loaders, code that prepare and synthesize commands share
staging/          copies a data set to the storage of the nodes; archive/: packs small files for it
campaign/         N runs -> a submission
verify/           finds devices that compute wrongly or are slow
monitoring/       utilization and energy of a node

Imports: compliance and rules. Benchmarks, characterize and perf import harness; harness never imports them.
"""

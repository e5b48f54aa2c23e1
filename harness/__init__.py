# SPDX-License-Identifier: Apache-2.0
"""The library that all four benchmarks train with: plain functions and context managers, no framework.

run.py            the only writer of the event log: legal order of events, target, status
event_log.py      one run's file of mlperf-logging lines
config.py         the two TOML files -> frozen dataclasses, checked against the rules; validate.py: bounds of fields
train_command.py  what a train command was asked for; cli.py: options and exit codes of all commands
checkpoint.py     exact resume
optim.py          learning-rate schedules, LAMB, LARS, parameter groups; precision.py, flops.py
distributed/      process group, launchers, batch norm over ranks, spatial and pipeline parallelism
data/             manifests, samplers, loaders, what prepare and synthesize commands share
staging/          copying a data set to the nodes' own storage; archive/: packing small files for it
campaign/         N runs -> a submission
monitoring/       utilization and energy of a node

Imports: compliance and rules. Benchmarks, characterize and perf import harness; harness never imports them.
"""

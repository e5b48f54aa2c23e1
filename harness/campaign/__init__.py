# SPDX-License-Identifier: Apache-2.0
"""N runs of one benchmark from distinct seeds, laid out as a submission: `python -m harness.campaign`.

campaign.py            the command and its loop over runs
plan.py                what is to be run, from the command line, checked before anything is run
training_process.py    one run in a process of its own
system_description.py  the machine's description for a submission, as far as the machine can tell

Imports: harness and compliance; nothing in harness imports this package.
"""

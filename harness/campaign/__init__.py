# SPDX-License-Identifier: Apache-2.0
"""Runs of one benchmark from distinct seeds, laid out as a submission: `python -m harness.campaign`.

campaign.py            the command and its loop over runs
plan.py                the plan of a campaign, from the command line, checked before anything runs
training_process.py    one run in a process of its own
system_description.py  the system description of a submission, as far as the machine tells

Imports: harness and compliance. Nothing in harness imports this package.
"""

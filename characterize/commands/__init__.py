# SPDX-License-Identifier: Apache-2.0
"""One module a command of `python -m characterize`: it measures, asks the models, and returns a Result.

statements.py  sentences about results, for the report page

Imports: measure, models, results, pictures.
"""

# SPDX-License-Identifier: Apache-2.0
"""One module per command of `python -m characterize`: options, measurement, result, tables and pictures.

statements.py   sentences about results, for the report page

Imports: measure, models, results, pictures.
"""

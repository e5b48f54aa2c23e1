# SPDX-License-Identifier: Apache-2.0
"""One module per command of `python -m characterize`: options, measurement, result, tables and pictures.

statements.py   sentences about results, for the report page
worksheet.py    figures of merit of a system with their sources, for fom

Imports: measure, models, results, pictures.
"""

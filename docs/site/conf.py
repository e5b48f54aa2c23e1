# SPDX-License-Identifier: Apache-2.0
"""Sphinx's settings for the documents' web site: `make site`.

The pages are the repository's own Markdown files, where they are; nothing is copied and nothing is fetched.
"""

project = "HPC AI Bench"
author = "HPC AI Bench contributors"
copyright = "Apache-2.0"

extensions = ["myst_parser"]
root_doc = "docs/site/index"
include_patterns = ["*.md", "docs/*.md", "docs/site/index.md", "*/README.md", "docs/pictures/*"]
exclude_patterns = ["output/**", "build/**", ".*/**", "tests/**"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # each page starts with its own first-level heading, wherever the index lists it

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}

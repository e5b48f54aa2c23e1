# SPDX-License-Identifier: Apache-2.0
"""Speed measurements: each module measures against a named peer, or the machine's own limit, in one run."""

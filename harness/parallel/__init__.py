# SPDX-License-Identifier: Apache-2.0
"""How ranks train together beyond what DistributedDataParallel does by itself."""

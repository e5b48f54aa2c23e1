# SPDX-License-Identifier: Apache-2.0
"""ImageNet ResNet-50: classify photographs into a thousand classes, for a fixed number of epochs."""

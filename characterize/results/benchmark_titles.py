# SPDX-License-Identifier: Apache-2.0
"""Titles of the benchmarks in tables and pictures."""

TITLES = {
    "cosmoflow": "CosmoFlow",
    "deepcam": "DeepCAM",
    "oc20": "Open Catalyst",
    "openfold": "OpenFold",
    "imagenet_resnet": "ImageNet ResNet-50",
    "ewa_fasterrcnn": "EWA Faster R-CNN",
}


def benchmark_title(name: str) -> str:
    """Title of a benchmark; its name if it has no title."""
    return TITLES.get(name, name)

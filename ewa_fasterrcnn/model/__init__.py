# SPDX-License-Identifier: Apache-2.0
"""Faster R-CNN.

faster_rcnn.py       the whole network: fields -> losses, or detections
backbone.py          ResNet-50 with a feature pyramid
anchors.py, boxes.py, matching.py, region_proposals.py, box_head.py, roi_ops.py
"""

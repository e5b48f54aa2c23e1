# SPDX-License-Identifier: Apache-2.0
"""The backbone and the feature pyramid: shapes, norms, pretrained weights."""

import pytest
import torch
from torch import nn

from ewa_fasterrcnn.model.backbone import FeaturePyramid, ResNet50, WeightsError


def test_stages_and_pyramid_halve_the_sides():
    backbone = ResNet50(base_width=8)
    pyramid = FeaturePyramid(backbone.out_channels, out_channels=16)
    stages = backbone(torch.randn(1, 16, 64, 96))
    assert [tuple(stage.shape[1:]) for stage in stages] == [(32, 16, 24), (64, 8, 12), (128, 4, 6), (256, 2, 3)]
    levels = pyramid(stages)
    assert [tuple(level.shape[1:]) for level in levels] == [
        (16, 16, 24),
        (16, 8, 12),
        (16, 4, 6),
        (16, 2, 3),
        (16, 1, 2),
    ]


def test_sides_that_do_not_halve_evenly_are_served_too():
    backbone = ResNet50(base_width=8)
    levels = FeaturePyramid(backbone.out_channels, out_channels=4)(backbone(torch.randn(1, 16, 70, 101)))
    assert [tuple(level.shape[2:]) for level in levels] == [(18, 26), (9, 13), (5, 7), (3, 4), (2, 2)]


def test_it_is_a_resnet50():
    with torch.device("meta"):
        backbone = ResNet50(num_channels=3, norm="batch")
    # torchvision's resnet50 has 25,557,032 parameters, of which the classifier has 2048 * 1000 + 1000.
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 25_557_032 - 2_049_000
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 53
    assert backbone.layer2[0].conv2.stride == (2, 2)  # v1.5: in the 3x3 convolution


@pytest.mark.parametrize(("norm", "kind"), [("group", nn.GroupNorm), ("batch", nn.BatchNorm2d)])
def test_norms_trained_from_scratch(norm, kind):
    backbone = ResNet50(base_width=8, norm=norm)
    assert sum(isinstance(module, kind) for module in backbone.modules()) == 53
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_group_norm_treats_each_image_by_itself():
    torch.manual_seed(0)
    backbone, images = ResNet50(base_width=8), torch.randn(2, 16, 64, 64)
    together, alone = backbone(images)[-1][:1], backbone(images[:1])[-1]
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_frozen_backbone_keeps_its_norms_its_stem_and_its_first_stage():
    torch.manual_seed(0)
    backbone = ResNet50(base_width=8, norm="frozen").train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randn(2, 16, 64, 64) + 3)[-1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    trained = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert "layer2.0.conv1.weight" in trained
    assert not any(".bn" in name or name.startswith(("conv1", "bn1", "layer1")) for name in trained)


def test_weights_of_three_channels_serve_sixteen(tmp_path):
    torch.manual_seed(0)
    pictures = ResNet50(num_channels=3, base_width=8, norm="batch")
    path = tmp_path / "resnet.pt"
    torch.save({**pictures.state_dict(), "fc.weight": torch.zeros(2, 2)}, path)
    backbone = ResNet50(base_width=8, norm="frozen")
    backbone.load_pretrained(path)
    assert torch.equal(backbone.layer4[2].conv3.weight, pictures.layer4[2].conv3.weight)
    grey = torch.randn(1, 1, 64, 64)
    wanted = pictures.eval().conv1(grey.repeat(1, 3, 1, 1))
    assert torch.allclose(backbone.conv1(grey.repeat(1, 16, 1, 1)), wanted, atol=1e-5)


def test_unusable_weights_are_named(tmp_path):
    backbone, path = ResNet50(base_width=8, norm="frozen"), tmp_path / "resnet.pt"
    with pytest.raises(WeightsError, match=r"resnet\.pt: cannot be read"):
        backbone.load_pretrained(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="not weights"):
        backbone.load_pretrained(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="found list, expected a state_dict"):
        backbone.load_pretrained(path)
    weights = ResNet50(base_width=8, norm="frozen").state_dict()
    torch.save({name: value for name, value in weights.items() if name != "bn1.running_var"}, path)
    with pytest.raises(WeightsError, match=r"found no bn1\.running_var"):
        backbone.load_pretrained(path)
    torch.save(ResNet50(base_width=16, norm="frozen").state_dict(), path)
    with pytest.raises(WeightsError, match=r"found shape \(.*\), expected"):
        backbone.load_pretrained(path)

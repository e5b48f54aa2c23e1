# SPDX-License-Identifier: Apache-2.0
"""A small ResNet over two ranks against one process that accumulates the same microbatches' gradients."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from harness.distributed.pipeline import Pipeline, PipelineError
from harness.distributed.world import World
from imagenet_resnet.model import ResNet50
from tests.harness.ranks import spawn

NUM_MICROBATCHES = 4
FIRST_LAYERS = (0, 3)
MICROBATCH = torch.empty(2, 3, 32, 32, dtype=torch.float64)


class Head(nn.Module):
    """The layers of ResNet50 after its stages."""

    def __init__(self, classify: nn.Linear) -> None:
        super().__init__()
        self.classify = classify

    def forward(self, features_NCHW: torch.Tensor) -> torch.Tensor:
        return self.classify(features_NCHW.mean(dim=(2, 3)))


def build() -> list[nn.Module]:
    torch.manual_seed(1)
    network = ResNet50(num_classes=5, blocks=(1, 2, 1, 1), width=4, zero_init_last_gamma=False).double()
    return [network.stem, *network.stages, Head(network.classify)]


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            torch.randn(8, 3, 32, 32, dtype=torch.float64, generator=generator),
            torch.randint(0, 5, (8,), generator=generator),
        )
        for _ in range(3)
    ]


def train_alone() -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of three steps and the state after them."""
    network, losses = nn.Sequential(*build()), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for image_NCHW, label_N in batches():
        optimizer.zero_grad()
        parts = zip(image_NCHW.chunk(NUM_MICROBATCHES), label_N.chunk(NUM_MICROBATCHES), strict=True)
        total = 0.0
        for image_part, label_part in parts:
            loss = cross_entropy(network(image_part), label_part) / NUM_MICROBATCHES
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    return losses, network.state_dict()


def equals_one_process(world: World) -> None:
    expected_losses, expected = train_alone()
    pipeline = Pipeline(
        build(),
        world,
        first_layers=FIRST_LAYERS,
        microbatch=MICROBATCH,
        num_microbatches=NUM_MICROBATCHES,
        loss=cross_entropy,
    )
    optimizer = torch.optim.SGD(pipeline.layers.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for image_NCHW, label_N in batches():
        optimizer.zero_grad()
        losses.append(pipeline.step(image_NCHW, label_N))
        optimizer.step()
    for name, value in pipeline.layers.state_dict().items():
        number, _, rest = name.partition(".")
        assert torch.allclose(value, expected[f"{int(number) + FIRST_LAYERS[world.rank]}.{rest}"], rtol=0, atol=1e-10)
    if world.rank == 1:
        assert [loss.item() for loss in losses] == pytest.approx(expected_losses, abs=1e-10)
    else:
        assert losses == [None, None, None]
    assert sum(p.numel() for p in pipeline.layers.parameters()) < sum(
        p.numel() for layer in build() for p in layer.parameters()
    )


def refuses_an_uneven_batch(world: World) -> None:
    pipeline = Pipeline(
        build(), world, first_layers=FIRST_LAYERS, microbatch=MICROBATCH, num_microbatches=3, loss=cross_entropy
    )
    with pytest.raises(PipelineError, match="8 samples cannot be cut into 3"):
        pipeline.step(*batches()[0])


def both(world: World) -> None:
    refuses_an_uneven_batch(world)
    equals_one_process(world)


def test_two_ranks_equal_one_process_and_refuse_an_uneven_batch(tmp_path):
    spawn(both, 2, tmp_path)


@pytest.mark.parametrize("first_layers", [(0,), (1, 3), (0, 0), (3, 0), (0, 6), (0, 2, 4)])
def test_layers_that_do_not_fit_the_ranks_are_refused(first_layers):
    with pytest.raises(PipelineError, match="expected 2 rising numbers"):
        Pipeline(
            build(),
            World(num_ranks=2),
            first_layers=first_layers,
            microbatch=MICROBATCH,
            num_microbatches=1,
            loss=cross_entropy,
        )

# SPDX-License-Identifier: Apache-2.0
"""Each model and its loss are one graph: nothing in them makes torch.compile fall back to Python.

A CUDA graph cannot capture what breaks such a graph. The compiler's own code generation is left out: it takes minutes.
"""

import pytest
import torch

from characterize.measure import benchmarks

SIZES = {"cosmoflow": (32, 32, 32), "deepcam": (64, 96), "imagenet_resnet": (64, 64), "ewa_fasterrcnn": (96, 144)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_model_and_loss_are_one_graph(name):
    benchmark = benchmarks.installed()[name]
    torch.manual_seed(0)
    model, batch = benchmark.make_model(SIZES[name]), benchmark.make_batch(2, SIZES[name])

    def loss(batch):
        return benchmark.loss(model, batch)

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(batch)
    compiled.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
def test_a_break_of_the_graph_is_found():
    def broken(values):
        return values * 2 if values.sum().item() > 0 else values

    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        torch.compile(broken, fullgraph=True, backend="aot_eager")(torch.ones(3))

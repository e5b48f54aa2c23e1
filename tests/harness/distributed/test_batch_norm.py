# SPDX-License-Identifier: Apache-2.0
"""Batch norm over two ranks is batch norm of one process that holds both batches."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from harness.distributed import batch_norm

NUM_RANKS = 2
FAR_FROM_ZERO = 1000.0


def small_network() -> nn.Module:
    torch.manual_seed(7)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    nn.init.uniform_(network[1].weight, 0.5, 2.0)
    nn.init.normal_(network[1].bias)
    return network.double()


def joint_batch() -> torch.Tensor:
    torch.manual_seed(8)
    return (torch.randn(5, 3, 7, 6) * 3 + FAR_FROM_ZERO).double()


def train_one_step(network: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Everything that one step produces; the loss is a sum, so that the ranks' gradients add up to the joint one."""
    batch = batch.clone().requires_grad_()
    output = network(batch)
    (output.sin() * output).sum().backward()
    gradients = {f"gradient {name}": parameter.grad for name, parameter in network.named_parameters()}
    buffers = {f"buffer {name}": buffer.clone() for name, buffer in network.named_buffers()}
    return {"output": output.detach(), "input gradient": batch.grad, **gradients, **buffers}


def two_ranks(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", NUM_RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=NUM_RANKS)
    group = batch_norm.process_group(NUM_RANKS)
    network = batch_norm.convert(small_network(), group)
    own = joint_batch()[:2] if rank == 0 else joint_batch()[2:]  # 2 and 3 samples: the counts matter
    result = train_one_step(network, own)
    for name, value in result.items():
        if name.startswith("gradient"):
            dist.all_reduce(value)
    result["span of one"] = torch.tensor(batch_norm.process_group(1) is None)
    alone = small_network()
    train_one_step(alone, own)
    batch_norm.average_running_statistics(alone)
    result["averaged"] = alone[1].running_mean
    single = batch_norm.convert(small_network().float(), group)
    result["single precision"] = single(own.float()).detach()
    result["same names"] = torch.tensor(list(single.state_dict()) == list(small_network().state_dict()))
    torch.save(result, f"{folder}/rank_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = Path(tmp_path_factory.mktemp("ranks"))
    torch.multiprocessing.spawn(two_ranks, (str(folder),), nprocs=NUM_RANKS)
    return [torch.load(folder / f"rank_{rank}.pt") for rank in range(NUM_RANKS)]


@pytest.fixture(scope="module")
def joint() -> dict[str, torch.Tensor]:
    return train_one_step(small_network(), joint_batch())


def test_the_outputs_are_those_of_the_joint_batch(ranks, joint):
    torch.testing.assert_close(torch.cat([rank["output"] for rank in ranks]), joint["output"])


def test_the_input_gradients_are_those_of_the_joint_batch(ranks, joint):
    torch.testing.assert_close(torch.cat([rank["input gradient"] for rank in ranks]), joint["input gradient"])


def test_the_parameter_gradients_add_up_to_those_of_the_joint_batch(ranks, joint):
    gradients = [name for name in joint if name.startswith("gradient")]
    assert len(gradients) == 8
    for name in gradients:
        torch.testing.assert_close(ranks[0][name], joint[name], msg=lambda text, name=name: f"{name}: {text}")


def test_both_ranks_track_the_statistics_of_the_joint_batch(ranks, joint):
    buffers = [name for name in joint if name.startswith("buffer")]
    assert len(buffers) == 6
    for name in buffers:
        torch.testing.assert_close(ranks[0][name], joint[name])
        torch.testing.assert_close(ranks[1][name], joint[name])


def test_a_span_of_one_rank_needs_no_group(ranks):
    assert all(rank["span of one"] for rank in ranks)


def test_running_statistics_are_averaged_over_ranks(ranks):
    expected = []
    for own in (joint_batch()[:2], joint_batch()[2:]):
        network = small_network()
        train_one_step(network, own)
        expected.append(network[1].running_mean)
    torch.testing.assert_close(ranks[0]["averaged"], (expected[0] + expected[1]) / 2)
    torch.testing.assert_close(ranks[1]["averaged"], ranks[0]["averaged"])


def test_single_precision_survives_values_far_from_zero(ranks):
    expected = small_network()(joint_batch().float().double()).detach()
    joined = torch.cat([rank["single precision"] for rank in ranks]).double()
    torch.testing.assert_close(joined, expected, atol=2e-3, rtol=2e-3)


def test_a_checkpoint_has_the_same_names_with_and_without_a_group(ranks):
    assert all(rank["same names"] for rank in ranks)


def test_one_process_keeps_its_model_and_its_statistics():
    network = small_network()
    train_one_step(network, joint_batch())
    before = network[1].running_mean.clone()
    assert batch_norm.convert(network, batch_norm.process_group(1)) is network
    batch_norm.average_running_statistics(network)
    assert torch.equal(network[1].running_mean, before)


@pytest.mark.parametrize("group_size", [0, 2, 3])
def test_a_span_that_does_not_divide_the_ranks_is_refused(group_size):
    with pytest.raises(batch_norm.BatchNormGroupError, match=f"batchnorm_group_size is {group_size}.*ranks, 1"):
        batch_norm.process_group(group_size)

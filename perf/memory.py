# SPDX-License-Identifier: Apache-2.0
"""Memory of a training step by local batch: computed without running it, and measured on this machine's CPU.

    python -m perf.memory                          # computed, all benchmarks, the table of docs/tuning.md
    python -m perf.memory --measure cosmoflow 1    # one step with a local batch of 1 in a process of its own

Computed are the tensors that the forward pass keeps for the backward pass, and what belongs to the parameters: weights,
gradients, and the optimizer's state. Convolution workspaces, the data loader and the framework itself come on top.
"""

import sys
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from characterize.measure import benchmarks
from characterize.measure.benchmarks import Benchmark
from characterize.measure.training_step import MEMORY_FORMATS, TrainingStep
from compliance import command_line

GIB = 2**30
PRECISIONS = ("fp32", "bf16")
STATE_VALUES = {"cosmoflow": 1, "deepcam": 2, "imagenet_resnet": 1, "ewa_fasterrcnn": 1}
"""Values of optimizer state for each parameter: 1 for SGD with momentum and LARS, 2 for LAMB and Adam."""


def saved_bytes(benchmark: Benchmark, num_samples: int, precision: str) -> int:
    """Bytes that the forward pass keeps for the backward pass, parameters aside."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        return tensor

    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes without memory
        model = benchmark.make_model(benchmark.reference_size)
        first, *rest = benchmark.make_batch(num_samples, benchmark.reference_size)
        first = first.contiguous(memory_format=MEMORY_FORMATS[first.dim()])
        with saved_tensors_hooks(keep, lambda tensor: tensor), bf16:
            output = benchmark.forward(model, (first, *rest))  # holds the graph, and with it the storages
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        del output
    return sum(nbytes for storage, nbytes in storages.items() if storage not in own)


def sample_bytes(benchmark: Benchmark, precision: str) -> int:
    """Bytes by which the saved tensors grow with each sample; copies of weights in bf16 do not grow."""
    one, three = (saved_bytes(benchmark, num_samples, precision) for num_samples in (1, 3))
    return (three - one) // 2


def parameter_bytes(benchmark: Benchmark) -> int:
    """Weights, gradients and optimizer state, each value in fp32."""
    with torch.device("meta"):
        model = benchmark.make_model(benchmark.reference_size)
    return sum(parameter.numel() for parameter in model.parameters()) * 4 * (2 + STATE_VALUES[benchmark.name])


def table() -> str:
    """Rows of Markdown: what does not grow, and GiB for each sample of the local batch."""
    lines = ["| benchmark | parameters, GiB | each sample in fp32, GiB | in bf16, GiB |", "|---|---:|---:|---:|"]
    for benchmark in benchmarks.installed().values():
        cells = [parameter_bytes(benchmark), *(sample_bytes(benchmark, precision) for precision in PRECISIONS)]
        lines.append(f"| {benchmark.name} | " + " | ".join(f"{cell / GIB:.2f}" for cell in cells) + " |")
    return "\n".join(lines)


def measure(benchmark: Benchmark, num_samples: int, precision: str) -> str:
    """Peak of this process's memory in one step, above what it held before the model was made."""
    before = _memory("VmRSS")
    size, cpu = benchmark.reference_size, torch.device("cpu")
    TrainingStep.build(benchmark, size=size, num_samples=num_samples, device=cpu, precision=precision)()
    peak = _memory("VmHWM") - before
    computed = parameter_bytes(benchmark) + saved_bytes(benchmark, num_samples, precision)
    return f"{benchmark.name} {num_samples} {precision}: measured {peak / GIB:.2f}, computed {computed / GIB:.2f} GiB"


def _memory(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main() -> int:
    options = command_line.command("perf.memory", __doc__)
    options.add_argument("--measure", nargs=2, metavar=("BENCHMARK", "BATCH"), help="run one step on the CPU")
    options.add_argument("--precision", choices=PRECISIONS, default="fp32", help="precision of --measure (%(default)s)")
    arguments = options.parse_args()
    if arguments.measure:
        name, num_samples = arguments.measure
        print(measure(benchmarks.named([name])[0], int(num_samples), arguments.precision))
    else:
        print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())

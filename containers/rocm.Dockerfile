# SPDX-License-Identifier: Apache-2.0
# docker build -t hpc-ai-bench:rocm -f containers/rocm.Dockerfile .
FROM rocm/pytorch:rocm7.2.1_ubuntu24.04_py3.12_pytorch_release_2.9.1
COPY . /opt/hpc-ai-bench
WORKDIR /opt/hpc-ai-bench
# pip keeps the image's PyTorch, which satisfies the range in setup.cfg; amdsmi is ROCm's own, in the image.
RUN pip install --no-cache-dir --editable '.[train]' && python -m compliance rules

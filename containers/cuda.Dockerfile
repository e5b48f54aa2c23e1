# SPDX-License-Identifier: Apache-2.0
# docker build -t hpc-ai-bench:cuda -f containers/cuda.Dockerfile .
FROM nvcr.io/nvidia/pytorch:25.10-py3
COPY . /opt/hpc-ai-bench
WORKDIR /opt/hpc-ai-bench
# The image's own constraints (PIP_CONSTRAINT) keep its PyTorch and NumPy; torchvision and DALI are in the image.
RUN pip install --no-cache-dir --editable '.[train]' nvidia-ml-py && python -m compliance rules

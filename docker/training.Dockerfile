# docker build -f docker/training.Dockerfile -t bionemo-ext-training:0.1.0 .
# docker run --gpus all --ipc host -v ./data:/data bionemo-ext-training:0.1.0 pretrain recipe=esm2_8m data.train=/data/uniref out=/data/runs/8m
#
# NVIDIA's NeMo container for CUDA, NCCL and the compilers; the Python packages are those of requirements.lock, so that
# training is what the tests ran. TransformerEngine (FP8) has no ready wheel for them: it is built here against the
# lock's torch. For builds that give the same image again, name the base by digest:
# --build-arg NEMO_IMAGE=nvcr.io/nvidia/nemo@sha256:...
ARG NEMO_IMAGE=nvcr.io/nvidia/nemo:25.11

FROM ${NEMO_IMAGE} AS build
ARG TRANSFORMER_ENGINE=2.9.0
# Ampere, Hopper, Blackwell.
ARG CUDA_ARCHS="80;90;100"
RUN pip install --no-cache-dir uv==0.8.14
# A Python of its own, because the container's is another; both stages have it in one place.
ENV UV_PYTHON_INSTALL_DIR=/opt/python \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    VIRTUAL_ENV=/opt/bionemo-ext \
    NVTE_FRAMEWORK=pytorch \
    NVTE_CUDA_ARCHS=${CUDA_ARCHS}
WORKDIR /src
RUN uv venv --python 3.11 --managed-python /opt/bionemo-ext
COPY requirements.lock ./
# As `make setup` does: torch with what it needs for CUDA, then the lock as it stands.
RUN uv pip install --constraint requirements.lock torch && \
    uv pip install --no-deps --requirements requirements.lock
RUN uv pip install ninja cmake pybind11 setuptools wheel && \
    uv pip install --no-build-isolation --no-deps \
        "transformer-engine==${TRANSFORMER_ENGINE}" \
        "transformer-engine-cu13==${TRANSFORMER_ENGINE}" \
        "transformer-engine-torch==${TRANSFORMER_ENGINE}"
COPY pyproject.toml README.md LICENSE ./
COPY bionemo_ext bionemo_ext
COPY conf conf
COPY triton_models triton_models
RUN uv pip install --no-deps .

FROM ${NEMO_IMAGE} AS train
COPY --from=build /opt/python /opt/python
COPY --from=build /opt/bionemo-ext /opt/bionemo-ext
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin train
# The container sets PYTHONPATH and the like for packages of its own.
ENV PATH=/opt/bionemo-ext/bin:${PATH} \
    PYTHONPATH="" \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
HEALTHCHECK NONE
ENTRYPOINT ["bionemo-ext"]
CMD ["--help"]

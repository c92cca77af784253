# docker build -f docker/serving.Dockerfile -t bionemo-ext-serving:0.1.0 .
# docker run --gpus all --shm-size 2g --stop-timeout 40 --read-only --tmpfs /tmp \
#     -v ./served:/models:ro -p 8000-8002:8000-8002 bionemo-ext-serving:0.1.0
#
# NVIDIA's Triton, run by `bionemo-ext serve`: Triton alone neither starts a dead worker again nor
# calls itself unready. 24.10 is Triton 2.51.0, the version that the Python worker of nvidia-pytriton
# 0.7.0 speaks with; `serve` refuses another. For builds that give the same image again, name it
# by digest: --build-arg TRITON_IMAGE=nvcr.io/nvidia/tritonserver@sha256:...
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:24.10-py3

FROM ${TRITON_IMAGE} AS build
RUN pip install --no-cache-dir uv==0.8.14
# A Python of its own, because the container's is 3.10; both stages have it in one place.
ENV UV_PYTHON_INSTALL_DIR=/opt/python \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
WORKDIR /src
RUN uv venv --python 3.11 --managed-python /opt/bionemo-ext
COPY pyproject.toml README.md LICENSE requirements.lock overrides.txt ./
COPY bionemo_ext bionemo_ext
COPY conf conf
COPY triton_models triton_models
RUN uv pip install --python /opt/bionemo-ext \
        --constraint requirements.lock --override overrides.txt ".[serve]"

FROM ${TRITON_IMAGE} AS serve
COPY --from=build /opt/python /opt/python
COPY --from=build /opt/bionemo-ext /opt/bionemo-ext
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin serve
ENV PATH=/opt/bionemo-ext/bin:${PATH} \
    BIONEMO_EXT_TRITON=/opt/tritonserver \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
# Large encoders take minutes to load.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["bionemo-ext", "serve"]
CMD ["/models/triton", "--host", "0.0.0.0"]

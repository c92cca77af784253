# docker build -f docker/gateway.Dockerfile -t bionemo-ext-gateway:0.1.0 .
# docker run --read-only --tmpfs /tmp -p 8080:8080 bionemo-ext-gateway:0.1.0 --url grpc://SERVER:8001 --host 0.0.0.0
# docker run --entrypoint bionemo-ext -v .:/data -w /data bionemo-ext-gateway:0.1.0 embed proteins.fasta --url grpc://SERVER:8001
#
# The gateway, and every command of the client: no torch, no NeMo. For builds that give the same image again, name
# the base by digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN pip install --no-cache-dir uv==0.8.14
ENV UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1
WORKDIR /src
RUN uv venv /opt/bionemo-ext
COPY pyproject.toml README.md LICENSE requirements.lock overrides.txt ./
COPY bionemo_ext bionemo_ext
COPY conf conf
COPY triton_models triton_models
RUN uv pip install --python /opt/bionemo-ext \
        --constraint requirements.lock --override overrides.txt ".[gateway]"

FROM ${PYTHON_IMAGE} AS gateway
COPY --from=build /opt/bionemo-ext /opt/bionemo-ext
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway
ENV PATH=/opt/bionemo-ext/bin:${PATH} \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v1/health/live', timeout=4)"]
ENTRYPOINT ["bionemo-ext", "gateway"]

# docker build -f k8s/serve.Dockerfile -t bionemo-ext-serve:0.1.0 .
# The CPU server: Triton and its Python backend come with the wheel of nvidia-pytriton.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY bionemo_ext bionemo_ext
COPY conf conf
COPY triton_models triton_models
RUN pip install --no-cache-dir ".[serve]" && rm -rf /src/*
RUN useradd --uid 10001 --no-create-home serve
USER 10001
EXPOSE 8000 8001 8002
ENTRYPOINT ["bionemo-ext", "serve", "/models/triton", "--host", "0.0.0.0"]

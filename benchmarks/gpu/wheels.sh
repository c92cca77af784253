#!/usr/bin/env bash
# Gathers the small wheels that this package's FASTA reader needs on a GPU machine without a network
# (CPython 3.12, x86-64):  wheels.sh OUT
set -euo pipefail
out=${1:?usage: wheels.sh OUT}
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  -d "$out" dnaio==1.2.4 xopen==2.1.0 isal==1.9.1 zlib-ng==1.1.0

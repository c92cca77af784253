#!/usr/bin/env bash
# Installs the bundle and measures:  run.sh BUNDLE OUT [--profile, --minutes 9, --fasta FILE, ...]
# BUNDLE holds part.* and install.sh (TransformerEngine and Megatron-core), and extra/*.whl of wheels.sh.
# OUT gets the figures and the weights. They are also kept in KEEP, so that a second call goes on.
set -euo pipefail
bundle=$(cd "${1:?usage: run.sh BUNDLE OUT [words for benchmarks.gpu]}" && pwd)
out=${2:?usage: run.sh BUNDLE OUT [words for benchmarks.gpu]}
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
keep=${KEEP:-${TMPDIR:-/tmp}/bionemo-ext-gpu}
export PYTHONPATH=${PYTHONPATH:-}
# shellcheck source=/dev/null
source "$bundle/install.sh" "$bundle"
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
  --target "$keep/site" "$bundle"/extra/*.whl
# From the source tree: the package itself is declared for the Python of its training environment.
export PYTHONPATH="$root:$keep/site:$PYTHONPATH" PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore
cd "$root"
python3 -m benchmarks.gpu all --out "$keep/results" --mirror "$out" "$@"

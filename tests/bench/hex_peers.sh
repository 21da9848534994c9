#!/usr/bin/env bash
# `apr hex` beside other tools, whole commands, one run: looking at the header of HEADER_MODEL beside gguf-dump (PyPI: gguf), and
# scanning all bytes of SCAN_MODEL beside sha256sum and ent. Warm page cache; the commands take turns. Medians, and the peak of memory.
#   tests/bench/hex_peers.sh [--rounds N] HEADER_MODEL SCAN_MODEL
# Environment: APR (build/release/bin/apr); QUIET, a command put before every measured one. Fails when --header, --list or --at
# take 20 ms or 32 MB.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
need_packages ent "${fetch_packages[@]}"
python=$(oracle_python)
exec "$python" "$root/tests/bench/hex_peers.py" --apr "${APR:-$root/build/release/bin/apr}" \
  --gguf-dump "$(dirname "$python")/gguf-dump" --before "${QUIET:-}" "$@"

#!/usr/bin/env bash
# run.sh without a GPU: every step is gone through in small, nothing is measured, and a step that fails fails the run.
set -euo pipefail
bin=$1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bash -n tests/gpu/peer.sh
APR_GPU_DRY=1 APR_GPU_BIN=$bin APR_GPU_OUT=$out bash tests/gpu/run.sh >"$out/log.txt" 2>&1 || { cat "$out/log.txt"; exit 1; }
python3 - "$out/small.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["dry"] and report["failures"] == 0, report.get("failed")
assert report["copy_gb_per_s"] is None and report["times_reason"], "a dry run has measured something"
assert len(report["operations"]) == 44 and len(report["models"]) == 2
for name, model in report["models"].items():
    assert model["tokens_equal_to_cpu"] > 0 and model["soak_tokens"] > 0 and len(model["decode"]) == 2, name
    assert all(row["tokens_per_s"] is None for row in model["decode"] + model["prefill"] + model["sequences"]), name
    assert [row["sequences"] for row in model["sequences"]] == [1, 2, 4, 8], name
    assert model["stamps"]["replays"] == 3 and model["stamps"]["launches"] > 5 and model["stamps"]["wall_us"] is None, name
PY
# Red: without a driver the real run says so and fails.
if [ ! -e /dev/nvidiactl ]; then
  status=0
  "$bin/gpu_bench" --json "$out/none.json" "tiny=$out/tiny.gguf" >"$out/none.txt" 2>&1 || status=$?
  [ "$status" = 9 ] && grep -q "CUDA cannot be used" "$out/none.txt" || { echo "status $status"; cat "$out/none.txt"; exit 1; }
fi
echo "gpu: dry run passed"

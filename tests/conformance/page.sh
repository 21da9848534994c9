#!/usr/bin/env bash
# The page of `apr hex --html` in a real browser, light and dark: it draws, its script runs to the end, no error on the
# console, a click shows bytes, and nothing is asked of the network.
# usage: tests/conformance/page.sh [APR MODEL FOLDER]     installs chromium when it is missing; the screenshots stay in FOLDER
# Without arguments: build/release/bin/apr, a small model of its own, build/page.
set -euo pipefail
[ $# = 0 ] || [ $# = 3 ] || { sed -n '3s/^# //p' "$0" >&2; exit 2; }
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
need_packages chromium python3
apr=${1:-$root/build/release/bin/apr} model=${2:-} folder=${3:-$root/build/page}
browser=$(command -v chromium || command -v chromium-browser) || { echo "chromium is missing: a skip is not a pass" >&2; exit 1; }
mkdir -p "$folder"
rm -f "$folder"/page.html "$folder"/*.png
if [ -z "$model" ]; then
  model=$folder/model.gguf
  "$apr" synth "$model" --preset tiny --force >/dev/null
fi
"$apr" hex "$model" --html "$folder/page.html" >/dev/null
page=file://$(realpath "$folder/page.html")
profile=$(mktemp -d)
trap 'status=$?; rm -rf "$profile"; (exit $status); on_failure' EXIT
step "page of apr hex --html" "look at the logs and pictures in $folder"
run() {
  timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
    --host-resolver-rules="MAP * ~NOTFOUND" --window-size=1280,1500 --virtual-time-budget=8000 --enable-logging=stderr "$@"
}
fail() { echo "page.sh: $1" >&2; exit 1; }
for scheme in light dark; do
  setting=$([ "$scheme" = dark ] && echo 0 || echo 1)
  run --blink-settings=preferredColorScheme="$setting" --screenshot="$folder/$scheme.png" "$page" 2>"$folder/$scheme.log" >/dev/null
  [ -s "$folder/$scheme.png" ] || fail "$scheme: nothing was drawn"
  if grep -E 'CONSOLE|Uncaught' "$folder/$scheme.log"; then fail "$scheme: the console is not silent"; fi
done
dom=$(run --dump-dom "$page#part=1" 2>"$folder/dom.log")
grep -q 'data-ready="yes"' <<<"$dom" || fail "the script did not reach its end"
grep -qE '<pre id="bytes">[0-9a-f]{10}  [0-9a-f]{2} ' <<<"$dom" || fail "a chosen part shows no bytes"
python3 - "$folder/light.png" "$folder/dark.png" <<'PY'
import struct, sys, zlib

def pixels(path):
    """Width, height and rows of RGB bytes of an 8-bit PNG."""
    raw, at, data = open(path, "rb").read(), 8, b""
    while at < len(raw):
        size, kind = struct.unpack(">I4s", raw[at:at + 8])
        body = raw[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT":
            data += body
        at += 12 + size
    channels = {2: 3, 6: 4}[colour]
    assert depth == 8
    data, rows, before, stride = zlib.decompress(data), [], bytes(width * channels), width * channels
    for y in range(height):
        kind, line = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left = line[i - channels] if i >= channels else 0
            up, corner = before[i], before[i - channels] if i >= channels else 0
            if kind == 1:
                line[i] = (line[i] + left) & 255
            elif kind == 2:
                line[i] = (line[i] + up) & 255
            elif kind == 3:
                line[i] = (line[i] + (left + up) // 2) & 255
            elif kind == 4:
                p = left + up - corner
                near = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
                line[i] = (line[i] + near) & 255
        before = bytes(line)
        rows.append([before[i:i + 3] for i in range(0, stride, channels)])
    return rows

means = []
for path in sys.argv[1:]:
    rows = pixels(path)[::3]
    flat = [p for row in rows for p in row[::3]]
    means.append(sum(sum(p) for p in flat) / (3 * len(flat)))
    colours = len(set(flat))
    assert colours > 40, f"{path}: {colours} colours: nothing is drawn"
assert means[0] > 190 and means[1] < 90, f"light and dark have mean brightness {means}"
print("page: drawn light and dark, mean brightness %.0f and %.0f" % tuple(means))
PY

#!/usr/bin/env bash
# The page of `apr hex --html` in a real browser, light and dark: it draws, its script runs to the end, no error on the
# console, a click shows bytes, and nothing is asked of the network. Pages broken on purpose must be refused.
# usage: tests/conformance/page.sh [APR MODEL FOLDER]     installs chromium when it is missing; the screenshots stay in FOLDER
# Without arguments: build/release/bin/apr, a small damaged model of its own, build/page.
set -euo pipefail
[ $# = 0 ] || [ $# = 3 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
need_packages chromium python3
apr=${1:-$root/build/release/bin/apr} model=${2:-} folder=${3:-$root/build/page}
browser=$(command -v chromium || command -v chromium-browser) || { echo "chromium is missing: a skip is not a pass" >&2; exit 1; }
profile=$(mktemp -d)
trap 'status=$?; rm -rf "$profile"; (exit $status); on_failure' EXIT
step "page of apr hex --html" "look at the logs and pictures in $folder"
mkdir -p "$folder"
rm -f "$folder"/*.html "$folder"/*.png "$folder"/*.log
if [ -z "$model" ]; then
  model=$folder/model.gguf
  "$apr" synth "$model" --preset tiny --force >/dev/null
  dd if=/dev/zero of="$model" bs=4096 seek=112 count=1 conv=notrunc status=none  # in a tensor: damage to be drawn
fi
"$apr" hex "$model" --html "$folder/page.html" >/dev/null

run() {
  timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
    --host-resolver-rules="MAP * ~NOTFOUND" --window-size=800,900 --virtual-time-budget=8000 --enable-logging=stderr "$@"
}
fail() { echo "page.sh: $1" >&2; exit 1; }

# colours PNG...: "colours brightness" of each, of every third row and column.
colours() {
  python3 - "$@" <<'PY'
import struct, sys, zlib

def rows(path):
    """Rows of RGB or RGBA bytes of an 8-bit PNG, and its channels."""
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
    data, before, stride = zlib.decompress(data), bytes(width * channels), width * channels
    for y in range(height):
        kind, line = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = line[i - channels] if i >= channels else 0
            up, corner = before[i], before[i - channels] if i >= channels else 0
            if kind == 1:
                line[i] = (line[i] + left) & 255
            elif kind == 2:
                line[i] = (line[i] + up) & 255
            elif kind == 3:
                line[i] = (line[i] + (left + up) // 2) & 255
            else:
                p = left + up - corner
                near = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
                line[i] = (line[i] + near) & 255
        before = bytes(line)
        yield before, channels

for path in sys.argv[1:]:
    flat = [line[i:i + 3] for y, (line, channels) in enumerate(rows(path)) if y % 3 == 0 for i in range(0, len(line), 3 * channels)]
    print(len(set(flat)), sum(map(sum, flat)) // (3 * len(flat)))
PY
}

# look NAME: looks at FOLDER/NAME.html; `fault` becomes what is wrong with it first, or nothing. `n_checks` counts what held.
n_checks=0 fault=
held() { n_checks=$((n_checks + 1)); }
look() {
  local dom scheme at=$folder/$1 light light_mean dark dark_mean
  fault=
  dom=$(run --dump-dom "file://$(realpath "$at.html")#part=1" 2>"$at.dom.log")
  if grep -qE 'CONSOLE|Uncaught' "$at.dom.log"; then fault="the console is not silent"; return; fi; held
  grep -q 'data-ready="yes"' <<<"$dom" || { fault="the script did not reach its end"; return; }; held
  grep -qE '<pre id="bytes">[0-9a-f]{10}  [0-9a-f]{2} ' <<<"$dom" || { fault="a chosen part shows no bytes"; return; }; held
  [ -n "${given:-}" ] || grep -qE '<p class="bad">[^<]*zero_fill' <<<"$dom" || { fault="the damage is not shown"; return; }; held
  for scheme in light dark; do
    run --blink-settings=preferredColorScheme="$([ $scheme = dark ] && echo 0 || echo 1)" --screenshot="$at.$scheme.png" \
      "file://$(realpath "$at.html")" 2>"$at.$scheme.log" >/dev/null
    [ -s "$at.$scheme.png" ] || { fault="$scheme: no picture"; return; }
    if grep -qE 'CONSOLE|Uncaught' "$at.$scheme.log"; then fault="$scheme: the console is not silent"; return; fi; held
  done
  read -r light light_mean dark dark_mean < <(colours "$at.light.png" "$at.dark.png" | xargs)
  { [ "$light" -gt 40 ] && [ "$dark" -gt 40 ]; } || { fault="nothing is drawn: $light and $dark colours"; return; }; held; held
  { [ "$light_mean" -gt 190 ] && [ "$dark_mean" -lt 90 ]; } || { fault="brightness $light_mean light, $dark_mean dark"; return; }; held
}
# refuse NAME FAULT SED: the page, changed so, must have that fault.
refuse() {
  local before=$n_checks
  sed "$3" "$folder/page.html" >"$folder/$1.html"
  ! cmp -s "$folder/$1.html" "$folder/page.html" || fail "$1: nothing was changed"
  look "$1"
  [[ $fault == *"$2"* ]] || fail "a page broken on purpose ($1) was not refused for '$2' but for '$fault'"
  n_checks=$((before + 1))
}

given=${2:-}
refuse console "console is not silent" 's|</body>|<script>console.error("no")</script></body>|'
refuse network "console is not silent" 's|</body>|<img src="http://example.org/x.png"></body>|'
refuse unfinished "did not reach its end" "s|document.body.dataset.ready = 'yes';||"
refuse no_click "shows no bytes" "s|{id: 'bytes'}|{}|"
refuse undrawn "nothing is drawn" 's|</style>|main { display: none; }</style>|'
refuse one_colour "brightness" 's|prefers-color-scheme: dark|prefers-color-scheme: none|'
look page
[ -z "$fault" ] || fail "$fault"
done_step
echo "page: $n_checks checks passed"

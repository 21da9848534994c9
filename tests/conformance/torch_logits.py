#!/usr/bin/env python3
"""Logits of a llama GGUF by PyTorch on the dequantised weights, in the form that divergence.py compares.

usage: torch_logits.py MODEL.gguf IDS LOGITS_OUT     (needs torch, transformers, gguf; the CPU is enough)

gguf.quants dequantises every tensor to float32; transformers' own Llama computes. Nothing of apr takes part.
"""
import sys

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.{parts[3]}"
    return f"{NAMES[parts[0]]}.{parts[1]}"


def unpaired(rows, n_heads):
    """The rows of each head from adjacent pairs, as the GGUF converter stores them, to halves."""
    head_dim = rows.shape[0] // n_heads
    return rows.reshape(n_heads, head_dim // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def load(path):
    reader = GGUFReader(path)
    def get(key):
        return reader.fields[key].contents()
    arch = get("general.architecture")
    if arch != "llama":
        sys.exit(f"{path}: architecture {arch}; this script knows llama")
    heads, kv_heads = get("llama.attention.head_count"), get("llama.attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name.endswith("attn_q.weight"):
            values = unpaired(values, heads)
        if tensor.name.endswith("attn_k.weight"):
            values = unpaired(values, kv_heads)
        weights[hf_name(tensor.name)] = torch.from_numpy(values.copy())
    tied = "lm_head.weight" not in weights
    config = LlamaConfig(
        vocab_size=weights["model.embed_tokens.weight"].shape[0], hidden_size=get("llama.embedding_length"),
        intermediate_size=get("llama.feed_forward_length"), num_hidden_layers=get("llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=get("llama.context_length"),
        rms_norm_eps=get("llama.attention.layer_norm_rms_epsilon"), tie_word_embeddings=tied, attn_implementation="eager",
        rope_parameters=dict(rope_type="default", rope_theta=get("llama.rope.freq_base")))
    model = LlamaForCausalLM(config).float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - ({"lm_head.weight"} if tied else set()):
        sys.exit(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    if tied:
        model.tie_weights()
    return model.eval()


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    path, ids_path, out = sys.argv[1:]
    ids = torch.from_numpy(np.fromfile(ids_path, dtype=np.int32).astype(np.int64))[None]
    with torch.no_grad():
        logits = load(path)(ids).logits[0].float().numpy()
    logits.tofile(out)
    print(f"torch {torch.__version__}: {logits.shape[0]} tokens, {logits.shape[1]} logits each")


if __name__ == "__main__":
    main()

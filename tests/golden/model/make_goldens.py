#!/usr/bin/env python3
"""Makes the tiny models of tests/golden/model and the logits that transformers computes for them in float64.

usage: make_goldens.py [OUTPUT_DIRECTORY]     (needs torch and transformers; the CPU is enough)

For each model a folder with config.json, model.safetensors (random weights, BF16 or F16 or F32, Hugging Face names) and
logits.json: token ids and the logits of every position, computed with all weights and all arithmetic in float64.
transformers computes norms, rotation angles and softmax in float32 whatever the model's type; the script makes these
double, too, and prints how far the two are apart. The result depends on the version of torch's random generator only.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

VOCAB = 131  # prime: no kernel's block divides it
N_TOKENS = 17

COMMON = dict(vocab_size=VOCAB, attn_implementation="eager", bos_token_id=1, eos_token_id=2, pad_token_id=0)


def models():
    """(name, class, config, dtype of the stored weights)"""
    yield "llama", LlamaForCausalLM, LlamaConfig(
        hidden_size=64, intermediate_size=76, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=32), **COMMON), torch.bfloat16
    yield "llama_linear", LlamaForCausalLM, LlamaConfig(
        hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
        rope_parameters=dict(rope_type="linear", rope_theta=5000.0, factor=2.0), **COMMON), torch.float16
    yield "mistral", MistralForCausalLM, MistralConfig(
        hidden_size=52, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, sliding_window=5,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0), **COMMON), torch.float32
    yield "qwen2", Qwen2ForCausalLM, Qwen2Config(
        hidden_size=64, intermediate_size=90, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1e6), **COMMON), torch.bfloat16
    yield "qwen3", Qwen3ForCausalLM, Qwen3Config(
        hidden_size=70, intermediate_size=90, num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=1,
        head_dim=32, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1e6), **COMMON), torch.bfloat16
    yield "gemma3", Gemma3ForCausalLM, Gemma3TextConfig(
        hidden_size=56, intermediate_size=70, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, query_pre_attn_scalar=20, max_position_embeddings=64, rms_norm_eps=1e-6, sliding_window=6,
        tie_word_embeddings=True, rope_parameters=dict(
            full_attention=dict(rope_type="linear", rope_theta=1e6, factor=4.0),
            sliding_attention=dict(rope_type="default", rope_theta=10000.0)), **COMMON), torch.bfloat16


def randomise(model, dtype):
    """Weights that make every step count: no norm is 1, no bias 0, scores and logits spread over several units."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(0, 0.3)
            elif "norm" in name:
                offset = 0.0 if isinstance(model, Gemma3ForCausalLM) else 1.0  # Gemma holds weight - 1
                p.normal_(offset, 0.25)
            else:
                p.normal_(0, 1.4 / p.shape[1] ** 0.5)
            p.copy_(p.to(dtype).to(p.dtype))  # what the file will hold, exactly


def in_double(model, ids):
    """Logits with float64 everywhere: `.float()`, `.to(torch.float32)` and float32 softmax become double."""
    float_, to_, softmax_ = torch.Tensor.float, torch.Tensor.to, torch.nn.functional.softmax

    def to(self, *args, **kwargs):
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        if kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return to_(self, *args, **kwargs)

    def softmax(x, dim=None, dtype=None, **kwargs):
        return softmax_(x, dim=dim, dtype=torch.float64, **kwargs)

    torch.Tensor.float, torch.Tensor.to, torch.nn.functional.softmax = torch.Tensor.double, to, softmax
    try:
        with torch.no_grad():
            return model(ids, use_cache=False).logits[0]
    finally:
        torch.Tensor.float, torch.Tensor.to, torch.nn.functional.softmax = float_, to_, softmax_


def exact_frequencies(model):
    """Inverse frequencies in double: transformers keeps them in float32."""
    rotary = model.model.rotary_emb
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    for name in [n for n, _ in rotary.named_buffers() if n.endswith("inv_freq")]:
        old = getattr(rotary, name)
        kind = name.replace("_original_inv_freq", "").replace("_inv_freq", "").replace("original", "").replace("inv_freq", "")
        params = config.rope_parameters[kind] if kind else config.rope_parameters
        freq = params["rope_theta"] ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        if params["rope_type"] == "linear":
            freq = freq / params["factor"]
        elif params["rope_type"] == "llama3":
            factor, low, high = params["factor"], params["low_freq_factor"], params["high_freq_factor"]
            turns = params["original_max_position_embeddings"] * freq / (2 * torch.pi)
            smooth = ((turns - low) / (high - low)).clamp(0, 1)
            freq = (1 - smooth) * freq / factor + smooth * freq
        assert torch.allclose(freq.float(), old.float(), rtol=1e-5), (name, freq, old)
        setattr(rotary, name, freq)


def main():
    out_root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for number, (name, cls, config, dtype) in enumerate(models()):
        torch.manual_seed(1000 + number)
        model = cls(config).double().eval()
        randomise(model, dtype)
        ids = torch.randint(3, VOCAB, (1, N_TOKENS))
        with torch.no_grad():
            plain = model(ids, use_cache=False).logits[0]
        exact_frequencies(model)
        logits = in_double(model, ids)
        assert logits.dtype == torch.float64
        folder = os.path.join(out_root, name)
        os.makedirs(folder, exist_ok=True)
        tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
        if config.tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        save_file(tensors, os.path.join(folder, "model.safetensors"))
        settings = config.to_dict()
        settings["architectures"] = [cls.__name__]
        settings.pop("transformers_version", None)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(settings, f, indent=1, sort_keys=True)
            f.write("\n")
        with open(os.path.join(folder, "logits.json"), "w") as f:
            json.dump({"tokens": ids[0].tolist(), "logits": [[float(f"{v:.12g}") for v in row] for row in logits.tolist()]}, f)
            f.write("\n")
        error = ((plain - logits) ** 2).sum() / (logits ** 2).sum()
        size = sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder))
        print(f"{name}: {len(tensors)} tensors, {size} bytes, logits {logits.min():.3f} .. {logits.max():.3f}, "
              f"std {logits.std():.3f}, NMSE of transformers' mixed arithmetic {error:.3g}")


if __name__ == "__main__":
    main()

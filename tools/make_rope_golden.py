#!/usr/bin/env python3
"""Make the reference file of RoPE's frequencies, tests/data/rope.json, with transformers.

    tools/make_rope_golden.py [FILE]

Needs transformers 5.24 and torch; building and testing the library does not. The file is an object
{"cases": [...]}, and each case has

    name, head_dim, seq_len   seq_len: the number of positions of the text
    config                    keys of a config.json of a Llama that decide about RoPE, in the
                              spelling of transformers 4 or 5
    frequencies [head_dim/2]  the angle of the pair (j, j + head_dim/2) at position t is
                              t * frequencies[j]
    attention_factor          cosines and sines are multiplied by it
    positions [P], cos, sin [P][head_dim/2]    with that factor

The frequencies are those of LlamaRotaryEmbedding, which a text of seq_len tokens has passed
through, with float64 in place of float32 (make_hf_golden.py says how). The script also asserts that
transformers as it is agrees in float32, and compares each type with its formula, written once more
with Python's own numbers. Two runs give the same bytes.
"""
import json
import math
import os
import sys

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from make_hf_golden import widened

POSITIONS = [1, 31, 1000, 20011, 131071]
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192, "rope_theta": 500000.0}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0,
        "short_factor": [1.0, 1.0, 1.05, 1.3, 1.55, 2.0],
        "long_factor": [1.1, 1.4, 2.9, 7.7, 21.5, 39.25]}


def new(head_dim, seq_len, positions=4096, **rope):
    return head_dim, seq_len, {"max_position_embeddings": positions, "rope_parameters": rope}


def old(head_dim, seq_len, positions=4096, theta=None, outside=None, **rope):
    """The spelling of transformers 4; outside: keys that stand beside rope_scaling."""
    config = {"max_position_embeddings": positions, "rope_scaling": rope or None, **(outside or {})}
    return head_dim, seq_len, config if theta is None else {**config, "rope_theta": theta}


CASES = {
    "default": new(14, 4096, rope_type="default", rope_theta=10000.0),
    "default, without any key": (6, 100, {"max_position_embeddings": 4096}),
    "default, old spelling": old(128, 4096, theta=1000000.0),
    "linear": new(64, 4096, rope_type="linear", factor=4.0, rope_theta=10000.0),
    "linear, old spelling": old(10, 4096, theta=5000.0, type="linear", factor=2.5),
    "dynamic, within": new(16, 4096, rope_type="dynamic", factor=2.0, rope_theta=10000.0),
    "dynamic, beyond": new(16, 9001, rope_type="dynamic", factor=2.0, rope_theta=10000.0),
    "dynamic, far beyond, old spelling": old(22, 131072, 2048, 10000.0, type="dynamic", factor=4.0),
    "llama3 (Llama 3.1)": new(128, 131072, 131072, **LLAMA3),
    "llama3 (Llama 3.2), old spelling": old(
        64, 131072, 131072, 500000.0, rope_type="llama3", factor=32.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192),
    "llama3, small": new(18, 4096, 4096, **{**LLAMA3, "original_max_position_embeddings": 50,
                                            "low_freq_factor": 1.5, "rope_theta": 1000.0}),
    "llama3, original length from max_position_embeddings": new(
        20, 4096, 700, **{k: v for k, v in LLAMA3.items() if "original" not in k}),
    "yarn": new(64, 16384, 16384, **YARN, rope_theta=10000.0),
    "yarn (Qwen), old spelling": old(
        128, 131072, 32768, 1000000.0, type="yarn", factor=4.0,
        original_max_position_embeddings=32768),
    "yarn, original length from max_position_embeddings": new(
        64, 16384, 4096, rope_type="yarn", factor=4.0, rope_theta=10000.0),
    "yarn, original length beside it": old(
        64, 16384, 16384, 10000.0, {"original_max_position_embeddings": 1000}, **YARN),
    "yarn, factor null": new(64, 16384, 16384, **{**YARN, "factor": None}, rope_theta=10000.0),
    "yarn, factor below 1": new(64, 4096, 4096, **{**YARN, "factor": 0.5}, rope_theta=10000.0),
    "yarn, attention_factor": new(26, 16384, **YARN, attention_factor=1.25, mscale=1.0,
                                  mscale_all_dim=0.5),
    "yarn, mscale": new(64, 16384, **YARN, mscale=0.707, mscale_all_dim=1.0),
    "yarn, equal mscales (DeepSeek)": new(64, 163840, 163840, rope_type="yarn", factor=40.0,
                                          original_max_position_embeddings=4096, mscale=1.0,
                                          mscale_all_dim=1.0, beta_fast=32, beta_slow=1),
    "yarn, mscale alone": new(64, 16384, **YARN, mscale=0.707),
    "yarn, mscale_all_dim zero": new(64, 16384, **YARN, mscale=0.707, mscale_all_dim=0.0),
    "yarn, betas": new(96, 16384, **YARN, beta_fast=20, beta_slow=2.5),
    "yarn, betas null": new(96, 16384, **YARN, beta_fast=None, beta_slow=None),
    "yarn, not truncated (gpt-oss)": new(64, 131072, 131072, rope_type="yarn", factor=32.0,
                                         original_max_position_embeddings=4096, truncate=False,
                                         rope_theta=150000.0, beta_fast=32.0, beta_slow=1.0),
    "yarn, no ramp": new(4, 16384, **YARN, rope_theta=10.0),
    "yarn, ramp beyond the last pair": new(6, 16384, **{**YARN, "factor": 3.0}, rope_theta=2000.0,
                                           beta_slow=0.001),
    "longrope, short": new(12, 1024, 8192, **LONG, original_max_position_embeddings=1024),
    "longrope, long": new(12, 1025, 8192, **LONG, original_max_position_embeddings=1024),
    "longrope, factor": new(12, 4096, 8192, **LONG, original_max_position_embeddings=1024,
                            factor=3.0),
    "longrope, factor 1": new(12, 4096, 8192, **LONG, original_max_position_embeddings=1024,
                              factor=1.0),
    "longrope, attention_factor": new(12, 100, 8192, **LONG, attention_factor=1.5, factor=3.0,
                                      original_max_position_embeddings=1024),
    "longrope, original length beside it (Phi-3)": old(
        12, 8192, 131072, 10000.0, {"original_max_position_embeddings": 4096},
        type="longrope", short_factor=LONG["short_factor"], long_factor=LONG["long_factor"]),
    "longrope, original length from max_position_embeddings": new(12, 5000, 4096, **LONG),
    # which of two spellings counts
    "rope_type before type": old(8, 4096, type="default", rope_type="linear", factor=3.0),
    "no type": old(8, 4096, rope_theta=50.0),
    "rope_theta inside before beside": (8, 10, {
        "max_position_embeddings": 64, "rope_theta": 7.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 11.0}}),
    "rope_scaling before rope_parameters": (8, 10, {
        "max_position_embeddings": 64, "rope_theta": 7.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 11.0}}),
}


def rotary(head_dim, config):
    """A Llama's RoPE, from keys as they stand in config.json."""
    keys = {"model_type": "llama", "num_attention_heads": 3, "hidden_size": 3 * head_dim,
            "head_dim": head_dim, **json.loads(json.dumps(config))}
    return LlamaRotaryEmbedding(transformers.LlamaConfig.from_dict(keys))


def tables(embedding, seq_len, positions, dtype):
    """-> cosines and sines [P, head_dim/2] after a text of seq_len tokens."""
    half = embedding.inv_freq.shape[-1]
    cos, sin = embedding(torch.zeros(1, dtype=dtype), torch.arange(seq_len)[None])
    assert torch.equal(cos[0, :, :half], cos[0, :, half:])
    return cos[0, positions, :half], sin[0, positions, :half]


def expected(head_dim, seq_len, config):
    """Frequencies and attention factor by the formulas, one number at a time."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    M = config["max_position_embeddings"]
    O = config.get("original_max_position_embeddings",
                   rope.get("original_max_position_embeddings", M))
    kind = rope.get("rope_type", rope.get("type", "default"))
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    factor, out, scale = rope.get("factor"), [], 1.0
    if kind == "dynamic" and seq_len > M:
        base *= (factor * seq_len / M - factor + 1) ** (head_dim / (head_dim - 2))
    if kind in ("yarn", "longrope") and factor is None:
        factor = M / O
    for j in range(head_dim // 2):
        f = base ** (-2 * j / head_dim)
        if kind == "linear":
            f /= factor
        elif kind == "llama3":
            turns = O * f / (2 * math.pi)                   # within the original length
            low, high = rope["low_freq_factor"], rope["high_freq_factor"]
            keep = min(max((turns - low) / (high - low), 0), 1)
            f *= keep + (1 - keep) / factor
        elif kind == "yarn":
            ends = [head_dim / 2 * math.log(O / (2 * math.pi * turns), base) for turns in
                    (rope.get("beta_fast") or 32, rope.get("beta_slow") or 1)]
            if rope.get("truncate", True):
                ends = [math.floor(ends[0]), math.ceil(ends[1])]
            low, high = max(ends[0], 0), min(ends[1], head_dim - 1)
            slow = min(max((j - low) / (high - low if high != low else 0.001), 0), 1)
            f *= 1 - slow + slow / factor
        elif kind == "longrope":
            f /= rope["long_factor" if seq_len > O else "short_factor"][j]
        out.append(f)
    if kind == "yarn":
        def part(m):
            return 1 + 0.1 * m * math.log(factor) if factor > 1 else 1.0
        both = rope.get("mscale") and rope.get("mscale_all_dim")
        scale = part(rope["mscale"]) / part(rope["mscale_all_dim"]) if both else part(1)
    if kind == "longrope" and factor > 1:
        scale = math.sqrt(1 + math.log(factor) / math.log(O))
    given = rope.get("attention_factor")
    return out, scale if given is None else given


def rounded(rows):
    return [[round(x, 10) for x in row] for row in rows.tolist()]


def make(name, head_dim, seq_len, config):
    positions = [t for t in POSITIONS if t < seq_len]
    with widened():
        embedding = rotary(head_dim, config)
        cos, sin = tables(embedding, seq_len, positions, torch.float64)
        frequencies, factor = embedding.inv_freq.tolist(), float(embedding.attention_scaling)
    narrow = rotary(head_dim, config)
    near = [i for i, t in enumerate(positions) if t <= 100]       # f32 knows few digits of angles
    tables(narrow, seq_len, positions, torch.float32)
    assert torch.allclose(narrow.inv_freq.double(), torch.tensor(frequencies).double(), rtol=1e-5)
    assert torch.allclose(tables(narrow, seq_len, positions, torch.float32)[0][near].double(),
                          cos[near], atol=1e-4), name
    wanted, scale = expected(head_dim, seq_len, config)
    assert abs(scale - factor) < 1e-12 * abs(factor), (name, scale, factor)
    for j, f in enumerate(wanted):
        assert abs(f - frequencies[j]) < 1e-12 * f, (name, j, f, frequencies[j])
    return {"name": name, "head_dim": head_dim, "seq_len": seq_len, "config": config,
            "frequencies": frequencies, "attention_factor": factor, "positions": positions,
            "cos": rounded(cos), "sin": rounded(sin)}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../tests/data/rope.json")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    cases = [make(name, *case) for name, case in CASES.items()]
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write('{"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")
    print(f"{os.path.normpath(path)}: {len(cases)} cases, {os.path.getsize(path) // 1024} KiB")


if __name__ == "__main__":
    main()

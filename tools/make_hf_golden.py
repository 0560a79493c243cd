#!/usr/bin/env python3
"""Make small random models of every family as Hugging Face folders, with reference numbers.

    tools/make_hf_golden.py [OUTPUT_DIRECTORY [SET...]]        default: tests/data, all sets

Needs transformers 5.24, torch and safetensors; building and testing the library does not need this
script, only the files that it made. Each folder tests/data/hf_<name>/ is what save_pretrained
writes (config.json, generation_config.json, and model.safetensors or several files with an index).
In some folders config.json is then rewritten with the keys of transformers 4 (torch_dtype,
rope_theta, rope_scaling), or the tensors are renamed as older files have them. Beside that stand

    golden.json          "tokens": N+1 of them, inputs are tokens[0:N] and labels tokens[1:N+1];
                         "loss": their mean; "bins": {begin, end, loss} of the positions [0, 16),
                         [16, 32), [32, 64), ...; "grad_norm" at the initial weights;
                         "within": {"tokens", "loss", "bins"} of the first tokens alone, if RoPE
                         depends on the length; "train": the settings; "losses" and "grad_norms" of
                         each step before its update, before clipping. A set whose RoPE cannot be
                         trained with has none of the numbers of gradients and training.
    golden.safetensors   f32: "logits" [N, V], "within.logits", and "grad.<tensor>" with the name
                         and the layout of each tensor of the folder (gradient of the mean loss, not
                         clipped; of a tied embedding: the sum of its two uses)

Weights are rounded to the type in which they are stored, and computed with in float64. Models of
transformers compute norms, softmax and RoPE in float32 even then; so this script replaces float32
by float64 in their modules. It checks itself: reading the folder gives the same logits, with
float64 everywhere and, to 1e-4, with transformers as it is; gradients agree with finite
differences; no layer attends evenly. Two runs give the same bytes.

Shapes: N tokens, V vocabulary.
"""
import importlib
import json
import math
import os
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

from make_golden import TRAIN as GOLDEN_TRAIN

TRAIN = {**GOLDEN_TRAIN, "warmup": 2, "steps": 5}
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
FULL, SLIDING = "full_attention", "sliding_attention"


def sizes(hidden, ffn, layers, heads, kv_heads, vocab, positions=128, **more):
    return {"hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocab,
            "max_position_embeddings": positions, "bos_token_id": 1, "eos_token_id": 2,
            "pad_token_id": None, **more}


# A set: model_type, N, stored type, config; and, where it differs from what save_pretrained writes,
#   shard    the largest number of bytes of a file
#   old      the key that names RoPE's type in the spelling of transformers 4: "type" or "rope_type"
#   drop     keys to leave out of config.json, so that defaults apply
#   within   a number of tokens for which RoPE is another one
#   is_base  tensors are named as in a model without a head
#   trains   False: RoPE depends on the length of the text that was read so far
SETS = {
    "hf_llama2": ("llama", 45, F16, sizes(
        20, 27, 3, 5, 5, 61, head_dim=6, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}),
        {"old": "type", "shard": 11000}),
    # wavelengths below, between and above 32 / 4 and 32 / 1
    "hf_llama3": ("llama", 77, BF16, sizes(
        24, 31, 2, 6, 2, 67, 256, head_dim=10, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
                         "rope_theta": 1000.0}), {}),
    "hf_llama_bias": ("llama", 39, F32, sizes(
        18, 25, 2, 9, 3, 53, head_dim=4, attention_bias=True, mlp_bias=True), {"old": "type"}),
    "hf_llama_yarn": ("llama", 71, F32, sizes(
        20, 23, 2, 5, 1, 51, 80, head_dim=12,
        rope_parameters={"rope_type": "yarn", "factor": 5.0, "mscale": 0.8, "mscale_all_dim": 0.35,
                         "beta_fast": 3, "beta_slow": 0.4, "truncate": False, "rope_theta": 900.0,
                         "original_max_position_embeddings": 16}), {"old": "rope_type"}),
    "hf_llama_longrope": ("llama", 61, BF16, sizes(
        20, 29, 2, 5, 5, 59, 120, head_dim=8,
        rope_parameters={"rope_type": "longrope", "short_factor": [1.0, 1.05, 1.2, 1.7],
                         "long_factor": [1.1, 1.9, 3.7, 4.3], "rope_theta": 300.0,
                         "original_max_position_embeddings": 30}), {"within": 29}),
    "hf_llama_dynamic": ("llama", 53, BF16, sizes(
        20, 29, 2, 5, 5, 59, 31, head_dim=8,
        rope_parameters={"rope_type": "dynamic", "factor": 3.0, "rope_theta": 300.0}),
        {"within": 27, "old": "type", "trains": False}),
    # a query sees the last 7 keys, its own among them
    "hf_mistral": ("mistral", 45, BF16, sizes(
        22, 27, 2, 6, 2, 47, head_dim=6, sliding_window=7), {}),
    "hf_mistral_full": ("mistral", 43, F16, sizes(
        20, 31, 2, 4, 1, 55, head_dim=6, sliding_window=None), {"old": "type"}),
    "hf_ministral": ("ministral", 41, BF16, sizes(
        20, 25, 3, 6, 3, 49, head_dim=4, sliding_window=11, layer_types=[SLIDING, FULL, SLIDING]),
        {}),
    "hf_qwen2": ("qwen2", 58, BF16, sizes(
        28, 33, 4, 7, 1, 57, tie_word_embeddings=True, use_sliding_window=True, sliding_window=9,
        max_window_layers=2, rope_parameters={"rope_type": "default", "rope_theta": 1000.0}), {}),
    "hf_qwen2_old": ("qwen2", 46, F16, sizes(
        24, 29, 3, 6, 2, 45, use_sliding_window=True, sliding_window=5, max_window_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": 3000.0}),
        {"old": "type", "drop": ["layer_types"]}),
    "hf_qwen3": ("qwen3", 70, BF16, sizes(
        20, 27, 3, 6, 3, 63, 64, head_dim=8, tie_word_embeddings=True,
        rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 700.0,
                         "original_max_position_embeddings": 16}), {}),
    "hf_qwen3_mixed": ("qwen3", 52, F32, sizes(
        18, 21, 4, 5, 5, 41, head_dim=6, attention_bias=True, use_sliding_window=True,
        sliding_window=13, layer_types=[SLIDING, FULL, FULL, SLIDING]), {"old": "type"}),
    "hf_smollm3": ("smollm3", 50, BF16, sizes(
        24, 31, 4, 6, 2, 65, no_rope_layers=[1, 0, 1, 0], use_sliding_window=True,
        sliding_window=15, mlp_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 2000.0}), {}),
    # which layers have RoPE, its base, and that the head is tied follow from defaults
    "hf_smollm3_old": ("smollm3", 44, F16, sizes(
        20, 25, 5, 5, 1, 43, head_dim=6, no_rope_layer_interval=2, attention_bias=True),
        {"old": "type", "drop": ["layer_types", "no_rope_layers", "rope_theta",
                                 "tie_word_embeddings"]}),
    "hf_gpt2": ("gpt2", 47, F32, {
        "vocab_size": 51, "n_positions": 48, "n_embd": 20, "n_layer": 3, "n_head": 5,
        "n_inner": 27, "bos_token_id": 50, "eos_token_id": 50, "tie_word_embeddings": False}, {}),
    "hf_gpt2_base": ("gpt2", 37, F32, {
        "vocab_size": 49, "n_positions": 40, "n_embd": 21, "n_layer": 2, "n_head": 7,
        "bos_token_id": 48, "eos_token_id": 48},
        {"old": "type", "is_base": True, "drop": ["torch_dtype", "tie_word_embeddings"]}),
}


# ---- float64 everywhere --------------------------------------------------------------------------

class WideTorch:
    """The module torch, in which float32 is another name of float64."""
    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def rope_modules():
    names = sorted({entry[0] for entry in SETS.values()})
    return [importlib.import_module(f"transformers.models.{n}.modeling_{n}") for n in names] + [
        importlib.import_module("transformers.modeling_rope_utils")]


class widened:
    """While it is entered, models of transformers compute in float64 where they ask for float32."""

    def __enter__(self):
        self.narrow = torch.Tensor.float
        torch.Tensor.float = torch.Tensor.double
        torch.set_default_dtype(torch.float64)     # of quotients of integers
        for module in rope_modules():
            module.torch = WideTorch()

    def __exit__(self, *_):
        torch.Tensor.float = self.narrow
        torch.set_default_dtype(torch.float32)
        for module in rope_modules():
            module.torch = torch


def load(folder, dtype=torch.float64):
    """Reads a folder as any program would; no tensor may be missing or left over."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], (folder, info)
    return model.eval()


# ---- the model and its numbers -------------------------------------------------------------------

def set_weights(model, gen):
    """Matrices of gain 1 (queries and keys 1.6: attention must not be even), embeddings 0.4*randn,
    weights of norms 1 + 0.3*randn, biases 0.2*randn."""
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=gen, dtype=torch.float64)
        if name.endswith(".bias"):
            x *= 0.2
        elif p.dim() == 1:
            x = 1 + 0.3 * x
        elif any(part in name for part in ("embed_tokens", "wte", "wpe")):
            x *= 0.4
        else:
            inputs = p.shape[0] if ".c_" in name else p.shape[1]     # GPT-2 stores [in, out]
            x *= (1.6 if any(part in name for part in ("q_proj", "k_proj", "c_attn")) else 1)
            x /= math.sqrt(inputs)
        p.data = x


def token_losses(model, tokens):
    """tokens [N+1] -> logits [N, V], the loss of each token [N]."""
    logits = model(tokens[None, :-1], use_cache=False).logits[0]
    return logits, torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")


def bins(losses):
    """[N] -> the mean of each doubling range of positions."""
    out, begin, end = [], 0, 16
    while begin < len(losses):
        part = losses[begin:end]
        out.append({"begin": begin, "end": begin + len(part), "loss": part.mean().item()})
        begin, end = end, 2 * end
    return out


def loss_and_grads(model, tokens):
    """Returns the mean loss, and the norm of all gradients, which stay in the parameters."""
    model.zero_grad()
    loss = token_losses(model, tokens)[1].mean()
    loss.backward()
    return loss.item(), math.sqrt(sum((p.grad ** 2).sum().item() for p in model.parameters()))


def learning_rate(step):
    """Linear warm-up, then a cosine down to min_lr_ratio; step counts from 1."""
    lr, floor = TRAIN["lr"], TRAIN["lr"] * TRAIN["min_lr_ratio"]
    if step <= TRAIN["warmup"]:
        return lr * step / TRAIN["warmup"]
    done = (step - TRAIN["warmup"]) / (TRAIN["steps"] - TRAIN["warmup"])
    return floor + 0.5 * (1 + math.cos(math.pi * done)) * (lr - floor)


def train(model, tokens):
    """AdamW with weight decay on matrices -> losses and gradient norms before each update."""
    groups = [{"params": [p for p in model.parameters() if (p.dim() == 2) == is_matrix],
               "weight_decay": TRAIN["weight_decay"] if is_matrix else 0.0}
              for is_matrix in (True, False)]
    optimizer = torch.optim.AdamW(groups, foreach=False, eps=TRAIN["eps"],
                                  betas=(TRAIN["beta1"], TRAIN["beta2"]))
    losses, norms = [], []
    for step in range(1, TRAIN["steps"] + 1):
        loss, norm = loss_and_grads(model, tokens)
        losses.append(loss)
        norms.append(norm)
        for p in model.parameters():
            p.grad *= min(1.0, TRAIN["clip"] / norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
    return losses, norms


# ---- checks of this script itself ----------------------------------------------------------------

def check_grads(model, tokens):
    """Central differences at the entry of the largest gradient of every parameter."""
    delta = 1e-5
    with torch.no_grad():
        for name, p in model.named_parameters():
            g, flat, side = p.grad.reshape(-1), p.data.view(-1), []
            i = g.abs().argmax().item()
            keep = flat[i].item()
            for x in (keep + delta, keep - delta):
                flat[i] = x
                side.append(token_losses(model, tokens)[1].mean().item())
            flat[i] = keep
            numeric = (side[0] - side[1]) / (2 * delta)
            assert abs(numeric - g[i]) <= 1e-9 + 1e-6 * abs(g[i]), (name, i, numeric, g[i].item())


def check_attention(model, tokens):
    """In every layer some query gives one of the keys that it sees far more than its share."""
    with torch.no_grad():
        layers = model(tokens[None, :-1], use_cache=False, output_attentions=True).attentions
    for layer, weights in enumerate(layers):                                         # [1, Hq, N, N]
        peak = weights[0, :, 12:].amax(-1) * (weights[0, :, 12:] > 0).sum(-1)
        assert peak.mean() > 2, (layer, peak.mean())


def check_reading(folder, logits, tokens):
    """What the folder holds gives the same logits, also in float32 with transformers as it is."""
    with widened(), torch.no_grad():
        again = token_losses(load(folder), tokens)[0]
    assert torch.equal(again, logits), folder
    with torch.no_grad():
        narrow = token_losses(load(folder, torch.float32), tokens)[0]
    assert (narrow - logits).abs().max() < 1e-4 * logits.abs().max(), folder


# ---- files ---------------------------------------------------------------------------------------

def write_json(path, value):
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def rewrite_config(folder, old=None, drop=(), **_):
    """Spells config.json as transformers 4 did, and leaves out keys."""
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if old:
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.46.3"
        rope = config.pop("rope_parameters", None)
        if rope:
            config["rope_theta"] = rope.pop("rope_theta")
            rope[old] = rope.pop("rope_type")
            config["rope_scaling"] = rope if rope[old] != "default" else None
    for key in drop:
        config.pop(key, None)
    write_json(path, config)


def rename_to_base(folder, model):
    """Names the tensors of a GPT-2 without "transformer.", beside masks that older files have."""
    path = os.path.join(folder, "model.safetensors")
    tensors = {name.removeprefix("transformer."): x for name, x in load_file(path).items()}
    P = model.config.n_positions
    for n in range(model.config.n_layer):
        tensors[f"h.{n}.attn.bias"] = torch.ones(P, P, dtype=F32).tril()[None, None]
    save_file(tensors, path, metadata={"format": "pt"})


def save(model, folder, dtype, more):
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=more.get("shard", 10 ** 6))
    if more.get("is_base"):
        rename_to_base(folder, model)
    rewrite_config(folder, **more)


def make(folder, seed, model_type, N, dtype, config, more):
    gen = torch.Generator().manual_seed(seed)
    config = transformers.AutoConfig.for_model(model_type, **config)
    tokens = torch.randint(config.vocab_size, (N + 1,), generator=gen)
    with widened():
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        set_weights(model, gen)
        save(model, folder, dtype, more)
        model = load(folder)
        check_attention(model, tokens)
        logits, losses = (x.detach() for x in token_losses(model, tokens))
        tensors = {"logits": logits}
        golden = {"tokens": tokens.tolist(), "loss": losses.mean().item(), "bins": bins(losses)}
        if "within" in more:
            part = tokens[:more["within"] + 1]
            short, losses = (x.detach() for x in token_losses(load(folder), part))
            assert (short - logits[:len(short)]).abs().max() > 1e-2       # RoPE is another one
            tensors["within.logits"] = short
            golden["within"] = {"tokens": len(short), "loss": losses.mean().item(),
                                "bins": bins(losses)}
        if more.get("trains", True):
            loss, norm = loss_and_grads(model, tokens)
            assert abs(loss - golden["loss"]) < 1e-12
            prefix = "transformer." if more.get("is_base") else ""
            for name, p in model.named_parameters():
                tensors["grad." + name.removeprefix(prefix)] = p.grad.clone()
            check_grads(model, tokens)
            steps, norms = train(model, tokens)
            assert steps[0] == loss and steps[-1] < loss
            golden.update(grad_norm=norm, train=TRAIN, losses=steps, grad_norms=norms)
    check_reading(folder, logits, tokens)
    write_json(os.path.join(folder, "golden.json"), golden)
    save_file({name: x.detach().float().contiguous() for name, x in tensors.items()},
              os.path.join(folder, "golden.safetensors"), metadata={"format": "pt"})
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{folder}: {size // 1024} KiB, loss {golden['loss']:.6f}" +
          (f" -> {steps[-1]:.6f}, gradient norm {norm:.4f}" if "losses" in golden else ""))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "data")
    torch.set_num_threads(1)                       # a fixed order of summation
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = list(SETS)
    for name in sys.argv[2:] or names:
        make(os.path.normpath(os.path.join(root, name)), 2001 + names.index(name), *SETS[name])


if __name__ == "__main__":
    main()

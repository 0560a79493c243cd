#!/usr/bin/env python3
"""Make the golden reference files under tests/data/golden_{llama,qwen,gpt2,mistral,deep}/.

A tiny Llama, a tiny Qwen2, a tiny GPT-2, a tiny Mistral and a Llama of five layers, written plainly with PyTorch operations in float64 and differentiated by autograd.
It shares no code with the library, so that agreement between the two means something. Needs python3-torch and python3-numpy
(Debian 12: torch 1.13); building and testing the library does not need this script, only the files it made.

    tools/make_golden.py [OUTPUT_DIRECTORY [SET...]]        default: tests/data beside this script's folder, all sets

Each folder holds
    config.json          the model, in Hugging Face's keys
    model.safetensors    the initial weights, f32; every linear is stored [out, in], for GPT-2 too
    golden.safetensors   f32, at the initial weights: "logits" [N, V] and "grad.<parameter>" for every parameter
                         (gradient of the mean loss, not clipped; of a tied embedding: the sum of its two uses)
    golden.json          "tokens": N+1 of them, inputs are tokens[0:N] and labels tokens[1:N+1]; "loss" and "grad_norm" at the initial
                         weights; "train": the settings; "losses", "grad_norms": before each update, the norms before clipping.
                         Every training step uses this same window.

Weights are rounded to f32 and computed with in f64, so a reader of the files starts from exactly the same numbers. Before it writes, the
script checks itself: gradients against finite differences, RoPE, LayerNorm, GELU, the loss and AdamW against other formulations.
Two runs give the same bytes; another build of PyTorch may differ in the last digits of f64.

Note for comparisons: without RoPE the loss does not depend on the key bias (softmax ignores what is added to a whole row), so GPT-2's
grad.*.k_proj.bias is zero up to rounding. Compare it with an absolute tolerance.

Shapes: N tokens, V vocabulary, h hidden, Hq query heads, Hkv key/value heads, d head_dim, f MLP width.
"""
import json
import math
import os
import struct
import sys

import torch
import torch.nn.functional as F

TRAIN = {"lr": 1e-3, "warmup": 3, "steps": 10, "min_lr_ratio": 0.1, "schedule": "cosine",
         "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip": 0.5}

SETS = {  # folder: (seed, N, config)
    # Hq*d = 64 differs from h = 32; 4 query heads share a key/value head
    "golden_llama": (1001, 45, {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "vocab_size": 61, "max_position_embeddings": 128}),
    # head counts that are no power of two, tied head, bias on q, k and v (which model_type qwen2 implies)
    "golden_qwen": (1002, 64, {
        "model_type": "qwen2", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 9,
        "num_key_value_heads": 3, "head_dim": 6, "rms_norm_eps": 1e-6, "rope_theta": 1000.0, "tie_word_embeddings": True,
        "vocab_size": 53, "max_position_embeddings": 128}),
    # n_inner null means 4*n_embd
    "golden_gpt2": (1003, 37, {
        "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 8, "n_positions": 64, "n_inner": None,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "tie_word_embeddings": True, "vocab_size": 50}),
    # a query sees the last 9 keys, its own among them
    "golden_mistral": (1004, 45, {
        "model_type": "mistral", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "vocab_size": 47, "max_position_embeddings": 128, "sliding_window": 9}),
    # enough layers for the stages of a pipeline, whose first and last share the embedding
    "golden_deep": (1005, 33, {
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 22, "num_hidden_layers": 5, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 6, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "vocab_size": 43, "max_position_embeddings": 128}),
}


# ---- the model -------------------------------------------------------------------------------------------------------------------

class Shape:
    """The sizes of a model, read from its config in either family's keys."""

    def __init__(self, c):
        self.gpt2 = c["model_type"] == "gpt2"
        self.V, self.tied = c["vocab_size"], c["tie_word_embeddings"]
        if self.gpt2:
            self.h, self.L, self.Hq, self.eps = c["n_embd"], c["n_layer"], c["n_head"], c["layer_norm_epsilon"]
            self.Hkv, self.d, self.f = self.Hq, self.h // self.Hq, c["n_inner"] or 4 * self.h
            self.positions = c["n_positions"]
        else:
            self.h, self.L, self.Hq, self.eps = (c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"],
                                                 c["rms_norm_eps"])
            self.Hkv, self.d, self.f = c["num_key_value_heads"], c["head_dim"], c["intermediate_size"]
            self.theta = c["rope_theta"]
        self.qkv_bias = c["model_type"] in ("qwen2", "gpt2")
        self.window = c.get("sliding_window")


def parameter_shapes(s):
    """name -> shape, in the order of the file."""
    shapes = {}

    def norm(name):
        shapes[name + ".weight"] = (s.h,)
        if s.gpt2:
            shapes[name + ".bias"] = (s.h,)

    def linear(name, num_out, num_in, bias):
        shapes[name + ".weight"] = (num_out, num_in)
        if bias:
            shapes[name + ".bias"] = (num_out,)

    linear("model.embed_tokens", s.V, s.h, False)
    if s.gpt2:
        linear("model.embed_positions", s.positions, s.h, False)
    for n in range(s.L):
        p = f"model.layers.{n}."
        norm(p + "input_layernorm")
        linear(p + "self_attn.q_proj", s.Hq * s.d, s.h, s.qkv_bias)
        linear(p + "self_attn.k_proj", s.Hkv * s.d, s.h, s.qkv_bias)
        linear(p + "self_attn.v_proj", s.Hkv * s.d, s.h, s.qkv_bias)
        linear(p + "self_attn.o_proj", s.h, s.Hq * s.d, s.gpt2)
        norm(p + "post_attention_layernorm")
        if not s.gpt2:
            linear(p + "mlp.gate_proj", s.f, s.h, False)
        linear(p + "mlp.up_proj", s.f, s.h, s.gpt2)
        linear(p + "mlp.down_proj", s.h, s.f, s.gpt2)
    norm("model.norm")
    if not s.tied:
        linear("lm_head", s.V, s.h, False)
    return shapes


def initial_parameters(s, gen):
    """Matrices 0.08*randn, norm weights 1 + 0.1*randn, biases 0.1*randn; rounded to f32, kept in f64."""
    params = {}
    for name, shape in parameter_shapes(s).items():
        x = torch.randn(shape, generator=gen, dtype=torch.float64)
        if len(shape) == 2:
            x = 0.08 * x
        elif name.endswith(".bias"):
            x = 0.1 * x
        else:
            x = 1 + 0.1 * x
        params[name] = x.float().double().requires_grad_()
    return params


def rms_norm(x, weight, eps):  # x [N, h]
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def layer_norm(x, weight, bias, eps):  # x [N, h]; the variance divides by h
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps) * weight + bias


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def rope(x, theta):
    """x [N, H, d]: rotate-half. Features j and j + d/2 of position t turn by the angle t * theta^(-2j/d)."""
    N, _, d = x.shape
    frequency = theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)                         # [d/2]
    angle = torch.arange(N, dtype=torch.float64)[:, None] * frequency                              # [N, d/2]
    cos, sin = torch.cat([angle, angle], -1).cos()[:, None], torch.cat([angle, angle], -1).sin()[:, None]  # [N, 1, d]
    rotated = torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1)
    return x * cos + rotated * sin


def attention(q, k, v, window=None):
    """q [N, Hq, d], k and v [N, Hkv, d] -> [N, Hq, d]. Causal; query head i reads key/value head i / (Hq/Hkv). Query i sees key j
    where i - j < window."""
    N, Hq, d = q.shape
    k, v = (x.repeat_interleave(Hq // x.shape[1], dim=1) for x in (k, v))                          # [N, Hq, d]
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(d)                                     # [Hq, N, N]
    future = torch.ones(N, N, dtype=torch.bool).triu(1)
    past = torch.ones(N, N, dtype=torch.bool).tril(-(window or N))
    weights = torch.exp(scores - scores.detach().amax(-1, keepdim=True)).masked_fill(future | past, 0.0)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("hij,jhd->ihd", weights, v)


def forward(s, params, inputs):
    """inputs [N] -> logits [N, V]."""
    N = len(inputs)

    def linear(name, x):
        y = x @ params[name + ".weight"].T
        return y + params[name + ".bias"] if name + ".bias" in params else y

    def norm(name, x):
        if s.gpt2:
            return layer_norm(x, params[name + ".weight"], params[name + ".bias"], s.eps)
        return rms_norm(x, params[name + ".weight"], s.eps)

    x = params["model.embed_tokens.weight"][inputs]                                                # [N, h]
    if s.gpt2:
        x = x + params["model.embed_positions.weight"][:N]
    for n in range(s.L):
        p = f"model.layers.{n}."
        y = norm(p + "input_layernorm", x)                                                         # [N, h]
        q = linear(p + "self_attn.q_proj", y).view(N, s.Hq, s.d)
        k = linear(p + "self_attn.k_proj", y).view(N, s.Hkv, s.d)
        v = linear(p + "self_attn.v_proj", y).view(N, s.Hkv, s.d)
        if not s.gpt2:
            q, k = rope(q, s.theta), rope(k, s.theta)
        x = x + linear(p + "self_attn.o_proj", attention(q, k, v, s.window).reshape(N, s.Hq * s.d))
        y = norm(p + "post_attention_layernorm", x)
        up = linear(p + "mlp.up_proj", y)                                                          # [N, f]
        if s.gpt2:
            act = gelu_new(up)
        else:
            gate = linear(p + "mlp.gate_proj", y)
            act = gate / (1 + torch.exp(-gate)) * up
        x = x + linear(p + "mlp.down_proj", act)
    x = norm("model.norm", x)
    return x @ params["model.embed_tokens.weight" if s.tied else "lm_head.weight"].T


def mean_loss(logits, labels):
    """Mean over all tokens of logsumexp(logits) - logits[label]."""
    return (torch.logsumexp(logits, -1) - logits[torch.arange(len(labels)), labels]).mean()


def loss_and_grads(s, params, tokens):
    """-> logits [N, V], mean loss, {name: gradient}, L2 norm of all gradients together."""
    logits = forward(s, params, tokens[:-1])
    loss = mean_loss(logits, tokens[1:])
    grads = dict(zip(params, torch.autograd.grad(loss, list(params.values()))))
    norm = math.sqrt(sum((g * g).sum().item() for g in grads.values()))
    return logits.detach(), loss.item(), grads, norm


# ---- training --------------------------------------------------------------------------------------------------------------------

def learning_rate(step):
    """Linear warm-up, then a cosine down to min_lr_ratio; step counts from 1."""
    lr, warmup, floor = TRAIN["lr"], TRAIN["warmup"], TRAIN["lr"] * TRAIN["min_lr_ratio"]
    if step <= warmup:
        return lr * step / warmup
    return floor + 0.5 * (1 + math.cos(math.pi * (step - warmup) / (TRAIN["steps"] - warmup))) * (lr - floor)


def clipped(grads, norm):
    scale = TRAIN["clip"] / norm if norm > TRAIN["clip"] else 1.0
    return {name: g * scale for name, g in grads.items()}


def train(s, params, tokens):
    """AdamW by hand -> losses and gradient norms, both taken before each update. Weight decay on 2-dim tensors only."""
    params = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    m = {name: torch.zeros_like(p) for name, p in params.items()}
    v = {name: torch.zeros_like(p) for name, p in params.items()}
    b1, b2, losses, norms = TRAIN["beta1"], TRAIN["beta2"], [], []
    for step in range(1, TRAIN["steps"] + 1):
        lr = learning_rate(step)
        _, loss, grads, norm = loss_and_grads(s, params, tokens)
        losses.append(loss)
        norms.append(norm)
        with torch.no_grad():
            for name, g in clipped(grads, norm).items():
                p = params[name]
                m[name] = b1 * m[name] + (1 - b1) * g
                v[name] = b2 * v[name] + (1 - b2) * g * g
                if p.dim() == 2:
                    p -= lr * TRAIN["weight_decay"] * p
                p -= lr * (m[name] / (1 - b1 ** step)) / (torch.sqrt(v[name] / (1 - b2 ** step)) + TRAIN["eps"])
    return losses, norms


# ---- checks of this script itself ------------------------------------------------------------------------------------------------

def check_pieces():
    """The hand-written pieces against PyTorch's own, and RoPE against a product of complex numbers."""
    gen = torch.Generator().manual_seed(7)
    x, w, b = (torch.randn(n, generator=gen, dtype=torch.float64) for n in ((9, 12), (12,), (12,)))
    assert torch.allclose(layer_norm(x, w, b, 1e-5), F.layer_norm(x, (12,), w, b, 1e-5), rtol=1e-12, atol=1e-13)
    assert torch.allclose(gelu_new(x), F.gelu(x, approximate="tanh"), rtol=1e-12, atol=1e-13)
    labels = torch.randint(12, (9,), generator=gen)
    assert torch.allclose(mean_loss(x, labels), F.cross_entropy(x, labels), rtol=1e-12, atol=0)
    y = torch.complex(x[:, :6], x[:, 6:])
    angle = torch.tensor([[t / 500.0 ** (2 * j / 12) for j in range(6)] for t in range(9)], dtype=torch.float64)
    y = y * torch.polar(torch.ones_like(angle), angle)
    assert torch.allclose(rope(x[:, None], 500.0)[:, 0], torch.cat([y.real, y.imag], -1), rtol=1e-12, atol=1e-13)
    # attention, one query at a time: 4 query heads on 2 key/value heads
    q, k, v = (torch.randn((9, n, 6), generator=gen, dtype=torch.float64) for n in (4, 2, 2))
    for window in (None, 1, 4):
        out = attention(q, k, v, window)
        for i in range(9):
            seen = slice(0 if window is None else max(0, i - window + 1), i + 1)
            for head in range(4):
                p = torch.softmax(k[seen, head // 2] @ q[i, head] / math.sqrt(6), 0)
                assert torch.allclose(out[i, head], p @ v[seen, head // 2], rtol=1e-12, atol=1e-13)


def check_causal(s, params, logits, tokens):
    """Another token at position N/2 leaves all earlier logits as they are and changes the later ones."""
    changed, at = tokens[:-1].clone(), len(logits) // 2
    changed[at] = (changed[at] + 1) % s.V
    with torch.no_grad():
        difference = (forward(s, params, changed) - logits).abs().amax(-1)                         # [N]
    end = len(logits) if s.window is None else at + s.L * (s.window - 1) + 1                       # of those that it reaches
    assert difference[:at].max() < 1e-13 and difference[at:end].min() > 1e-6
    assert end >= len(logits) or difference[end:].max() < 1e-13


def check_grads(s, params, grads, tokens):
    """Central differences at two entries of every parameter: the one with the largest gradient and one drawn at random."""
    gen, delta = torch.Generator().manual_seed(8), 1e-5
    with torch.no_grad():
        for name, p in params.items():
            g, flat = grads[name].reshape(-1), p.view(-1)
            for i in (g.abs().argmax().item(), torch.randint(len(g), (), generator=gen).item()):
                keep, side = flat[i].item(), []
                for x in (keep + delta, keep - delta):
                    flat[i] = x
                    side.append(mean_loss(forward(s, params, tokens[:-1]), tokens[1:]).item())
                flat[i] = keep
                numeric = (side[0] - side[1]) / (2 * delta)
                assert abs(numeric - g[i].item()) <= 1e-9 + 1e-6 * abs(g[i].item()), (name, i, numeric, g[i].item())


def check_train(s, params, tokens, losses):
    """The same training with torch.optim.AdamW gives the same losses."""
    params = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    groups = [{"params": [p for p in params.values() if p.dim() == dims], "weight_decay": decay}
              for dims, decay in ((2, TRAIN["weight_decay"]), (1, 0.0))]
    optimizer = torch.optim.AdamW(groups, betas=(TRAIN["beta1"], TRAIN["beta2"]), eps=TRAIN["eps"])
    for step, expected in enumerate(losses, 1):
        _, loss, grads, norm = loss_and_grads(s, params, tokens)
        assert abs(loss - expected) < 1e-12 * expected, (step, loss, expected)
        for name, g in clipped(grads, norm).items():
            params[name].grad = g
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()


# ---- files -----------------------------------------------------------------------------------------------------------------------

def write_safetensors(path, tensors):
    """{name: tensor} as f32, in the given order: u64 header length, JSON header padded with spaces to a multiple of 8, data."""
    header, data = {"__metadata__": {"format": "pt"}}, []
    end = 0
    for name, x in tensors.items():
        data.append(x.detach().float().contiguous().numpy().astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [end, end + len(data[-1])]}
        end += len(data[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def write_text(path, text):
    with open(path, "w", encoding="ascii", newline="\n") as out:
        out.write(text + "\n")


def golden_json(tokens, loss, norm, losses, norms):
    """Measured numbers with 17 significant digits: enough to give back the same f64."""
    def numbers(values):
        return ", ".join(f"{x:.17g}" for x in values)
    return (f'{{\n  "tokens": {json.dumps(tokens.tolist())},\n  "loss": {loss:.17g},\n  "grad_norm": {norm:.17g},\n'
            f'  "train": {json.dumps(TRAIN)},\n  "losses": [{numbers(losses)}],\n  "grad_norms": [{numbers(norms)}]\n}}')


def make(folder, seed, N, config):
    s, gen = Shape(config), torch.Generator().manual_seed(seed)
    params = initial_parameters(s, gen)
    tokens = torch.randint(s.V, (N + 1,), generator=gen)
    logits, loss, grads, norm = loss_and_grads(s, params, tokens)
    losses, norms = train(s, params, tokens)
    assert losses[0] == loss and norms[0] == norm and losses[-1] < loss

    check_causal(s, params, logits, tokens)
    check_grads(s, params, grads, tokens)
    check_train(s, params, tokens, losses)

    os.makedirs(folder, exist_ok=True)
    write_text(os.path.join(folder, "config.json"), json.dumps(config, indent=2))
    write_safetensors(os.path.join(folder, "model.safetensors"), params)
    write_safetensors(os.path.join(folder, "golden.safetensors"),
                      {"logits": logits, **{"grad." + name: g for name, g in grads.items()}})
    write_text(os.path.join(folder, "golden.json"), golden_json(tokens, loss, norm, losses, norms))
    print(f"{folder}: {sum(p.numel() for p in params.values())} parameters, loss {loss:.6f} -> {losses[-1]:.6f}, "
          f"gradient norm {norm:.4f} -> {norms[-1]:.4f}")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data")
    torch.set_num_threads(1)                       # a fixed order of summation
    torch.use_deterministic_algorithms(True)
    check_pieces()
    for name in sys.argv[2:] or SETS:
        seed, N, config = SETS[name]
        make(os.path.normpath(os.path.join(root, name)), seed, N, config)


if __name__ == "__main__":
    main()

"""Uses an attention plan with NumPy, for two layers with different masks, and with documents.

The results on the ranks are compared with plain attention, which sees the whole stream.
04_attention_python.md explains the program."""

import numpy as np
import ulysses

N, HQ, HKV, D = 300, 6, 2, 16
DOCUMENTS = [0, 120, 210]  # first tokens


def numbers(heads, frequency):
    """Returns numbers for all tokens, the same on each rank."""
    return np.sin(frequency * np.arange(N * heads * D)).astype(np.float32).reshape(N, heads, D)


def plain_attention(q, k, v, window):
    """Returns o for the whole stream: causal, within a window, and within documents."""
    i, j = np.arange(N)[:, None], np.arange(N)
    number = np.searchsorted(DOCUMENTS, j, side="right")
    visible = (j <= i) & (i - j < window) & (number[:, None] == number)
    k, v = np.repeat(k, HQ // HKV, axis=1), np.repeat(v, HQ // HKV, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, k, dtype=np.float64) / np.sqrt(D)
    p = np.exp(np.where(visible, scores, -np.inf))
    return np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v)


def say(*words):
    if mesh.rank == 0:
        print(*words)


with ulysses.Mesh() as mesh:  # all ranks share one sequence
    near, far = ulysses.Mask("causal", window=20), ulysses.Mask("causal")
    plan = ulysses.Attention(mesh, num_tokens=N, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D,
                             masks=[near, far], documents=DOCUMENTS)
    say(f"{N} tokens in {len(DOCUMENTS)} documents, {HQ} query heads, {HKV} key/value heads")

    # Cut my tokens out of the stream. A model would compute only these.
    whole = numbers(HQ, 1.0), numbers(HKV, 1.3), numbers(HKV, 1.1)
    q, k, v = (plan.cut(x) for x in whole)
    for mask, window in enumerate((20, N)):
        o = plan.forward(q, k, v, mask=mask)
        difference = np.abs(o - plan.cut(plain_attention(*whole, window))).max(initial=0)
        mesh.agree(None if difference < 1e-5 else ArithmeticError(f"they differ by {difference}"))
        say(f"mask {mask}: {plan.pairs(mask):.0f} pairs of a query and a visible key")
        say("  outputs agree with plain attention to 1e-5")

    # Run two layers, each with its own saved state, and compute the gradients of the summed output.
    first, second = ulysses.Saved(plan), ulysses.Saved(plan)
    x = plan.forward(q, k, v, mask=0, saved=first)
    y = plan.forward(x, k, v, mask=1, saved=second)
    d_x, d_k2, d_v2 = plan.backward(second, np.ones_like(y))
    d_q, d_k, d_v = plan.backward(first, d_x)
    d_k, d_v = d_k + d_k2, d_v + d_v2
    say("gradients for each token:", d_q.shape[1:], d_k.shape[1:], d_v.shape[1:])

    # All ranks get a message that says what is wrong.
    try:
        plan.forward(q, k, v, mask=2)
    except ulysses.ConfigError as error:
        say("refused:", error)

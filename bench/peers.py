"""Does for bench/peers.sh what needs Python: training steps in PyTorch, and the table of results.

    peers.py data FILE TOKENS                        writes text for one sequence of TOKENS tokens
    peers.py step CHECKPOINT DATA DTYPE WARMUP STEPS trains, and prints a line of JSON; under
                                                     torchrun with DeepSpeed's DistributedAttention
    peers.py ours METRICS WARMUP                     prints the same line for a run of `ulysses`
    peers.py table RESULTS JSON PLOT                 prints the table, and writes it for others

Shapes: T tokens of this process, h hidden, Hq query and Hkv key/value heads, d elements of a head.
"""
import json
import os
import random
import statistics
import sys
import time

# The optimizer of `ulysses train`, as peers.sh calls it.
LR, BETAS, EPS, WEIGHT_DECAY, CLIP = 3e-4, (0.9, 0.95), 1e-8, 0.1, 1.0
# The largest relative difference of two losses that rounding explains.
SAME_LOSS = {"f32": 1e-4, "bf16": 5e-3}
NAMES = {"ulysses": "Ulysses", "pytorch": "PyTorch", "deepspeed": "DeepSpeed-Ulysses"}


def write_data(path, tokens):
    """Writes as many letters as a sequence has tokens, and one more for its last label."""
    draw = random.Random(1)
    with open(path, "w") as file:
        file.write("".join(draw.choices("abcdefghijklmnopqrstuvwxyz \n", k=int(tokens) + 1)))


def print_ours(path, warmup):
    with open(path) as file:
        steps = [json.loads(line) for line in file]
    print(json.dumps({
        "seconds": [step["step_s"] for step in steps[int(warmup):]],
        "losses": [step["loss"] for step in steps],
        "resident_bytes": max(step["resident_bytes"] for step in steps)}))


# ------------------------------------------------------------------------ the peers' training step


def make_llama(config, attend):
    """Returns a Llama whose parameters have the names of Hugging Face's.

    attend(q [T, Hq, d], k, v [T, Hkv, d]) returns [T, Hq, d]."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    if config["model_type"] != "llama" or not config["tie_word_embeddings"]:
        sys.exit("peers.py: MODEL must be a Llama with tied embeddings")
    h, f, d = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    num_q, num_kv = config["num_attention_heads"], config["num_key_value_heads"]

    def linears(**shapes):
        return nn.ModuleDict({name: nn.Linear(*s, bias=False) for name, s in shapes.items()})

    def rotate(x, cos, sin):
        first, second = x.float().chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_layernorm = nn.RMSNorm(h, config["rms_norm_eps"])
            self.self_attn = linears(q_proj=(h, num_q * d), k_proj=(h, num_kv * d),
                                     v_proj=(h, num_kv * d), o_proj=(num_q * d, h))
            self.post_attention_layernorm = nn.RMSNorm(h, config["rms_norm_eps"])
            self.mlp = linears(gate_proj=(h, f), up_proj=(h, f), down_proj=(f, h))

        def forward(self, x, cos, sin):
            a, m = self.self_attn, self.mlp
            y = self.input_layernorm(x)
            q, k, v = (a[name](y).view(len(x), -1, d) for name in ("q_proj", "k_proj", "v_proj"))
            o = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
            x = x + a["o_proj"](o.reshape(len(x), -1))
            y = self.post_attention_layernorm(x)
            return x + m["down_proj"](F.silu(m["gate_proj"](y)) * m["up_proj"](y))

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens = nn.Embedding(config["vocab_size"], h)
            self.layers = nn.ModuleList(Block() for _ in range(config["num_hidden_layers"]))
            self.norm = nn.RMSNorm(h, config["rms_norm_eps"])

        def loss(self, x, labels):
            logits = F.linear(self.norm(x), self.embed_tokens.weight).float()
            return F.cross_entropy(logits, labels, reduction="sum")

        def forward(self, tokens, labels, positions):
            """Returns the sum of the losses of these tokens."""
            rates = config["rope_theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
            angles = positions[:, None, None] * rates
            cos, sin = angles.cos().float(), angles.sin().float()
            x = self.embed_tokens(tokens)
            for layer in self.layers:
                x = layer(x, cos, sin)
            return self.loss(x, labels)

    return Llama()


def make_attention(num_ranks):
    """Returns attention on all tokens, or on those of all ranks by DeepSpeed."""
    import torch
    import torch.nn.functional as F

    def attend(q, k, v):
        # The kernel is faster on heads that are contiguous, by more than the copy takes.
        q, k, v = (x.transpose(0, 1).contiguous()[None] for x in (q, k, v))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return o[0].transpose(0, 1)

    if num_ranks == 1:
        return attend
    import deepspeed
    from deepspeed.sequence.layer import DistributedAttention
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)

    # Dimension 1 is the batch, of one sequence: DeepSpeed copies least with the tokens in front.
    whole = DistributedAttention(lambda q, k, v: attend(q[:, 0], k[:, 0], v[:, 0])[:, None],
                                 torch.distributed.group.WORLD)

    @torch.compiler.disable  # DeepSpeed says that a compiled exchange loses its gradient
    def attend_everywhere(q, k, v):
        return whole(q[:, None], k[:, None], v[:, None], 1)[:, 0]

    return attend_everywhere


def peak_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024


def run_steps(checkpoint, data, dtype, warmup, num_steps):
    import torch
    from safetensors.torch import load_file

    rank, num_ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    with open(f"{checkpoint}/config.json") as file:
        model = make_llama(json.load(file), make_attention(num_ranks))
    weights = load_file(f"{checkpoint}/model.safetensors")
    model.load_state_dict({name.removeprefix("model."): w.float() for name, w in weights.items()})

    # bf16: the optimizer has f32 weights of its own.
    masters = list(model.parameters())
    if dtype == "bf16":
        masters = [p.detach().clone() for p in masters]
        model.bfloat16()
    params = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [m for m in masters if m.dim() == 2], "weight_decay": WEIGHT_DECAY},
         {"params": [m for m in masters if m.dim() != 2], "weight_decay": 0.0}],
        lr=LR, betas=BETAS, eps=EPS, fused=True)

    for layer in model.layers:
        layer.compile()
    model.loss = torch.compile(model.loss)
    if num_ranks > 1:
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)

    with open(data, "rb") as file:
        stream = torch.tensor(list(file.read()))
    total = len(stream) - 1
    mine = slice(rank * total // num_ranks, (rank + 1) * total // num_ranks)
    inputs = stream[:-1][mine], stream[1:][mine], torch.arange(total)[mine]

    def step():
        loss = model(*inputs) / total
        (loss * num_ranks).backward()  # the gradient is averaged over ranks
        if dtype == "bf16":
            for master, param in zip(masters, params):
                master.grad, param.grad = param.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        if dtype == "bf16":
            with torch.no_grad():
                torch._foreach_copy_(params, masters)
        loss = loss.detach()
        if num_ranks > 1:
            torch.distributed.all_reduce(loss)
        return loss.item()

    seconds, losses = [], []
    for i in range(warmup + num_steps):
        if i == warmup:  # what compilation took does not count
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    peak = torch.tensor(peak_bytes())
    if num_ranks > 1:
        torch.distributed.all_reduce(peak, op=torch.distributed.ReduceOp.MAX)
    if rank == 0:
        print(json.dumps({"seconds": seconds[warmup:], "losses": losses,
                          "resident_bytes": peak.item(), "warmup_seconds": seconds[:warmup]}))
    if num_ranks > 1:
        torch.distributed.destroy_process_group()


# ----------------------------------------------------------------------------------- the results


def print_table(results, json_path, plot_path):
    """Prints a row for each program and layout, from lines of JSON that peers.sh has put together.

    The ratio is the median, over the rounds, of the peer's time in units of ours of that round."""
    with open(results) as file:
        runs = [json.loads(line) for line in file]
    groups = {}
    for run in runs:
        run["median"] = statistics.median(run["seconds"])
        group = groups.setdefault((run["dtype"], run["ranks"]), {})
        group.setdefault(run["program"], []).append(run)
    rows = []
    for (dtype, ranks), group in groups.items():
        ours = group["ulysses"]
        for program in (name for name in NAMES if name in group):
            turns = group[program]
            seconds = statistics.median(turn["median"] for turn in turns)
            ratios = [turn["median"] / our["median"] for turn, our in zip(turns, ours)]
            losses, our_losses = turns[0]["losses"], ours[0]["losses"]
            apart = max(abs(loss - our) / our for loss, our in zip(losses, our_losses))
            rows.append({
                "program": program, "dtype": dtype, "ranks": ranks, "threads": turns[0]["threads"],
                "model": turns[0]["model"], "tokens": turns[0]["tokens"], "rounds": len(turns),
                "seconds": seconds, "tokens_per_s": turns[0]["tokens"] / seconds,
                "resident_bytes": max(turn["resident_bytes"] for turn in turns),
                "ratio": statistics.median(ratios), "ratios": ratios, "loss_apart": apart,
                "first_loss": losses[0], "last_loss": losses[-1]})
    print(f"{'dtype':5}  {'ranks x threads':15}  {'program':18} {'s / step':>8}  {'tokens/s':>8}  "
          f"{'MiB / rank':>10}  {'time / ours':>11}  {'(all rounds)':13}  loss apart")
    for row in rows:
        layout = f"{row['ranks']} x {row['threads']}"
        spread = f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}"
        print(f"{row['dtype']:5}  {layout:15}  {NAMES[row['program']]:18} {row['seconds']:8.3f}  "
              f"{row['tokens_per_s']:8.0f}  {row['resident_bytes'] / 2**20:10.0f}  "
              f"{row['ratio']:11.2f}  {spread:13}  {row['loss_apart']:.1e}")
    with open(json_path, "w") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")
    # A bar: its place, its height, its program, its label, the label of its pair.
    with open(plot_path, "w") as file:
        for i, row in enumerate(rows):
            pair = ""
            if i % 2 == 0:
                counts = [f"{n} {what}{'s' * (n > 1)}"
                          for n, what in ((row["ranks"], "rank"), (row["threads"], "thread"))]
                pair = f"{row['dtype']}\\n{' x '.join(counts)}"
            print(i + 0.7 * (i // 2), row["tokens_per_s"], list(NAMES).index(row["program"]),
                  f"\"{row['tokens_per_s']:,.0f}\"", f'"{pair}"', file=file)
    wrong = [row for row in rows if not row["loss_apart"] < SAME_LOSS[row["dtype"]]]
    if wrong:
        sys.exit(f"peers.py: losses differ by more than rounding explains: {wrong[0]['program']}, "
                 f"{wrong[0]['dtype']}, {wrong[0]['ranks']} ranks")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "data":
        write_data(*rest)
    elif what == "ours":
        print_ours(*rest)
    elif what == "step":
        run_steps(*rest[:3], int(rest[3]), int(rest[4]))
    elif what == "table":
        print_table(*rest)
    else:
        sys.exit(__doc__)

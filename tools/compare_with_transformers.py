#!/usr/bin/env python3
"""What transformers computes from a Hugging Face folder, to compare with what ulysses computes.

    compare_with_transformers.py logits FOLDER FOLDER
        exits with 1 unless two folders give the same logits, bit for bit, for random tokens
    compare_with_transformers.py eval FOLDER --data PATH --seq-len N [--windows W] [--dtype f64]
        prints the loss of `ulysses eval` on the same token shards as JSON, with the loss by position
    compare_with_transformers.py generate FOLDER --prompt TEXT [--max-tokens 100]
        prints the tokens, each the most likely one, that follow a text or --prompt-tokens ID,ID,...

Needs torch and transformers 4 or 5. --dtype is f32 unless given, --threads one for each core.
"""
import argparse
import json
import os
import sys
import warnings

import numpy
import torch
import transformers

DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16}
TILE = 1024                                        # tokens whose logits exist at a time


def load(folder, dtype="f32"):
    """Reads a model; every tensor that it needs must be in the folder."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[dtype], output_loading_info=True)
    if info["missing_keys"]:
        sys.exit(f"{folder}: no tensors {sorted(info['missing_keys'])}")
    return model.eval()


def logits(args):
    models = [load(folder, args.dtype) for folder in args.folder]
    sizes = {model.config.vocab_size for model in models}
    if len(sizes) > 1:
        sys.exit(f"the vocabularies differ: {sorted(sizes)}")
    tokens = torch.randint(sizes.pop(), (1, args.tokens),
                           generator=torch.Generator().manual_seed(args.seed))
    one, two = (model(tokens, use_cache=False).logits for model in models)
    difference = (one - two).abs().max().item()
    print(json.dumps({"equal": torch.equal(one, two), "tokens": args.tokens,
                      "largest_difference": difference, "largest": one.abs().max().item()}))
    sys.exit(not torch.equal(one, two))


def read_shard(path):
    """A shard of llm.c: 256 int32 (magic, version, number of tokens, ...), then the tokens."""
    with open(path, "rb") as file:
        header = numpy.frombuffer(file.read(1024), "<i4")
        if len(header) < 256 or header[0] not in (20240520, 20240801):
            sys.exit(f"{path} is not a shard of tokens")
        return numpy.frombuffer(file.read(), "<u2" if header[0] == 20240520 else "<u4")[:header[2]]


def read_tokens(path):
    """A shard, or those of a folder in the order of their names, as one stream."""
    paths = [path]
    if os.path.isdir(path):
        paths = [os.path.join(path, name) for name in sorted(os.listdir(path))
                 if name.endswith(".bin")]
    return torch.from_numpy(numpy.concatenate([read_shard(p) for p in paths]).astype(numpy.int64))


def window_losses(model, window):
    """[N+1] tokens -> the loss of each of the N labels, in f64."""
    hidden = model.base_model(window[None, :-1], use_cache=False).last_hidden_state[0]
    head, out = model.get_output_embeddings(), []
    for begin in range(0, len(hidden), TILE):
        part = head(hidden[begin:begin + TILE]).double()
        out.append(torch.nn.functional.cross_entropy(
            part, window[1 + begin:1 + begin + len(part)], reduction="none"))
    return torch.cat(out)


def evaluate(args):
    model, tokens, N = load(args.folder, args.dtype), read_tokens(args.data), args.seq_len
    windows = min(args.windows, (len(tokens) - 1) // N)
    if windows < 1:
        sys.exit(f"{args.data}: {len(tokens)} tokens are too few")
    losses = torch.stack([window_losses(model, tokens[w * N:w * N + N + 1])
                          for w in range(windows)])
    bins, begin, end = [], 0, 16
    while begin < N:
        part = losses[:, begin:end]
        bins.append({"begin": begin, "end": min(end, N), "loss": part.mean().item()})
        begin, end = end, 2 * end
    print(json.dumps({"loss": losses.mean().item(), "tokens": losses.numel(), "bins": bins}))


def generate(args):
    model = load(args.folder, args.dtype)
    tokenizer = None
    if args.prompt is not None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
        prompt = tokenizer.encode(args.prompt)
    else:
        prompt = [int(token) for token in args.prompt_tokens.replace(",", " ").split()]
    out, rest, cache = [], torch.tensor([prompt]), None
    for _ in range(args.max_tokens):                     # no token ends the text
        answer = model(rest, past_key_values=cache, use_cache=True)
        cache = answer.past_key_values
        out.append(answer.logits[0, -1].argmax().item())
        rest = torch.tensor([out[-1:]])
    text = {"text": tokenizer.decode(out)} if tokenizer else {}
    print(json.dumps({"prompt": prompt, "tokens": out, **text}))


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in {"logits": logits, "eval": evaluate, "generate": generate}.items():
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("folder", nargs=2 if name == "logits" else None)
        command.add_argument("--dtype", choices=DTYPES, default="f32")
        command.add_argument("--threads", type=int)
        if name == "logits":
            command.add_argument("--tokens", type=int, default=128)
            command.add_argument("--seed", type=int, default=1)
        elif name == "eval":
            command.add_argument("--data", required=True)
            command.add_argument("--seq-len", type=int, required=True)
            command.add_argument("--windows", type=int, default=sys.maxsize)
        else:
            group = command.add_mutually_exclusive_group(required=True)
            group.add_argument("--prompt")
            group.add_argument("--prompt-tokens")
            command.add_argument("--max-tokens", type=int, default=100)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)     # of names that transformers 4 knows too
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.no_grad():
        args.function(args)


if __name__ == "__main__":
    main()

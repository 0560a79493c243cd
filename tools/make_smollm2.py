#!/usr/bin/env python3
"""Make SmolLM2-135M-Instruct as a Hugging Face folder from a GGUF file. scripts/make_smollm2.sh
brings the file and the packages (gguf, numpy, tokenizers) and calls this script.

    tools/make_smollm2.py GGUF FOLDER [f32|bf16]

The file holds the matrices in 4 and 8 bits. They are dequantized; f32 (the default) keeps the
resulting numbers exactly, bf16 rounds them. Three things differ from Hugging Face's layout:

  - rows of q and k: llama.cpp rotates neighbours (2j, 2j+1) where Hugging Face rotates the halves
    (j, j + head_dim/2), so its converter moved the rows, and this script moves them back
  - names of the tensors
  - the tokenizer, of which the file has the tokens and the merges; that digits stand alone and that
    text is then split as for GPT-2 is what its name, "smollm", means
"""
import json
import os
import struct
import sys

import gguf
import numpy
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER_NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
               "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
               "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
               "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
SPECIAL = 3                                        # a token_type of GGUF: control


def hub_name(name):
    stem = name.removesuffix(".weight")
    if not stem.startswith("blk."):
        return NAMES[stem] + ".weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def halves(x, num_heads):
    """[heads * d, in], rows 2j and 2j+1 of a head together -> rows j and j + d/2."""
    return x.reshape(num_heads, -1, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)


def read_tensors(reader, heads, kv_heads):
    tensors = {}
    for tensor in reader.tensors:
        x = gguf.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            x = halves(x, heads if ".attn_q." in tensor.name else kv_heads)
        tensors[hub_name(tensor.name)] = x
    return tensors


def to_bf16(x):
    """Rounds to nearest, ties to even -> the upper halves of the f32 bits."""
    bits = x.view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def write_tensors(path, tensors, dtype):
    """A safetensors file: u64 length of the header, header, data. Tensors stand in key order."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, x in sorted(tensors.items()):
        begin, end = end, end + x.size * (4 if dtype == "f32" else 2)
        header[name] = {"dtype": dtype.upper(), "shape": list(x.shape),
                        "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, x in sorted(tensors.items()):
            out.write((x if dtype == "f32" else to_bf16(x)).tobytes())


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as out:
        out.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tokenizer(folder, value):
    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    assert value("tokenizer.ggml.model") == "gpt2" and value("tokenizer.ggml.pre") == "smollm"
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)
                                  for token, kind in zip(tokens, types) if kind == SPECIAL])
    assert tokenizer.get_vocab_size() == len(tokens)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))

    def token(role):
        return tokens[value(f"tokenizer.ggml.{role}_token_id")]
    write_json(folder, "tokenizer_config.json", {
        "add_prefix_space": False, "bos_token": token("bos"), "eos_token": token("eos"),
        "pad_token": token("padding"), "unk_token": token("unknown"),
        "chat_template": value("tokenizer.chat_template"), "clean_up_tokenization_spaces": False,
        "model_max_length": value("llama.context_length"),
        "tokenizer_class": "PreTrainedTokenizerFast"})


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["f32"], ["bf16"]):
        sys.exit(__doc__.split("\n\n")[1].strip())
    source, folder, dtype = sys.argv[1], sys.argv[2], (sys.argv[3:] or ["f32"])[0]
    reader = gguf.GGUFReader(source)

    def value(key):
        return reader.fields[key].contents()
    hidden, heads = value("llama.embedding_length"), value("llama.attention.head_count")
    kv_heads = value("llama.attention.head_count_kv")
    tensors = read_tensors(reader, heads, kv_heads)
    os.makedirs(folder, exist_ok=True)
    write_tensors(os.path.join(folder, "model.safetensors"), tensors, dtype)
    ends = {"bos_token_id": value("tokenizer.ggml.bos_token_id"),
            "eos_token_id": value("tokenizer.ggml.eos_token_id"),
            "pad_token_id": value("tokenizer.ggml.padding_token_id")}
    write_json(folder, "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", **ends, "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": value("llama.feed_forward_length"),
        "num_hidden_layers": value("llama.block_count"), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": hidden // heads, "attention_bias": False,
        "mlp_bias": False, "vocab_size": value("llama.vocab_size"),
        "initializer_range": hidden ** -0.5,
        "max_position_embeddings": value("llama.context_length"),
        "rms_norm_eps": float(f"{value('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": value("llama.rope.freq_base"), "rope_scaling": None,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}[dtype]})
    write_json(folder, "generation_config.json", ends)
    write_tokenizer(folder, value)
    count = sum(x.size for x in tensors.values())
    print(f"{folder}: {len(tensors)} tensors, {count} parameters as {dtype}, "
          f"{value('llama.vocab_size')} tokens")


if __name__ == "__main__":
    main()

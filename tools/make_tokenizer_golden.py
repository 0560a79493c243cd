"""Makes tests/data/tokenizers: small tokenizers of all kinds, and the tokens that the Python packages `tokenizers`,
`tiktoken` and `sentencepiece` give for mixed texts.

    python3 tools/make_tokenizer_golden.py [--out tests/data/tokenizers]

The tokenizers are trained here, on the texts themselves and on this tree's documents. cases.json holds the texts and,
for each tokenizer, its file and the expected results, in the order of the texts:

    ids       with the names of special tokens in the text read as these tokens
    plain     where that differs: with names of special tokens read as text
    around    where that differs: ids with the tokens that the tokenizer puts around a text
    decoded   where that differs from the text: the text of ids
"""
import argparse
import base64
import json
import os
import random

import sentencepiece
import tiktoken
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

from compare_tokenizers import EMOJI, LLAMA3, ODD, QWEN2

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
          r"|\s+(?!\S)|\s")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}|"
         r"\p{N}{1,3}" + TAIL)
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|" r"\p{N}" + TAIL
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]

PROSE = ["Sing, O goddess, the anger of Achilles son of Peleus, that brought countless ills upon the Achaeans.",
         "It isn't what they'd said; we'LL see. I'M here, O'Neil's 12 dogs'", "for (int i = 0; i < 10; i++) {\r\n\tx[i] += 3.14;\r\n}",
         "唱吧，女神！阿喀琉斯的愤怒。第123章", "Пой, богиня, про гнев Ахиллеса", "ソング、女神よ、アキレウスの怒りを歌え・ー",
         "नमस्ते दुनिया", "שלום עולם", "مرحبا بالعالم ١٢٣", "HTTPServer parseXMLFile ABCdef éÉcole ǅunglaÉ", "a  b   c    d\t\te \n\n\n f  ",
         "  leading", "trailing  ", "x\u0301\u0323y e\u0301 \u1112\u1161\u11ab", "Ａｂｃ ① ﬃ ½ Ⅷ", "_under_score_ __init__ $x_1^2$",
         "1234567890 12 3456", "¡Olé! ¿Qué? «quoted» “curly” ‘single’ it’s", "a\u00a0b\u2003c\u3000d\u0085e\u180ef\u200bg\u2028h",
         "\x00\x01\x1f\x7f\x80\x9f", "a⹒⹔b᙭c\U00011660d$e÷f", "<s>begin</s> <|endoftext|>x<|endoftext|>", "Olé  Olé\n x", "a<mask> b <mask>c x <word> xword <word>.<unk>"]


# What becomes tokens, so that another division of a text gives others.
OFTEN = ["ア・イ", "it's that's", "x's x'S", "・ア・イ", "a  b  c", "a\n\nb\r\n", "12345 1234", "./a /b.\n", "▁▁a▁▁b"]


def make_texts():
    rng = random.Random(7)
    texts = [""] + PROSE + ["".join(EMOJI), " ".join(ODD[:24]), "x".join(ODD[24:48]).replace(" " * 300, " " * 40),
                            "\u2581 \u2581\u2581a\u2581b", "a" * 70 + "b", " " * 70 + "x", "\n" * 9 + "\r\n\r\n", "ab" * 40]
    for _ in range(12):
        texts.append("".join(rng.choice(rng.choice([PROSE, ODD, EMOJI]))[:rng.randrange(1, 9)] + rng.choice(["", " ", "\n", "'"])
                             for _ in range(9)))
    return texts


# ------------------------------------------------------------------------------------------- package `tokenizers`

def train(vocab, texts, pre_tokenizer, alphabet=True, limit=1000, **options):
    made = Tokenizer(models.BPE(**options))
    made.pre_tokenizer = pre_tokenizer
    special = [options["unk_token"]] if "unk_token" in options else []
    made.train_from_iterator(texts * 3 + OFTEN * 40, trainers.BpeTrainer(
        vocab_size=vocab, show_progress=False, special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [], limit_alphabet=limit))
    return made


def byte_level(texts, pre_tokenizer, normalizer=None, extra=None, **options):
    made = train(350, texts, pre_tokenizer, **options)
    if extra: # a token that no merge makes; an id is left out
        spec = json.loads(made.to_str())
        spec["model"]["vocab"][extra] = len(spec["model"]["vocab"]) + 3
        made = Tokenizer.from_str(json.dumps(spec))
    if normalizer:
        made.normalizer = normalizer
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>", "<s>"])
    return made


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern if isinstance(pattern, Regex) else Regex(pattern), behavior, invert)


def then_bytes(*steps, prefix=False):
    return pre_tokenizers.Sequence(list(steps) + [pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)])


def add_tokens(made):
    made.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("word", single_word=True),
                     AddedToken("Olé", rstrip=True), AddedToken("12", normalized=False), AddedToken("1234", normalized=True)])
    return made


def spaced(texts, normalizer, pre_tokenizer, decoder, vocab=350, fallback=True, **options):
    """A model of characters with a mark for spaces, as Llama 2 has it."""
    marked = [text.replace(" ", "▁").replace("\0", "") for text in texts] # the library knows no token with NUL
    made = train(vocab, marked, split("▁+[^▁]*"), alphabet=False, limit=165,
                 unk_token="<unk>", **options)
    if fallback:
        spec = json.loads(made.to_str())
        for byte in range(256):
            spec["model"]["vocab"].setdefault(f"<0x{byte:02X}>", len(spec["model"]["vocab"]))
        spec["model"]["byte_fallback"] = True
        made = Tokenizer.from_str(json.dumps(spec))
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, pre_tokenizer, decoder
    made.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    return made


def to_json(made, change=None):
    """Returns the file as `tokenizers` would write it, without spaces."""
    spec = json.loads(made.to_str())
    if change:
        change(spec)
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def merges_as_text(spec):
    spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]


def hugging_face(texts):
    """Yields names and tokenizers."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "gpt2", byte_level(texts, gpt2), merges_as_text
    yield "holes", byte_level(texts, gpt2, limit=165), None
    yield "prefix", add_tokens(byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=True))), None
    llama3 = byte_level(texts, then_bytes(split(LLAMA3)), extra="ĠAch")
    llama3.model.ignore_merges = True
    llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<s> $A <|endoftext|>", pair="<s> $A $B",
        special_tokens=[(name, llama3.token_to_id(name)) for name in ("<s>", "<|endoftext|>")])])
    yield "llama3", llama3, None
    yield "qwen2", byte_level(texts, then_bytes(split(QWEN2)), normalizers.NFC()), None
    yield "qwen35", byte_level(texts, then_bytes(split(QWEN35)), normalizers.NFC()), None
    yield "o200k", byte_level(texts, then_bytes(split(O200K))), None
    yield "tekken", byte_level(texts, then_bytes(split(TEKKEN))), None
    yield "deepseek", byte_level(texts, then_bytes(*map(split, DEEPSEEK)), normalizers.Sequence([])), None
    yield "digits", byte_level(texts, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])), None
    yield "falcon", byte_level(texts, pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("contiguous"), gpt2, pre_tokenizers.Digits(individual_digits=False),
         split("[0-9][0-9][0-9]")])), None
    roberta = byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFKC())
    roberta.post_processor = processors.RobertaProcessing(("<|endoftext|>", roberta.token_to_id("<|endoftext|>")),
                                                          ("<s>", roberta.token_to_id("<s>")))
    yield "roberta", add_tokens(roberta), None
    for name, behavior, invert in [("removed", "removed", False), ("previous", "merged_with_previous", False),
                                   ("next", "merged_with_next", False), ("contiguous", "contiguous", False),
                                   ("inverted", "isolated", True), ("inverted_removed", "removed", True)]:
        yield name, byte_level(texts, then_bytes(split(r"\s|[aeiou]{1,2}+|\d", behavior, invert)), normalizers.NFD()), None
    yield "string", byte_level(texts, then_bytes(split(", ", "merged_with_previous"), pre_tokenizers.Punctuation("removed"),
                                                 prefix=True), normalizers.NFKD()), None
    mark = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    joined = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "llama2", spaced(texts, mark, None, joined, fuse_unk=True), None
    yield "unknown", spaced(texts, None, pre_tokenizers.Metaspace("▁", "always", True), decoders.Metaspace("▁", "always", True),
                            fallback=False), None
    yield "fused", spaced(texts, normalizers.Lowercase(), pre_tokenizers.Metaspace("▁", "first", False),
                          decoders.Metaspace("▁", "first", False), fallback=False, fuse_unk=True), None
    yield "never", spaced(texts, normalizers.Replace(Regex(r"\d+"), "9"), pre_tokenizers.Metaspace("▁", "never", True),
                          decoders.Metaspace("▁", "never", True)), None
    words = spaced(texts, normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip(),
                                                normalizers.Lowercase()]),
                   pre_tokenizers.Whitespace(), decoders.Sequence([decoders.Fuse()]), fallback=False)
    yield "words", words, None
    yield "whitespace", spaced(texts, normalizers.Strip(left=False, right=True), pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_next")]), None, fallback=False), None


def expect_hugging_face(text, texts):
    reference = Tokenizer.from_str(text)
    found = {"ids": [reference.encode(text, add_special_tokens=False).ids for text in texts],
             "around": [reference.encode(text).ids for text in texts]}
    found["decoded"] = [reference.decode(ids, skip_special_tokens=False) for ids in found["ids"]]
    reference.encode_special_tokens = True
    found["plain"] = [reference.encode(text, add_special_tokens=False).ids for text in texts]
    return found


# ------------------------------------------------------------------------------------ `tiktoken`, `sentencepiece`

def ranks_of(texts):
    """Ranks of the merges of a byte-level tokenizer, in an order in which they are not always after their parts."""
    made = json.loads(byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=False)).to_str())["model"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    codes = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    to_byte = {chr(code): code for code in codes}
    others = [byte for byte in range(256) if byte not in codes]
    to_byte.update({chr(256 + i): byte for i, byte in enumerate(others)})
    assert set(letters) == set(to_byte)
    tokens = [bytes(to_byte[c] for c in name) for name, _ in sorted(made["vocab"].items(), key=lambda item: item[1])
              if all(c in to_byte for c in name)]
    tokens = tokens[:256] + sorted(tokens[256:], key=lambda token: (len(token) % 3, token))
    return {token: rank for rank, token in enumerate(tokens)}


def write_ranks(path, ranks):
    with open(path, "w") as file:
        for token, rank in ranks.items():
            file.write(f"{base64.b64encode(token).decode()} {rank}\n")


def expect_tiktoken(pattern, ranks, texts, names):
    encoding = tiktoken.Encoding("small", pat_str=pattern, mergeable_ranks=ranks,
                                 special_tokens={name: len(ranks) + i for i, name in enumerate(names)})
    ids = [encoding.encode(text, allowed_special="all") for text in texts]
    return {"ids": ids, "plain": [encoding.encode(text, disallowed_special=()) for text in texts],
            "decoded": [encoding.decode(tokens) for tokens in ids]}


def train_pieces(out, name, texts, **options):
    lines = [line for text in texts for line in text.replace("\0", "").splitlines() if line.strip()]
    rules = os.path.join(out, "rules.tsv")
    with open(rules, "w") as file: # a small table of characters instead of NFKC's
        file.write("FB03\t66 66 69\nBD\t31 2F 32\n65 301\tE9\n3000\t20\n")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 5), model_prefix=os.path.join(out, name), vocab_size=580, byte_fallback=True,
        normalization_rule_tsv=rules, minloglevel=2, character_coverage=0.98, num_threads=1, **options)
    os.remove(rules)
    os.remove(os.path.join(out, name + ".vocab"))
    return name + ".model"


def expect_pieces(path, texts):
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    ids = [model.encode(text) for text in texts]
    return {"ids": ids, "around": [[model.bos_id()] + list_ for list_ in ids], "decoded": [model.decode(list_) for list_ in ids]}


# ----------------------------------------------------------------------------------------------------------- all

def shorten(found, texts):
    """Leaves out what is the same as what is there already."""
    for key in ("plain", "around"):
        if found.get(key) is not None:
            found[key] = {str(i): ids for i, ids in enumerate(found[key]) if ids != found["ids"][i]}
    found["decoded"] = {str(i): text for i, text in enumerate(found["decoded"]) if text != texts[i]}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "tests", "data", "tokenizers"))
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)
    texts, cases = make_texts(), {}
    for name, made, change in hugging_face(texts):
        file = name + ".json"
        with open(os.path.join(out, file), "w") as target:
            target.write(to_json(made, change))
        cases[name] = {"file": file, **shorten(expect_hugging_face(made.to_str(), texts), texts)}
    ranks, names = ranks_of(texts), ["<|endoftext|>", "<s>"]
    write_ranks(os.path.join(out, "small.tiktoken"), ranks)
    for name, pattern in [("ranks", GPT2), ("ranks_cl100k", CL100K), ("ranks_odd", r"\w+|[^\w\s]++$|\s{1,2}+|[^\w\s]")]:
        cases[name] = {"file": "small.tiktoken", "pattern": pattern, "names": names,
                       **shorten(expect_tiktoken(pattern, ranks, texts, names), texts)}
    for name, options in [("pieces", {"model_type": "bpe", "remove_extra_whitespaces": False, "user_defined_symbols": ["<|endoftext|>"]}),
                          ("pieces_unigram", {"model_type": "unigram"})]:
        file = train_pieces(out, name, texts, **options)
        cases[name] = {"file": file, **shorten(expect_pieces(os.path.join(out, file), texts), texts)}
    with open(os.path.join(out, "cases.json"), "w") as target:
        json.dump({"texts": texts, "tokenizers": cases}, target, separators=(",", ":"))
        target.write("\n")


if __name__ == "__main__":
    main()

/* Rows about configuration files and models, each in the place of a good one. */
#include "usage_rows.h"

#define CONFIG(code, text, content) \
  { code, text, {GOOD, "--config", "bad.yaml"}, "bad.yaml", content }
/* In the place of the configuration of a whole run. */
#define CONFIG_ALONE(code, text, content) \
  { code, text, {"train", "--config", "bad.yaml"}, "bad.yaml", content }

const usage_row rows_of_configs[] = {
    CONFIG(2, "bad.yaml, line 2: 'optimizer.lrr' is not a key.*did you mean optimizer.lr?",
           "optimizer:\n  lrr: 1\n"),
    CONFIG(2, "bad.yaml, line 2: 'run.lr' belongs to section 'optimizer'", "run:\n  lr: 1\n"),
    CONFIG(2, "bad.yaml, line 1: 'lr' belongs to section 'optimizer'", "lr: 1\n"),
    CONFIG(2, "bad.yaml, line 1: 'optimzer' is not a section.*did you mean optimizer?",
           "optimzer: {lr: 1}\n"),
    CONFIG(2, "bad.yaml, line 1: 'measure' is not a section", "measure: {repeats: 1}\n"),
    CONFIG(2, "bad.yaml, line 2: run.seq_len: 'many'", "run:\n  seq_len: many\n"),
    CONFIG(2, "bad.yaml, line 2: run.data: '': expected PATH", "run:\n  data:\n"),
    CONFIG(2, "bad.yaml: .*SEQUENCE_START.*'lr' (line: 2", "optimizer:\n  lr: [1, 2]\n"),
    CONFIG(2, "bad.yaml: .*MAPPING_START.*'lr' (line: 2", "optimizer:\n  lr: {a: 1}\n"),
    CONFIG(2, "bad.yaml: .*already seen: lr", "optimizer:\n  lr: 1\n  lr: 2\n"),
    CONFIG(2, "bad.yaml: .*already seen: optimizer", "optimizer: {lr: 1}\noptimizer: {clip: 2}\n"),
    CONFIG(2, "bad.yaml: Expecting MAPPING", "optimizer: 5\n"),
    CONFIG(2, "bad.yaml: Expecting MAPPING", "- a\n"),
    CONFIG(2, "bad.yaml, line 2: .*cannot start any token", "optimizer:\n\tlr: 1\n"),
    CONFIG(2, "bad.yaml, line 5: .*unexpected end of",
           "run:\n  data: d\noptimizer:\n  lr: 'open\n"),
    CONFIG(2, "bad.yaml, line 1: control characters", "\001: 1\n"),
    CONFIG(2, "bad.yaml, line 1: .*UTF-8", "\377: 1\n"),
    CONFIG(2, "bad.yaml, line 2: ", long_nesting),
    CONFIG(2, "bad.yaml, line 1: 'a' is not a section",
           "a: &a [x, x]\nb: &b [*a, *a, *a]\nrun: {data: *b}\n"),
    CONFIG(3, "--config 'bad.yaml' has [0-9]* bytes, but at most 1048576", long_comment),
    CONFIG_ALONE(2, "bad.yaml, line 2: .*did you mean optimizer.warmup?",
                 "optimizer:\n  warmpu: 3\n"),
    CONFIG_ALONE(2, "bad.yaml, line 1: .*write run.seq_len", "seq_len: 64\n"),
    ROW(3, "--config 'missing.yaml' cannot be opened: No such file", GOOD, "--config",
        "missing.yaml"),
    ROW(3, "--config '.' is a folder", GOOD, "--config", "."),
    ROW(3, "--config 'pipe' is not a regular file", GOOD, "--config", "pipe"),
    ROW(3, "--config '/dev/zero' is not a regular file", GOOD, "--config", "/dev/zero"),
    ROW(3, "--config 'pipe' is not a regular file", PLAN_TINY, "--config", "pipe"),
    ROW(2, "--set 'lr': expected SECTION.KEY=VALUE", GOOD, "--set", "lr"),
    ROW(2, "--set 'lr' belongs to section", GOOD, "--set", "lr=1"),
    ROW(2, "--set 'lr' .*write optimizer.lr", GOOD, "--set", "lr=1"),
    ROW(2, "--set 'run.lr' belongs to section 'optimizer'", GOOD, "--set", "run.lr=1"),
    ROW(2, "--set optimizer.lr 'x': expected a number", GOOD, "--set", "optimizer.lr=x"),
    ROW(2, "--set '.' is not a section", GOOD, "--set", ".=1"),
    END_OF_ROWS,
};

#define MODEL_FILE(text, content) \
  { 2, text, {GOOD, "--model", "bad.json"}, "bad.json", content }
#define MODEL(hidden, intermediate, layers, heads, kv_heads)                   \
  "{\"model_type\": \"llama\", " hidden "\"intermediate_size\": " intermediate \
  ", \"num_hidden_layers\": " layers ", \"num_attention_heads\": " heads       \
  ", \"num_key_value_heads\": " kv_heads                                       \
  ", \"vocab_size\": 257, \"max_position_embeddings\": 4096}"
#define HIDDEN(size) "\"hidden_size\": " size ", "
#define WIDTH(size) MODEL(HIDDEN(size), "48", "1", "4", "2")

const usage_row rows_of_models[] = {
    MODEL_FILE("bad.json', line 1: .*expected near end of file", ""),
    MODEL_FILE("bad.json', line 1: ", "{\"model_type\": \"llama\", "),
    MODEL_FILE("bad.json': \"model_type\" is missing; ", "[]"),
    MODEL_FILE("bad.json': \"model_type\" is \"mamba?\"", "{\"model_type\": \"mamba\\u001b\"}"),
    MODEL_FILE("bad.json', line 1: ", "{\"model_type\": \"llama\", \"model_type\": \"gpt2\"}"),
    MODEL_FILE("bad.json', line 1: ", "{\"model_type\": NaN}"),
    MODEL_FILE("bad.json', line 1: ", long_nesting),
    MODEL_FILE("\"hidden_size\"", WIDTH("-32")),
    MODEL_FILE("\"hidden_size\"", WIDTH("1e99")),
    MODEL_FILE("\"hidden_size\"", WIDTH("\"32\"")),
    MODEL_FILE("bad.json", WIDTH("99999999999999999999")),
    MODEL_FILE("must all be given", MODEL("", "48", "1", "4", "2")),
    MODEL_FILE("does not divide into 5 heads", MODEL(HIDDEN("32"), "48", "1", "5", "2")),
    MODEL_FILE("not a multiple of 3 key/value heads", MODEL(HIDDEN("32"), "48", "1", "4", "3")),
    MODEL_FILE("more than 2^44 parameters",
               MODEL(HIDDEN("1048576"), "4194304", "4096, \"head_dim\": 128", "4", "2")),
    ROW(2, "'no-such-model' is neither a preset .*No such file", GOOD, "--model", "no-such-model"),
    ROW(2, "'no-such-model' is neither a preset", PLAN_TINY, "--model", "no-such-model"),
    ROW(2, "'.' is neither a preset .*is a folder", GOOD, "--model", "."),
    ROW(2, "'pipe' is neither a preset .*is not a regular file", GOOD, "--model", "pipe"),
    ROW(2, "'pipe' is neither a preset .*is not a regular file", PLAN_TINY, "--model", "pipe"),
    ROW(2, "'/dev/zero' is neither a preset .*is not a regular file", "bench", "step", "--model",
        "/dev/zero"),
    ROW(2, "'huge.json' has 17825792 bytes, but at most", GOOD, "--model", "huge.json"),
    END_OF_ROWS,
};

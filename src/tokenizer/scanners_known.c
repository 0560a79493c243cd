/* The patterns that have scanners, as the files of tokenizers spell them. */
#include <stddef.h>
#include <string.h>

#include "tokenizer/scanners.h"

#define SPACE "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LIKE_GPT4(digits) \
  CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACE
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LIKE_GPT4O(contractions, digits)                                                    \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" contractions "|[^\\r\\n\\p{L}\\p{N}]?" UPPER \
  "+" LOWER "*" contractions "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACE

const char uly__gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char uly__r50k_pattern[] =
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s";
const char uly__cl100k_pattern[] =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+"
    "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s";
const char uly__llama3_pattern[] = LIKE_GPT4("\\p{N}{1,3}");
const char uly__qwen2_pattern[] = LIKE_GPT4("\\p{N}");
const char uly__qwen35_pattern[] = CONTRACTIONS
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACE;
const char uly__o200k_pattern[] = LIKE_GPT4O(CONTRACTIONS "?", "\\p{N}{1,3}");

/* Possessive repetitions, and $ for the end of the text, are as in Rust. */
static const uly__known_pattern known[] = {
    {uly__gpt2_pattern, uly__scan_gpt2, .ends_letters = true},
    {uly__r50k_pattern, uly__scan_gpt2, .ends_letters = true, .is_rust = true},
    {uly__cl100k_pattern, uly__scan_cl100k, .ends_letters = true, .is_rust = true},
    {uly__llama3_pattern, uly__scan_llama3, .ends_letters = true},
    {uly__qwen2_pattern, uly__scan_qwen2, .ends_letters = true},
    {uly__qwen35_pattern, uly__scan_qwen35, .ends_letters = true},
    {uly__o200k_pattern, uly__scan_o200k, .ends_letters = true},
    {LIKE_GPT4O("", "\\p{N}"), uly__scan_tekken, .ends_letters = true},
    {"\\p{N}{1,3}", uly__scan_numbers, .ends_letters = false},
    {"[一-龥぀-ゟ゠-ヿ]+", uly__scan_ideographs, .ends_letters = false},
    {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
     "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
     "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
     uly__scan_deepseek, .ends_letters = true},
};

const uly__known_pattern *uly__known_pattern_get(int i) {
  return i >= 0 && (size_t)i < sizeof known / sizeof *known ? &known[i] : NULL;
}

const uly__known_pattern *uly__known_pattern_find(const char *pattern, uly__dialect dialect) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].pattern, pattern) == 0 && (dialect == ULY__RUST || !known[i].is_rust))
      return &known[i];
  return NULL;
}

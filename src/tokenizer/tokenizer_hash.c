/* The hash of a tokenizer: of what it is, not of the bytes of its file. Lists whose order means
 * nothing are summed. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tokenizer/tokenizer_readers.h"

/* Adds bytes to a hash, with their number, so that no two lists of texts look the same. */
static uint64_t add(uint64_t hash, const void *bytes, int64_t n) {
  return XXH3_64bits_withSeed(bytes, n > 0 ? (size_t)n : 0, hash + 31 * (uint64_t)n + 1);
}

static uint64_t add_number(uint64_t hash, int64_t number) {
  return add(hash, &number, sizeof number);
}

static uint64_t sum_vocab(const uly__vocab *vocab) {
  uint64_t sum = 0;
  for (int64_t i = 0, n; i < vocab->end; i++) {
    const unsigned char *bytes = uly__vocab_get(vocab, i, &n);
    if (bytes) sum += add((uint64_t)i, bytes, n);
  }
  return sum;
}

static uint64_t sum_pairs(const uly__bpe *bpe) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bpe->num_slots; i++)
    if (bpe->pairs[i].rank != ULY__NO_RANK) sum += add(0, &bpe->pairs[i], sizeof bpe->pairs[i]);
  return sum;
}

static uint64_t add_bpe(uint64_t hash, const uly__bpe *bpe) {
  hash = add_number(hash, (int64_t)sum_vocab(&bpe->vocab));
  hash = add_number(hash, (int64_t)sum_pairs(bpe));
  hash = add_number(hash, bpe->is_byte_level | bpe->ignore_merges << 1 | bpe->fuse_unk << 2 |
                              bpe->byte_fallback << 3);
  return add_number(hash, bpe->unk);
}

static uint64_t add_added(uint64_t hash, const uly__added *added) {
  for (int i = 0; i < added->num_tokens; i++) {
    const uly__added_token *t = &added->tokens[i];
    hash += add_number((uint64_t)t->id,
                       t->single_word | t->lstrip << 1 | t->rstrip << 2 | t->special << 3);
  }
  return add_number(hash, added->num_tokens);
}

static uint64_t add_normalizer(uint64_t hash, const uly__normalizer *normalizer) {
  for (int i = 0; i < normalizer->num_changes; i++) {
    const uly__change *c = &normalizer->changes[i];
    hash = add_number(
        hash, c->kind | c->form << 8 | c->left << 16 | c->right << 17 | (c->pattern != NULL) << 18);
    hash = add(hash, c->what ? c->what : "", c->num_what);
    hash = add(hash, c->with ? c->with : "", c->num_with);
  }
  return hash;
}

static uint64_t add_pre_tokenizer(uint64_t hash, const uly__pre_tokenizer *p) {
  for (int i = 0; i < p->num_steps; i++) {
    const uly__step *s = &p->steps[i];
    /* Whether a pattern has a scanner is not part of the hash. */
    int kind = s->kind == ULY__STEP_SCANNER ? ULY__STEP_PATTERN : s->kind;
    hash = add_number(hash, kind | s->behavior << 8 | s->is_inverted << 16 |
                                (int64_t)s->classes << 20 | (int64_t)s->most << 32 |
                                (int64_t)s->prepend << 36);
    hash = add(hash, s->string ? s->string : "", s->num_string);
  }
  return hash;
}

void uly__tokenizer_hash(uly_tokenizer *t) {
  uint64_t hash = add_bpe(add(0, t->info.kind, (int64_t)strlen(t->info.kind)), &t->bpe);
  hash = add_number(hash, (int64_t)sum_vocab(&t->names));
  hash = add_number(hash, (int64_t)t->file_hash);
  for (int set = 0; set < 2; set++) hash = add_added(hash, &t->added[set]);
  hash = add_pre_tokenizer(add_normalizer(hash, &t->normalizer), &t->pre_tokenizer);
  hash =
      add(hash, t->before ? t->before : &t->num_before, t->num_before * (int64_t)sizeof *t->before);
  t->info.hash =
      add(hash, t->after ? t->after : &t->num_after, t->num_after * (int64_t)sizeof *t->after);
}

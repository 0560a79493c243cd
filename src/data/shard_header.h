/* The header of a token shard, which is that of llm.c (dev/data/data_common.py): 256 int32, then
 * the tokens, little-endian. */
#ifndef ULY_SHARD_HEADER_H
#define ULY_SHARD_HEADER_H

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "token shards are little-endian and are written as they lie in memory"
#endif

enum {
  ULY_SHARD_HEADER_INTS = 256,
  ULY_SHARD_HEADER_BYTES = ULY_SHARD_HEADER_INTS * 4,
  ULY_SHARD_MAGIC_U16 = 20240520,
  ULY_SHARD_VERSION_U16 = 1,
  ULY_SHARD_MAGIC_U32 = 20240801,
  ULY_SHARD_VERSION_U32 = 7
};

/* Names the ints by what they mean. Those from ULY_SHARD_END on are defined by this library, and
 * are 0 in files of llm.c: 1 + the token that ends each document; and the tokenizer that made the
 * tokens, as the hash and the vocabulary of uly_tokenizer_info. A hash of 0 says nothing. */
enum {
  ULY_SHARD_MAGIC,
  ULY_SHARD_VERSION,
  ULY_SHARD_COUNT,
  ULY_SHARD_END,
  ULY_SHARD_HASH, /* 8 bytes */
  ULY_SHARD_VOCAB = ULY_SHARD_HASH + 2,
  ULY_SHARD_USED_INTS
};

#endif

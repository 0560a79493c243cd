/* Token files: text as bytes, and llm.c's shards (llm.c, dev/data/data_common.py: 256 int32 of
 * header, then uint16 or uint32 tokens, little-endian). Opening checks every header against its
 * file's size and builds the prefix counts; reading finds its first file by binary search. */
#include "data/token_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/plain_text.h"
#include "data/shard_header.h"
#include "data/source_file.h"

typedef struct token_file {
  char *path;
  uly__source_file source;
  /* In the stream; for text, the file's bytes and the end-of-document token. */
  int64_t begin, count;
  /* The token that ends each document, or -1 if the file does not say. */
  int64_t end;
  /* Its tokenizer, as the header says; 0: it does not. */
  uint64_t tokenizer;
  int64_t vocab;
} token_file;

struct uly__tokens {
  uly__token_kind kind; /* of all files */
  int num_files;
  token_file *files; /* [num_files] */
  int64_t count;
  uint64_t hash, name_hash;
};

static const char *kind_name(uly__token_kind kind) {
  switch (kind) {
    case ULY_TOKENS_TEXT: return "text";
    case ULY_TOKENS_U16: return "a shard of uint16 tokens";
    case ULY_TOKENS_U32: return "a shard of uint32 tokens";
  }
  return "unknown";
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* ---- Opening */

static uly_status check_shard(token_file *file, uly__token_kind kind) {
  if (file->source.size < ULY_SHARD_HEADER_BYTES)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' is truncated: a shard begins with %d bytes of header, but the file "
             "has only %lld bytes: copy or make it again",
             file->path, (int)ULY_SHARD_HEADER_BYTES, (long long)file->source.size);
  int32_t header[ULY_SHARD_USED_INTS];
  ULY_TRY(uly__source_read(&file->source, 0, sizeof header, header));
  int version = kind == ULY_TOKENS_U16 ? ULY_SHARD_VERSION_U16 : ULY_SHARD_VERSION_U32;
  if (header[ULY_SHARD_VERSION] != version)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' has version %d in its header; shards with magic %d have version %d "
             "here: make it again with llm.c's data scripts",
             file->path, (int)header[ULY_SHARD_VERSION], (int)header[ULY_SHARD_MAGIC], version);
  int64_t promised = header[ULY_SHARD_COUNT], width = kind == ULY_TOKENS_U16 ? 2 : 4;
  if (promised < 0)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' has a damaged header: its token count is %lld: make it again, with "
             "fewer than 2^31 tokens in a shard",
             file->path, (long long)promised);
  int64_t expected = ULY_SHARD_HEADER_BYTES + promised * width; /* below 2^34 */
  if (file->source.size != expected)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' is %s: its header promises %lld tokens, which is %lld bytes in all, "
             "but the file has %lld bytes: copy or make it again",
             file->path, file->source.size < expected ? "truncated" : "too long",
             (long long)promised, (long long)expected, (long long)file->source.size);
  if (promised == 0)
    ULY_FAIL(ULY_ERR_DATA, "token file '%s' holds no tokens: remove it or make it again",
             file->path);
  file->count = promised;
  file->end = (int64_t)header[ULY_SHARD_END] - 1;
  if (file->end < -1 || (kind == ULY_TOKENS_U16 && file->end > UINT16_MAX))
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' has a damaged header: it says that token %lld ends documents, but "
             "that cannot be in %s: make it again",
             file->path, (long long)file->end, kind_name(kind));
  memcpy(&file->tokenizer, &header[ULY_SHARD_HASH], sizeof file->tokenizer);
  file->vocab = header[ULY_SHARD_VOCAB];
  if (file->vocab < 0)
    ULY_FAIL(
        ULY_ERR_DATA,
        "token file '%s' has a damaged header: it says that its tokenizer has %lld tokens: make "
        "it again",
        file->path, (long long)file->vocab);
  return ULY_OK;
}

/* Refuses a shard that was not made like the first one. */
static uly_status check_alike(const token_file *file, const token_file *first) {
  if (file->end != first->end)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s' says in its header that token %lld ends documents, but '%s' beside "
             "it says %lld (-1: not said): a folder may only hold files that were made in the "
             "same way with one tokenizer",
             file->path, (long long)file->end, first->path, (long long)first->end);
  if (file->tokenizer != first->tokenizer)
    ULY_FAIL(
        ULY_ERR_DATA,
        "token file '%s' was made with a different tokenizer than '%s' beside it, as their headers "
        "say: a folder may only hold files that were made with one",
        file->path, first->path);
  return ULY_OK;
}

/* Opens file number i, whose path is set, and appends its tokens to the stream. */
static uly_status open_file(uly__tokens *tokens, int i) {
  token_file *file = &tokens->files[i];
  ULY_TRY(uly__source_open(file->path, "token file", &file->source));

  int32_t magic = 0;
  if (file->source.size >= 4) ULY_TRY(uly__source_read(&file->source, 0, 4, &magic));
  uly__token_kind kind = magic == ULY_SHARD_MAGIC_U16   ? ULY_TOKENS_U16
                         : magic == ULY_SHARD_MAGIC_U32 ? ULY_TOKENS_U32
                                                        : ULY_TOKENS_TEXT;
  if (i == 0) tokens->kind = kind;
  if (kind != tokens->kind)
    ULY_FAIL(
        ULY_ERR_DATA,
        "token file '%s' is %s, but '%s' beside it is %s: put only files of one kind into a folder",
        file->path, kind_name(kind), tokens->files[0].path, kind_name(tokens->kind));

  file->end = ULY_TEXT_END_OF_DOCUMENT;
  if (kind != ULY_TOKENS_TEXT)
    ULY_TRY(check_shard(file, kind));
  else if (__builtin_add_overflow(file->source.size, 1, &file->count))
    ULY_FAIL(ULY_ERR_DATA, "token file '%s' is too large", file->path);
  ULY_TRY(check_alike(file, &tokens->files[0]));
  file->begin = tokens->count;
  if (__builtin_add_overflow(tokens->count, file->count, &tokens->count))
    ULY_FAIL(ULY_ERR_DATA, "token file '%s' takes the number of tokens beyond 2^63", file->path);
  return ULY_OK;
}

static uly_status hash_content(uly__tokens *tokens) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (int i = 0; i < tokens->num_files; i++) {
    uint64_t hash;
    ULY_TRY(uly__source_hash(&tokens->files[i].source, &hash));
    XXH3_64bits_update(&state, &hash, sizeof hash);
  }
  tokens->hash = XXH3_64bits_digest(&state);
  return ULY_OK;
}

static uint64_t hash_names(const uly__tokens *tokens) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (int i = 0; i < tokens->num_files; i++) {
    const token_file *file = &tokens->files[i];
    const char *name = base_name(file->path);
    XXH3_64bits_update(&state, name, strlen(name) + 1);
    XXH3_64bits_update(&state, &file->source.size, sizeof file->source.size);
  }
  return XXH3_64bits_digest(&state);
}

/* Appends the path folder '/' name, or name alone if folder is NULL. Takes ownership of neither. */
static uly_status add_path(uly__tokens *tokens, int *capacity, const char *folder,
                           const char *name) {
  if (tokens->num_files == *capacity) {
    int grown = *capacity ? 2 * *capacity : 16;
    token_file *files = realloc(tokens->files, (size_t)grown * sizeof *files);
    if (!files)
      ULY_FAIL(ULY_ERR_MEMORY, "no memory for a list of %d token files in '%s'", grown,
               folder ? folder : name);
    tokens->files = files;
    *capacity = grown;
  }
  size_t folder_length = folder ? strlen(folder) : 0;
  bool slash = folder_length > 0 && folder[folder_length - 1] != '/';
  size_t size = folder_length + slash + strlen(name) + 1;
  char *path = malloc(size);
  if (!path) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the path of token file '%s'", name);
  snprintf(path, size, "%s%s%s", folder ? folder : "", slash ? "/" : "", name);
  tokens->files[tokens->num_files++] = (token_file){.path = path};
  return ULY_OK;
}

static uly_status list_entries(uly__tokens *tokens, DIR *folder, const char *path) {
  int capacity = 0;
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    if (!entry) break;
    if (entry->d_name[0] == '.') continue;
    struct stat info;
    if (fstatat(dirfd(folder), entry->d_name, &info, 0) != 0)
      ULY_FAIL(ULY_ERR_IO,
               "cannot examine token file '%s' in the folder '%s': %s: repair or remove it",
               entry->d_name, path, strerror(errno));
    if (S_ISREG(info.st_mode)) ULY_TRY(add_path(tokens, &capacity, path, entry->d_name));
  }
  if (errno != 0)
    ULY_FAIL(ULY_ERR_IO, "cannot list the folder of token files '%s': %s", path, strerror(errno));
  return ULY_OK;
}

/* Compares paths of one folder, so that their order is that of names. strcmp compares bytes as
 * unsigned. */
static int compare_paths(const void *a, const void *b) {
  return strcmp(((const token_file *)a)->path, ((const token_file *)b)->path);
}

static uly_status list_folder(uly__tokens *tokens, const char *path) {
  DIR *folder = opendir(path);
  if (!folder)
    ULY_FAIL(ULY_ERR_IO, "cannot open the folder of token files '%s': %s: check its permissions",
             path, strerror(errno));
  uly_status status = list_entries(tokens, folder, path);
  closedir(folder);
  ULY_TRY(status);
  if (tokens->num_files == 0)
    ULY_FAIL(ULY_ERR_DATA,
             "the folder of token files '%s' has no regular files (subfolders and names starting "
             "with '.' are not looked at): put text files or token shards into it",
             path);
  qsort(tokens->files, (size_t)tokens->num_files, sizeof *tokens->files, compare_paths);
  return ULY_OK;
}

static uly_status open_all(uly__tokens *tokens, const char *path) {
  struct stat info;
  if (stat(path, &info) != 0)
    ULY_FAIL(ULY_ERR_IO,
             "cannot open token file '%s': %s: give the path of a text file, a token shard, or a "
             "folder of either",
             path, strerror(errno));
  int capacity = 0;
  if (S_ISDIR(info.st_mode))
    ULY_TRY(list_folder(tokens, path));
  else
    ULY_TRY(add_path(tokens, &capacity, NULL, path));

  for (int i = 0; i < tokens->num_files; i++) ULY_TRY(open_file(tokens, i));
  if (tokens->kind == ULY_TOKENS_TEXT && tokens->count == tokens->num_files)
    ULY_FAIL(ULY_ERR_DATA, "token file '%s' is empty%s: give a file with text in it", path,
             S_ISDIR(info.st_mode) ? ", as all files of this folder are" : "");
  tokens->name_hash = hash_names(tokens);
  return hash_content(tokens);
}

uly_status uly__tokens_open(const char *path, uly__tokens **out) {
  *out = NULL;
  uly__tokens *tokens = calloc(1, sizeof *tokens);
  if (!tokens) ULY_FAIL(ULY_ERR_MEMORY, "no memory to open token file '%s'", path);
  uly_status status = open_all(tokens, path);
  if (status != ULY_OK) {
    uly__tokens_close(tokens);
    return status;
  }
  *out = tokens;
  return ULY_OK;
}

void uly__tokens_close(uly__tokens *tokens) {
  if (!tokens) return;
  for (int i = 0; i < tokens->num_files; i++) {
    free(tokens->files[i].path);
  }
  free(tokens->files);
  free(tokens);
}

uly__token_kind uly__tokens_kind(const uly__tokens *tokens) { return tokens->kind; }

int uly__tokens_num_files(const uly__tokens *tokens) { return tokens->num_files; }

int64_t uly__tokens_count(const uly__tokens *tokens) { return tokens->count; }

uint64_t uly__tokens_hash(const uly__tokens *tokens) { return tokens->hash; }

uint64_t uly__tokens_name_hash(const uly__tokens *tokens) { return tokens->name_hash; }

int64_t uly__tokens_end(const uly__tokens *tokens) { return tokens->files[0].end; }

uint64_t uly__tokens_tokenizer(const uly__tokens *tokens) { return tokens->files[0].tokenizer; }

int64_t uly__tokens_vocab(const uly__tokens *tokens) { return tokens->files[0].vocab; }

static uly_status check_text(const token_file *file, unsigned char *sample, const char *option) {
  int64_t count = file->source.size < ULY_TEXT_SAMPLE ? file->source.size : ULY_TEXT_SAMPLE;
  ULY_TRY(uly__source_read(&file->source, 0, count, sample));
  if (uly__utf8_mark(sample, (size_t)count) > 0)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' begins with a byte-order mark, which only says that it is UTF-8 and is not "
             "text: remove its three bytes (tail -c +4), or let 'ulysses prepare' do so. %s takes "
             "them as they are",
             file->path, option);
  char otherwise[128];
  snprintf(otherwise, sizeof otherwise, "%s takes its bytes as they are", option);
  return uly__check_plain_text(file->path, sample, (size_t)count, otherwise);
}

uly_status uly__tokens_check_text(const uly__tokens *tokens, const char *option) {
  if (tokens->kind != ULY_TOKENS_TEXT) return ULY_OK;
  unsigned char *sample = malloc(ULY_TEXT_SAMPLE);
  if (!sample) ULY_FAIL(ULY_ERR_MEMORY, "no memory to look at '%s'", tokens->files[0].path);
  uly_status status = ULY_OK;
  for (int i = 0; i < tokens->num_files && status == ULY_OK; i++)
    status = check_text(&tokens->files[i], sample, option);
  free(sample);
  return status;
}

/* ---- Reading: widen and take the maximum in one pass that vectorizes */

static uint32_t widen_u8(const uint8_t *restrict in, int64_t count, int32_t *restrict out) {
  uint8_t largest = 0;
  for (int64_t i = 0; i < count; i++) {
    out[i] = in[i];
    largest = in[i] > largest ? in[i] : largest;
  }
  return largest;
}

static uint32_t widen_u16(const uint16_t *restrict in, int64_t count, int32_t *restrict out) {
  uint16_t largest = 0;
  for (int64_t i = 0; i < count; i++) {
    out[i] = in[i];
    largest = in[i] > largest ? in[i] : largest;
  }
  return largest;
}

static uint32_t widen_u32(const uint32_t *restrict in, int64_t count, int32_t *restrict out) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; i++) {
    out[i] = (int32_t)in[i];
    largest = in[i] > largest ? in[i] : largest;
  }
  return largest;
}

/* Copies bytes or numbers of one file, from a place in it, and finds the largest. It works on a
 * piece at a time: out may be long, and what is read is narrower than what is written. */
static uly_status copy_pieces(uly__token_kind kind, const uly__source_file *source, int fd,
                              int64_t begin, int64_t count, int32_t *out, uint32_t *largest) {
  enum { PIECE = 32768 };
  union {
    uint8_t u8[PIECE];
    uint16_t u16[PIECE];
    uint32_t u32[PIECE];
  } piece;
  int64_t width = kind == ULY_TOKENS_TEXT ? 1 : kind == ULY_TOKENS_U16 ? 2 : 4;
  int64_t place = (kind == ULY_TOKENS_TEXT ? 0 : ULY_SHARD_HEADER_BYTES) + begin * width;
  for (int64_t at = 0; at < count; at += PIECE) {
    int64_t part = count - at < PIECE ? count - at : PIECE;
    ULY_TRY(uly__source_read_part(source, fd, place + at * width, part * width, &piece));
    uint32_t found = kind == ULY_TOKENS_TEXT  ? widen_u8(piece.u8, part, out + at)
                     : kind == ULY_TOKENS_U16 ? widen_u16(piece.u16, part, out + at)
                                              : widen_u32(piece.u32, part, out + at);
    if (found > *largest) *largest = found;
  }
  return ULY_OK;
}

static uly_status copy_numbers(uly__token_kind kind, const uly__source_file *source, int64_t begin,
                               int64_t count, int32_t *out, uint32_t *largest) {
  int fd;
  if (count == 0) return ULY_OK;
  ULY_TRY(uly__source_begin(source, &fd));
  uly_status status = copy_pieces(kind, source, fd, begin, count, out, largest);
  close(fd);
  return status;
}

/* Copies tokens [begin, begin + count) of one file, and sets *largest to the largest of them. */
static uly_status copy_tokens(uly__token_kind kind, const token_file *file, int64_t begin,
                              int64_t count, int32_t *out, uint32_t *largest) {
  bool has_end = kind == ULY_TOKENS_TEXT && begin + count == file->count;
  *largest = 0;
  ULY_TRY(copy_numbers(kind, &file->source, begin, count - has_end, out, largest));
  if (!has_end) return ULY_OK;
  out[count - 1] = ULY_TEXT_END_OF_DOCUMENT;
  *largest = ULY_TEXT_END_OF_DOCUMENT;
  return ULY_OK;
}

/* Fails because out[count], which holds a file's tokens from `begin` on, has one at or above
 * limit. */
static uly_status fail_vocab(uly__token_kind kind, const token_file *file, int64_t begin,
                             int64_t count, const int32_t *out, int64_t limit) {
  int64_t i = 0;
  while (i < count - 1 && (int64_t)(uint32_t)out[i] < limit) i++;
  long long token = (long long)(uint32_t)out[i];
  if (kind == ULY_TOKENS_TEXT)
    ULY_FAIL(ULY_ERR_DATA,
             "token file '%s': token %lld is %lld%s, not below the vocabulary size %lld: text "
             "needs a model with a vocabulary of at least %d tokens",
             file->path, (long long)(begin + i), token,
             token == ULY_TEXT_END_OF_DOCUMENT ? " (end of document)" : "", (long long)limit,
             ULY_TEXT_VOCAB);
  ULY_FAIL(ULY_ERR_DATA,
           "token file '%s': token %lld is %lld, not below the vocabulary size %lld: use a model "
           "with the vocabulary of the tokenizer that made this file, or make the file again",
           file->path, (long long)(begin + i), token, (long long)limit);
}

/* Returns the file that holds the stream's token at `place`. */
static int find_file(const uly__tokens *tokens, int64_t place) {
  int low = 0, high = tokens->num_files; /* files[low].begin <= place < files[high].begin */
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (tokens->files[middle].begin <= place)
      low = middle;
    else
      high = middle;
  }
  return low;
}

uly_status uly__tokens_read(const uly__tokens *tokens, int64_t begin, int64_t count,
                            int64_t vocab_size, int32_t *out) {
  if (begin < 0 || count < 0 || count > tokens->count || begin > tokens->count - count)
    ULY_FAIL(
        ULY_ERR_INTERNAL,
        "tokens [%lld, +%lld) were requested from the stream that begins with '%s' and has %lld",
        (long long)begin, (long long)count, tokens->files[0].path, (long long)tokens->count);
  int64_t limit = vocab_size <= INT32_MAX ? vocab_size : (int64_t)INT32_MAX + 1;
  for (int i = find_file(tokens, begin); count > 0; i++) {
    const token_file *file = &tokens->files[i];
    int64_t first = begin - file->begin;
    int64_t part = count < file->count - first ? count : file->count - first;
    uint32_t largest;
    ULY_TRY(copy_tokens(tokens->kind, file, first, part, out, &largest));
    if (largest >= limit) return fail_vocab(tokens->kind, file, first, part, out, limit);
    begin += part;
    count -= part;
    out += part;
  }
  return ULY_OK;
}

uly_status uly__tokens_documents(const uly__tokens *tokens, int64_t begin, int64_t count,
                                 int64_t end, int64_t *doc_start, int64_t *num_docs) {
  enum { PIECE = 32768 };
  int32_t piece[PIECE] = {0};
  /* No document begins after the last token. */
  int64_t num = 1, last = count - 1;
  doc_start[0] = 0;
  for (int64_t at = 0; at < last; at += PIECE) {
    int64_t part = last - at < PIECE ? last - at : PIECE;
    ULY_TRY(uly__tokens_read(tokens, begin + at, part, INT64_MAX, piece));
    for (int64_t i = 0; i < part; i++) { /* num <= at + i + 1 < count */
      doc_start[num] = at + i + 1;
      num += piece[i] == end;
    }
  }
  *num_docs = num;
  return ULY_OK;
}

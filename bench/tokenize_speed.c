/* Measures how fast a tokenizer encodes documents on some threads, each of which takes the next one.
 *
 *   bench_tokenize TOKENIZER DOCUMENTS THREADS
 *
 * DOCUMENTS holds documents one after the other, each after its number of bytes (int64_t of the
 * machine). Prints a line of JSON; the seconds are those of the second of two passes over all
 * documents, so that memory is warm. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ulysses.h"

typedef struct work {
  uly_tokenizer *tokenizer;
  const char **documents; /* [num] */
  int64_t *lengths;
  int64_t num, num_bytes;
  atomic_llong next, num_tokens;
  atomic_int status;
} work;

static void check(uly_status status) {
  if (status == ULY_OK) return;
  fprintf(stderr, "%s\n", uly_last_error());
  exit(uly_status_exit_code(status));
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *encode_documents(void *context) {
  work *w = context;
  uly_token_list list = {.size = sizeof list};
  for (int64_t i; (i = atomic_fetch_add(&w->next, 1)) < w->num;) {
    list.num = 0;
    check(uly_tokenizer_encode(w->tokenizer, w->documents[i], w->lengths[i], ULY_TOKENIZE_SPECIAL,
                               &list));
    atomic_fetch_add(&w->num_tokens, list.num);
  }
  uly_token_list_free(&list);
  return NULL;
}

static double run(work *w, int num_threads) {
  enum { MOST = 256 };
  pthread_t threads[MOST];
  double begin = seconds_now();
  atomic_store(&w->next, 0);
  atomic_store(&w->num_tokens, 0);
  for (int i = 0; i < num_threads && i < MOST; i++)
    if (pthread_create(&threads[i], NULL, encode_documents, w) != 0) exit(1);
  for (int i = 0; i < num_threads && i < MOST; i++) pthread_join(threads[i], NULL);
  return seconds_now() - begin;
}

static char *load(const char *path, int64_t *n) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0 || (*n = ftell(file)) < 0) {
    perror(path);
    exit(3);
  }
  rewind(file);
  char *bytes = malloc((size_t)*n + 1);
  if (!bytes || fread(bytes, 1, (size_t)*n, file) != (size_t)*n) exit(1);
  fclose(file);
  return bytes;
}

/* Finds the documents; returns how many there are. With documents = NULL it only counts them. */
static int64_t find_documents(const char *bytes, int64_t n, const char **documents,
                              int64_t *lengths) {
  int64_t num = 0;
  for (int64_t at = 0, length; at + 8 <= n; at += length, num++) {
    memcpy(&length, bytes + at, sizeof length);
    at += 8;
    if (length < 0 || length > n - at) break;
    if (documents) documents[num] = bytes + at;
    if (documents) lengths[num] = length;
  }
  return num;
}

int main(int argc, char **argv) {
  if (argc != 4 || atoi(argv[3]) < 1) {
    fprintf(stderr, "usage: %s TOKENIZER DOCUMENTS THREADS\n", argv[0]);
    return 2;
  }
  work w = {0};
  int num_threads = atoi(argv[3]);
  int64_t n;
  char *bytes = load(argv[2], &n);
  w.num = find_documents(bytes, n, NULL, NULL);
  w.documents = calloc((size_t)w.num + 1, sizeof *w.documents);
  w.lengths = calloc((size_t)w.num + 1, sizeof *w.lengths);
  if (!w.documents || !w.lengths) return 1;
  (void)find_documents(bytes, n, w.documents, w.lengths);
  for (int64_t i = 0; i < w.num; i++) w.num_bytes += w.lengths[i];
  check(uly_tokenizer_open(argv[1], NULL, &w.tokenizer));
  (void)run(&w, num_threads);
  double seconds = run(&w, num_threads);
  printf("{\"threads\": %d, \"bytes\": %lld, \"tokens\": %lld, \"seconds\": %.4f}\n", num_threads,
         (long long)w.num_bytes, (long long)w.num_tokens, seconds);
  uly_tokenizer_close(w.tokenizer);
  free(w.documents);
  free(w.lengths);
  free(bytes);
  return 0;
}

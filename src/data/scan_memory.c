/* A file that remembers what scans have found, in JSON:
 *
 *   {"version": 1, "scans": [{"content": "<16 digits>", "doc_end": 256, "seq_len": 4096, "largest":
 * 255,                             "documents_ended": 12, "without_label": [3, 17]}]}
 *
 * It saves time and decides nothing: if anything is wrong with it, the data are scanned again. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "data/token_scan.h"

/* Longer lists of windows are not kept. */
enum { VERSION = 1, MAX_BLANK = 1 << 20, MAX_BYTES = 64 << 20 };

static json_t *hash_json(uint64_t hash) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, hash);
  return json_string(text);
}

static bool is_key(const json_t *item, const uly__scan_key *key) {
  json_t *hash = hash_json(key->hash);
  bool is_same = json_equal(hash, json_object_get(item, "content")) &&
                 json_integer_value(json_object_get(item, "doc_end")) == key->end &&
                 json_integer_value(json_object_get(item, "seq_len")) == key->window;
  json_decref(hash);
  return is_same;
}

static bool read_blank(const json_t *list, uly__scan *scan) {
  if (!json_is_array(list)) return false;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *window = json_array_get(list, i);
    int64_t last = scan->num_blank > 0 ? scan->blank[scan->num_blank - 1] : -1;
    if (!json_is_integer(window) || json_integer_value(window) <= last) return false;
    if (uly__scan_add_blank(scan, json_integer_value(window)) != ULY_OK) return false;
  }
  return true;
}

static bool read_scan(const json_t *item, uly__scan *scan) {
  const json_t *largest = json_object_get(item, "largest");
  const json_t *num_ends = json_object_get(item, "documents_ended");
  if (!json_is_integer(largest) || !json_is_integer(num_ends)) return false;
  scan->largest = json_integer_value(largest);
  scan->num_ends = json_integer_value(num_ends);
  return scan->largest >= 0 && scan->num_ends >= 0 &&
         read_blank(json_object_get(item, "without_label"), scan);
}

static bool find_scan(const json_t *json, const uly__scan_key *key, uly__scan *scan) {
  const json_t *scans = json_object_get(json, "scans");
  if (json_integer_value(json_object_get(json, "version")) != VERSION) return false;
  for (size_t i = 0; i < json_array_size(scans); i++)
    if (is_key(json_array_get(scans, i), key)) return read_scan(json_array_get(scans, i), scan);
  return false;
}

bool uly__scan_recall(const char *path, const uly__scan_key *key, uly__scan *scan) {
  char *text;
  int64_t length;
  if (access(path, R_OK) != 0) return false;
  if (uly__file_load(path, "memory of scans", MAX_BYTES, &text, &length) != ULY_OK) return false;
  json_t *json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
  free(text);
  bool is_found = find_scan(json, key, scan);
  json_decref(json);
  if (!is_found) uly__scan_free(scan);
  return is_found;
}

static json_t *scan_json(const uly__scan_key *key, const uly__scan *scan) {
  json_t *json = json_object(), *blank = json_array();
  for (int64_t i = 0; i < scan->num_blank; i++)
    json_array_append_new(blank, json_integer(scan->blank[i]));
  json_object_set_new(json, "content", hash_json(key->hash));
  json_object_set_new(json, "doc_end", json_integer(key->end));
  json_object_set_new(json, "seq_len", json_integer(key->window));
  json_object_set_new(json, "largest", json_integer(scan->largest));
  json_object_set_new(json, "documents_ended", json_integer(scan->num_ends));
  json_object_set_new(json, "without_label", blank);
  return json;
}

/* Writes under another name first, so that no run finds an incomplete file. */
static uly_status write_text(const char *path, const char *text) {
  size_t length = strlen(path) + sizeof ".tmp";
  char *hidden = malloc(length);
  if (!hidden) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a path");
  snprintf(hidden, length, "%s.tmp", path);
  uly_status status = uly__file_create(hidden, text, (int64_t)strlen(text), 0);
  if (status == ULY_OK && rename(hidden, path) != 0) status = uly__file_failed("rename to", path);
  if (status != ULY_OK) (void)unlink(hidden);
  free(hidden);
  return status;
}

uly_status uly__scan_remember(const char *path, const uly__scan_key *keys,
                              const uly__scan *const *scans, int num) {
  json_t *json = json_object(), *list = json_array();
  for (int i = 0; i < num; i++)
    if (scans[i]->num_blank <= MAX_BLANK)
      json_array_append_new(list, scan_json(&keys[i], scans[i]));
  json_object_set_new(json, "version", json_integer(VERSION));
  json_object_set_new(json, "scans", list);
  char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
  json_decref(json);
  if (!text) ULY_FAIL(ULY_ERR_MEMORY, "no memory for what a scan has found");
  uly_status status = write_text(path, text);
  free(text);
  return status;
}

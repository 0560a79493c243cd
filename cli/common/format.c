/* Prints bytes and runs, in the same way for all commands. */
#include "common/format.h"

#include <stdio.h>
#include <string.h>

const char *format_bytes(int64_t bytes, char buffer[FORMAT_BYTES]) {
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) {
    snprintf(buffer, FORMAT_BYTES, "%lld B", (long long)bytes);
    return buffer;
  }
  double value = (double)bytes / 1024;
  int unit = 0;
  /* 1023.95 would be printed as 1024.0. */
  for (; value >= 1023.95; unit++) value /= 1024;
  snprintf(buffer, FORMAT_BYTES, "%.1f %s", value, units[unit]);
  return buffer;
}

const char *format_duration(double seconds, char buffer[FORMAT_DURATION]) {
  long long s = (long long)(seconds + 0.5);
  if (s >= 86400)
    snprintf(buffer, FORMAT_DURATION, "%lld d %02lld h", s / 86400, s % 86400 / 3600);
  else if (s >= 3600)
    snprintf(buffer, FORMAT_DURATION, "%lld h %02lld min", s / 3600, s % 3600 / 60);
  else if (s >= 120)
    snprintf(buffer, FORMAT_DURATION, "%lld min", s / 60);
  else
    snprintf(buffer, FORMAT_DURATION, "%lld s", s);
  return buffer;
}

const char *plural(int64_t count) { return count == 1 ? "" : "s"; }

int64_t sum_bytes(const int64_t *bytes, int count) {
  int64_t sum = 0;
  for (int i = 0; i < count; i++) sum += bytes[i];
  return sum;
}

static void print_line(const char *name, int64_t bytes) {
  char human[FORMAT_BYTES];
  printf("  %-20s %20lld  %10s\n", name, (long long)bytes, format_bytes(bytes, human));
}

void print_arena_bytes(const int64_t *bytes) {
  for (int i = 0; i < ULY_NUM_ARENAS; i++) print_line(uly_arena_name((uly_arena)i), bytes[i]);
  print_line("total", sum_bytes(bytes, ULY_NUM_ARENAS));
}

void print_stash_bytes(int64_t bytes) { print_line("stash on disk", bytes); }

void print_traffic_bytes(const int64_t *bytes) {
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++) print_line(uly_traffic_name((uly_traffic)i), bytes[i]);
  print_line("total", sum_bytes(bytes, ULY_NUM_TRAFFIC));
}

void print_ranks(const uly_train_config *config, const uly_mesh *mesh) {
  int ulysses = uly_mesh_ulysses(mesh), ring = uly_mesh_ring(mesh), gather = uly_mesh_gather(mesh);
  printf("ranks       %d: dp %d x sp %d", uly_mesh_size(mesh), uly_mesh_dp(mesh),
         uly_mesh_sp(mesh));
  if (ring > 1) printf(" (ulysses %d x ring %d)", ulysses, ring);
  if (gather > 1) printf(" (ulysses %d x gather %d)", ulysses, gather);
  if (uly_mesh_tp(mesh) > 1) printf(" x tp %d", uly_mesh_tp(mesh));
  if (uly_mesh_pp(mesh) > 1) printf(" x pp %d", uly_mesh_pp(mesh));
  if (config->pp_chunks > 1) printf(" (%d chunks of layers each)", config->pp_chunks);
  if (config->zero_stage > 0) printf(", ZeRO stage %d", config->zero_stage);
  if (config->reproducible) printf(", reproducible with %d leaves", config->leaves);
  putchar('\n');
}

void print_step_size(const uly_train_config *config, int dp) {
  int64_t batch = config->batch > 0 ? config->batch : dp;
  printf("step        %lld tokens: %lld sequence%s of %lld\n", (long long)(batch * config->seq_len),
         (long long)batch, plural(batch), (long long)config->seq_len);
}

const char *sparse_name(uly_sparse_pattern pattern) {
  const uly_setting *s = uly_settings(NULL);
  while (strcmp(s->name, "sparse.pattern") != 0) s++;
  return s->words[pattern];
}

const char *format_mask(int64_t window, const uly_sparse *sparse, int pack,
                        char text[FORMAT_MASK]) {
  int used = snprintf(text, FORMAT_MASK, "%s", "");
  if (window > 0) used = snprintf(text, FORMAT_MASK, "the last %lld tokens", (long long)window);
  if (sparse->pattern != ULY_SPARSE_NONE)
    used += snprintf(text + used, FORMAT_MASK - (size_t)used, "%s%s in blocks of %lld",
                     used > 0 ? ", " : "", sparse_name(sparse->pattern), (long long)sparse->block);
  if (pack)
    snprintf(text + used, FORMAT_MASK - (size_t)used, "%swithin documents", used > 0 ? ", " : "");
  return text;
}

void print_attention(const uly_train_config *config) {
  char text[FORMAT_MASK];
  uly_model_info model;
  if (uly_train_config_describe_model(config, &model) != ULY_OK) return;
  format_mask(model.window, &config->sparse, config->pack, text);
  if (text[0] && model.window > 0 && model.num_window_layers < model.num_layers)
    printf("attention   %s in %d of %d layers\n", text, model.num_window_layers, model.num_layers);
  else if (text[0])
    printf("attention   %s\n", text);
  if (model.rope_factor > 0)
    printf("positions   RoPE scaled by %s, factor %g, for %lld tokens\n", model.rope_type,
           model.rope_factor, (long long)model.max_positions);
}

static void print_kind(const uly_data_info *info) {
  const char *tokens = info->kind == ULY_DATA_U16 ? "uint16 tokens" : "uint32 tokens";
  if (info->kind == ULY_DATA_TEXT && info->files == 1)
    printf("text");
  else if (info->kind == ULY_DATA_TEXT)
    printf("text in %lld files", (long long)info->files);
  else
    printf("%lld shard%s of %s", (long long)info->files, plural(info->files), tokens);
}

void print_data(const char *what, const char *path, const uly_data_info *info,
                int64_t num_sequences) {
  printf("%-12s%s: ", what, path);
  print_kind(info);
  printf(", %lld tokens", (long long)info->tokens);
  if (info->documents >= 0)
    printf(" in %lld document%s", (long long)info->documents, plural(info->documents));
  printf(", %lld sequences", (long long)num_sequences);
  if (info->without_label > 0)
    printf(" (%lld without a label are passed over)", (long long)info->without_label);
  putchar('\n');
}

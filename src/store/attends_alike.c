/* Compares how a run attends with a checkpoint: see attends_alike.h. */
#include "store/attends_alike.h"

#include "base/log.h"

/* Compares the members that the pattern uses. */
static bool is_same_sparse(uly_sparse a, uly_sparse b) {
  if (a.pattern != b.pattern || a.pattern == ULY_SPARSE_NONE) return a.pattern == b.pattern;
  return a.block == b.block && a.local == b.local &&
         (a.pattern == ULY_SPARSE_STRIDED || a.global == b.global) &&
         (a.pattern != ULY_SPARSE_BIGBIRD || a.random == b.random);
}

void uly__warn_if_it_attends_otherwise(const uly_train_config *config, int64_t end, const char *dir,
                                       const uly__checkpoint_run *run) {
  bool packs = config->pack != 0;
  if (config->window != run->config.window)
    uly__warn("'%s' was trained with config.window = %lld, and now it is %lld (0: none)", dir,
              (long long)run->config.window, (long long)config->window);
  if (!is_same_sparse(config->sparse, run->config.sparse))
    uly__warn("'%s' was trained with a different config.sparse.pattern, or different blocks of it",
              dir);
  if (packs != run->config.pack)
    uly__warn("'%s' was trained %s, and now %s (config.pack)", dir,
              run->config.pack ? "on packed documents" : "without packed documents",
              run->config.pack ? "documents are not packed" : "they are");
  if (packs && run->config.pack && end != run->config.doc_end)
    uly__warn(
        "'%s' was trained on documents that token %lld ends, and now token %lld ends them "
        "(config.doc_end; -1: none)",
        dir, (long long)run->config.doc_end, (long long)end);
}

uly_status uly__check_same_blocks(const uly_train_config *config, const char *dir,
                                  const uly__checkpoint_run *run) {
  if (run->config.seed != config->seed && config->sparse.pattern == ULY_SPARSE_BIGBIRD &&
      run->config.sparse.pattern == ULY_SPARSE_BIGBIRD)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' was trained with blocks drawn from config.seed = %llu, not %llu: it would "
             "attend to different blocks",
             dir, (unsigned long long)run->config.seed, (unsigned long long)config->seed);
  return ULY_OK;
}

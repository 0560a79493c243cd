/* Rows about what does not go together: options that need each other, ranks, and
 * memory. */
#include "usage_rows.h"

const usage_row rows_of_needs[] = {
    ROW(2, "--data is missing", "train", "--model", "tiny.json"),
    ROW(2, "--data is missing", "eval", "--checkpoint", "run"),
    ROW(2, "--checkpoint is missing", "eval", "--data", "text.txt"),
    ROW(2, "--checkpoint is missing", "generate", "--prompt", "a"),
    ROW(2, "expected one of --prompt.*there are 0", GENERATE_RUN),
    ROW(2, "expected one of --prompt.*there are 2", GENERATE_A, "--prompt-file", "text.txt"),
    ROW(2, "--zero is 2, but", EVAL_RUN, "--zero", "2"),
    ROW(2, "--eval-every 1 needs --eval-data", GOOD, "--eval-every", "1"),
    ROW(2, "--save-every 1 needs --out", GOOD, "--save-every", "1"),
    ROW(2, "--keep-last 1 needs --out", GOOD, "--keep-last", "1"),
    ROW(2, "--keep-every 1 needs --keep-last", GOOD, "--out", "run", "--keep-every", "1"),
    ROW(2, "--resume auto needs --out", GOOD, "--resume", "auto"),
    ROW(2, "--nonfinite rollback needs --out", GOOD, "--nonfinite", "rollback"),
    ROW(2, "--nonfinite rollback needs --out.* and --save-every", GOOD, "--nonfinite", "rollback",
        "--out", "unsaved"),
    ROW(2, "--nonfinite rollback needs --out.* and --save-every", GOOD, "--nonfinite", "rollback",
        "--out", "unsaved", "--resume", "auto"),
    ROW(2, "--steps '10000000000': expected an integer", GOOD, "--steps", "10000000000"),
    ROW(2, "--doc-end 'none': .*or auto", GOOD, "--pack", "--doc-end", "none"),
    ROW(2, "--doc-end is 32000", GOOD, "--pack", "--doc-end", "32000"),
    /* What has no effect without another option, given or in a file, also where a checkpoint has
     * the rest. */
    ROW(2, "--doc-end 5 needs --pack", GOOD, "--doc-end", "5"),
    {2,
     "--doc-end 5 needs --pack",
     {GOOD, "--config", "ends.yaml"},
     "ends.yaml",
     "run: {doc_end: 5}\n"},
    ROW(2, "--doc-end 5 needs --pack", EVAL_RUN, "--doc-end", "5"),
    ROW(2, "--doc-end 5 needs --pack", GENERATE_A, "--doc-end", "5"),
    ROW(2, "--sparse-block 16 needs --sparse", GOOD, "--sparse-block", "16"),
    ROW(2, "--sparse-local 2 needs --sparse", PLAN_TINY, "--sparse-local", "2"),
    ROW(2, "--sparse-global 2 needs --sparse", BENCH_SHORT, "--sparse-global", "2"),
    ROW(2, "--sparse-random 2 needs --sparse", EVAL_RUN, "--sparse-random", "2"),
    ROW(2, "--leaves 4 needs --reproducible", PLAN_TINY, "--leaves", "4"),
    ROW(2, "--leaves 4 needs --reproducible", EVAL_RUN, "--leaves", "4"),
    ROW(2, "--eval-windows 2 needs --eval-data", GOOD, "--eval-windows", "2"),
    ROW(2, "--batch is 5.*--dp 3.*multiple", PLAN_TINY, "--dp", "3", "--batch", "5"),
    END_OF_ROWS,
};

/* Meshes that no ranks make. */
const usage_row rows_of_meshes[] = {
    ROW(2, "--dp '0': expected an integer from 1", GOOD, "--dp", "0"),
    ROW(2, "7.*ranks.*change --dp or --sp", GOOD, "--sp", "7"),
    ROW(2, "7.*ranks", GOOD, "--dp", "7"),
    ROW(2, "ranks", GOOD, "--sp", "2", "--dp", "2"),
    ROW(2, "ranks", GOOD, "--sp", "32768", "--dp", "32768"),
    ROW(2, "7.*ranks", EVAL_RUN, "--sp", "7"),
    ROW(2, "7.*ranks", GENERATE_A, "--sp", "7"),
    ROW(2,
        "heads.* (use --sp 4 or less, and --dp for the rest; or --ulysses 1, and --ring for the "
        "rest)",
        PLAN_TINY, "--sp", "5"),
    ROW(2, "--reproducible .*--sp 3.*power of two", PLAN_TINY, "--reproducible", "--sp", "3"),
    ROW(2, "power of two", PLAN_TINY, "--reproducible", "--dp", "3"),
    ROW(2, "--leaves is 3", PLAN_TINY, "--reproducible", "--leaves", "3"),
    ROW(2, "--leaves is 3", GOOD, "--reproducible", "--leaves", "3"),
    END_OF_ROWS,
};

/* Sequences that do not fit: refused with bytes, and with what would. */
const usage_row rows_of_memory[] = {
    ROW(2, "needs [0-9]* bytes .* but may take only 65536 (--memory-limit)", GOOD, "--memory-limit",
        "64KiB"),
    ROW(2, "but may take only 3145728 .* It would fit with --seq-len [0-9]*$", BARE, "--any-bytes",
        "--data", "zeros.txt", "--seq-len", "64k", "--memory-limit", "3MiB"),
    ROW(2, "needs [0-9]* bytes .* (its share of what is free on this machine.* It would fit", BARE,
        "--any-bytes", "--data", "zeros.txt", "--model", "llama-4m", "--seq-len", "64m"),
    ROW(2, "needs [0-9]* bytes .* (its share of what is free on this machine.* It would fit", BARE,
        "--any-bytes", "--data", "zeros.txt", "--model", "llama-4m", "--seq-len", "64m",
        "--dry-run"),
    ROW(2, "needs [0-9]* bytes", PLAN_TINY, "--memory-limit", "64KiB"),
    ROW(2, "needs [0-9]* bytes", EVAL_RUN, "--memory-limit", "64KiB"),
    ROW(2, "needs [0-9]* bytes .* (its share of what is free", "eval", "--checkpoint", "run",
        "--any-bytes", "--data", "zeros.txt", "--seq-len", "128m"),
    ROW(2, "needs [0-9]* bytes", GENERATE_A, "--memory-limit", "64KiB"),
    ROW(2, "needs [0-9]* bytes", GENERATE_A, "--max-tokens", "4096m"),
    END_OF_ROWS,
};

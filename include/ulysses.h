/*
 * ulysses.h - train transformers on very long sequences, spread over MPI ranks.
 *
 * The idea (DeepSpeed-Ulysses, arXiv 2309.14509): every rank holds a slice of the *sequence*. All
 * parts of a transformer except attention treat tokens one by one, so they need no communication.
 * Just before attention, an all-to-all turns "all heads of my tokens" into "all tokens of my
 * heads"; attention runs locally and unchanged; a second all-to-all turns the result back. What a
 * rank sends stays constant when sequence length and rank count grow together.
 *
 * This header goes from the simple to the explicit. Each section begins with an example (without
 * the checks that section 1 shows); examples/ has whole programs, each with a page that explains
 * it.
 *
 *   1. Status        what every call returns, and where the message is
 *   2. Start, mesh   MPI, and which rank does what
 *   3. Training      a whole training run from C: configure, create, step, save
 *   4. Data          token shards from text
 *   5. Planning      the memory and the bytes of a run, without running it
 *   6. Generation    a trained model continues a sequence, token by token
 *   7. Attention     the distributed attention alone, for your own model
 *        Simple        plain Q, K, V of my tokens in, plain O out
 *        Explicit      the zero-copy buffers, and each exchange by itself
 *        Advanced      block-sparse layouts; your own kernel between the exchanges
 *
 * Shapes are row-major. N is the number of tokens of the whole stream, T that of this rank's slice,
 * P the number of sequence-parallel ranks; Hq and Hkv are the numbers of query and key/value heads,
 * and d is the number of elements of a head. A micro-batch is one stream of tokens: there is no
 * batch dimension.
 *
 * Every rank of the mesh must make the calls that are marked "Collective", in the same order. When
 * one rank fails inside a collective call, all ranks return the same status and message; no rank
 * hangs.
 *
 * Objects are opaque. They are created by *_create and freed by *_destroy, which accepts NULL.
 * Unless a comment says otherwise, pointers are borrowed for the call and must not be NULL: a
 * function that returns a status refuses NULL with ULY_ERR_CONFIG, and one that returns a number
 * returns 0. Two threads must not use an object at the same time.
 *
 * Structs begin with their size, so that a program keeps working with a library whose structs have
 * grown. A program sets `size` before it passes a struct:
 *
 *   uly_step_report report = {.size = sizeof report};    // the library fills the rest
 *   uly_mesh_desc desc = {.size = sizeof desc, .sp = 4}; // 0 stands for the default
 *   uly_train_config config;                             // where 0 does not, *_default
 *   uly_train_config_default(&config, sizeof config);    // sets every member
 *
 * A library that is newer than the program uses the defaults of the members that the program does
 * not know, and does not fill them in. A library that is older refuses members that it does not
 * know, unless they are 0, and fills them with 0. Structs that are members of other structs have no
 * size: they never change, but may have room in `reserved`, which must be 0. */
#ifndef ULYSSES_H
#define ULYSSES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default) /* the rest of the library is hidden */
#endif

#define ULY_VERSION_STRING "0.1.0"

/* ------------------------------------------------------------------ 1. Status
 *
 * Every function that can fail returns a status. The message of uly_last_error() says what was
 * wrong, where, and what to do:
 *
 *   uly_status status = uly_trainer_step(trainer, &report);
 *   if (status != ULY_OK) {
 *     fprintf(stderr, "%s\n", uly_last_error());
 *     return uly_status_exit_code(status);
 *   }
 */

typedef enum uly_status {
  ULY_OK = 0,
  ULY_ERR_CONFIG,    /* a setting, a shape or a mesh that cannot work          */
  ULY_ERR_DATA,      /* a token file or a checkpoint that is not what it says  */
  ULY_ERR_IO,        /* the operating system refused to read or write          */
  ULY_ERR_MEMORY,    /* an allocation failed                                   */
  ULY_ERR_COMM,      /* MPI reported an error                                  */
  ULY_ERR_NONFINITE, /* a loss or a gradient is infinite or not a number       */
  ULY_ERR_INTERNAL   /* a defect of this library                               */
} uly_status;

/* Returns the message of the last failure on the calling thread: what was wrong, where, and what to
 * do. It names settings by their members, such as config.seq_len or desc.head_dim. Never NULL;
 * valid until the next failing call on this thread. */
const char *uly_last_error(void);

/* Records a message and returns `status`. Callbacks that fail call it; programs may call it too. */
uly_status uly_fail(uly_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Sets where the library's warnings go: `handler` is called with each message (which has no newline
 * at its end), on the thread whose call caused it. NULL, as at the start, writes warnings to
 * standard error after "ulysses: warning: ". */
void uly_warning_set_handler(void (*handler)(void *user, const char *message), void *user);

/* Returns a short name of a status, such as "config" or "data"; never NULL. */
const char *uly_status_name(uly_status status);

/* Returns the exit code that a program should use for a status: 0 done, 1 machine (memory, MPI,
 * internal), 2 configuration, 3 data, checkpoint or file, 4 not finite. */
int uly_status_exit_code(uly_status status);

/* The type in which numbers are stored. Sums are f32 or wider. */
typedef enum uly_dtype { ULY_F32 = 0, ULY_BF16 = 1 } uly_dtype;

/* ------------------------------------------------------------ 2. Start and mesh
 *
 * Every program begins and ends like this, on every rank:
 *
 *   uly_mesh *mesh;
 *   uly_init(&argc, &argv);
 *   uly_mesh_create(NULL, &mesh); // all ranks share one sequence
 *   ...
 *   uly_mesh_destroy(mesh);
 *   uly_finalize();
 *
 * A program that has its own MPI calls MPI_Init and MPI_Finalize itself, includes <mpi.h>
 * before this header, and hands over a communicator: uly_mesh_create_mpi(comm, ...).
 */

/* Starts MPI, unless the program did, for calls from the main thread. argc and argv may be NULL.
 * Returns ULY_ERR_CONFIG after MPI has ended, since MPI cannot be started twice. Collective over
 * all processes. */
uly_status uly_init(int *argc, char ***argv);

/* Ends MPI if uly_init started it. Collective over all processes. */
void uly_finalize(void);

/* Ends the whole job at once, on all ranks, with this exit code. Use it for errors that only one
 * rank knows of. Does not return. */
void uly_abort(int exit_code);

/* Return the number of processes of the job and the index of this one; 1 and 0 before uly_init. */
int uly_world_size(void);
int uly_world_rank(void);

/* A mesh says what each rank does. Its axes, from the innermost: the `sp` ranks of a group share
 * one sequence (sequence parallelism), and `dp` groups work on different sequences (data
 * parallelism). rank = dp_index * sp + sp_index. */
typedef struct uly_mesh uly_mesh;

/* Extents of the axes; 0 is the default of each. */
typedef struct uly_mesh_desc {
  size_t size;
  /* Groups of data parallelism. 0: as many as sp allows, or 1 if sp is 0 too. */
  int dp;
  /* Ranks that share a sequence: ulysses * ring. 0: all ranks that dp leaves. */
  int sp;
  /* Ranks among which heads are exchanged. 0: sp / ring. */
  int ulysses;
  /* Ring attention, tensor parallelism and pipeline stages do not exist yet: more than 1 is
   * refused. */
  int ring, tp, pp;
} uly_mesh_desc;

void uly_mesh_desc_default(uly_mesh_desc *desc, size_t size);

/* Creates a mesh of all processes of the job; desc NULL: the default mesh. Fails with
 * ULY_ERR_CONFIG on all ranks unless dp * sp is the number of ranks and all ranks pass the same
 * desc. Collective over all processes. */
uly_status uly_mesh_create(const uly_mesh_desc *desc, uly_mesh **out);

/* Creates a mesh of the ranks of a communicator, given as the integer by which Fortran knows it
 * (MPI_Comm_c2f, comm%MPI_VAL, comm.py2f()). The communicator is duplicated. An error that MPI
 * finds later ends the job, whatever error handler the communicator has, since other ranks would
 * wait forever. Returns ULY_ERR_CONFIG for MPI_COMM_NULL and for intercommunicators. Collective
 * over the communicator. */
uly_status uly_mesh_create_fortran(int comm, const uly_mesh_desc *desc, uly_mesh **out);

#ifdef MPI_VERSION
/* Does the same for programs that include <mpi.h> before this header. */
static inline uly_status uly_mesh_create_mpi(MPI_Comm comm, const uly_mesh_desc *desc,
                                             uly_mesh **out) {
  return uly_mesh_create_fortran((int)MPI_Comm_c2f(comm), desc, out);
}
#endif

/* Creates a mesh to plan with, as rank `rank` of dp * sp ranks that need not exist. It cannot
 * communicate. desc NULL: one rank. Not collective. */
uly_status uly_mesh_create_offline(const uly_mesh_desc *desc, int rank, uly_mesh **out);

/* Frees the mesh and its communicators. From then on, attention plans, trainers and generators that
 * were made with it can only be destroyed: their collective functions return ULY_ERR_CONFIG.
 * Collective. */
void uly_mesh_destroy(uly_mesh *mesh);

int uly_mesh_rank(const uly_mesh *mesh);
int uly_mesh_size(const uly_mesh *mesh); /* dp * sp */
int uly_mesh_dp(const uly_mesh *mesh);
int uly_mesh_sp(const uly_mesh *mesh);

/* Returns the number of OpenMP threads that a training run uses on this rank unless its
 * configuration gives one: OMP_NUM_THREADS, or the cores of the machine divided by its ranks, but
 * at most the number that the process may run on. */
int uly_mesh_threads(const uly_mesh *mesh);

/* Returns the name of the instruction set for which the kernels of this process were compiled:
 * "reference", "base", "avx2", "avx512" or "avx512bf16". "base" is what every CPU of its kind has:
 * SSE2 on x86-64, NEON on aarch64. It is the fastest that the CPU runs, unless ULYSSES_ISA in the
 * environment names another. */
const char *uly_kernels_name(void);

/* What a process finds out about its machine. -1: the system does not tell, or sets no limit. */
typedef struct uly_machine {
  size_t size;    /* sizeof(uly_machine) */
  int64_t memory; /* bytes of the machine */
  /* Bytes that may still be allocated, also within the limits of control groups. */
  int64_t available;
  /* Bytes that the control groups (of either version) allow. */
  int64_t memory_limit;
  /* Thousandths of a hardware thread that the control groups allow. */
  int64_t cpu_quota;
  /* Hardware threads of the machine, and those of them that this process may run on. */
  int hardware_threads;
  int allowed_threads;
  int ranks;   /* of the mesh, on this machine */
  int threads; /* uly_mesh_threads */
  /* 0: products of bf16 are computed as products of f32. */
  int multiplies_bf16;
  /* 1: the CPU has AMX, but the system does not let programs use it. */
  int hides_amx;
  /* As from uly_kernels_name, and as that would be without ULYSSES_ISA. */
  char kernels[16];
  char best_kernels[16];
  /* The instruction set of oneDNN's matrix products, as oneDNN calls it. */
  char products[32];
  /* A better instruction set that the CPU has and oneDNN does not use, or "". */
  char unused[16];
} uly_machine;

/* Describes the machine of this process in the members that `size` covers. Not collective. */
uly_status uly_machine_look(const uly_mesh *mesh, uly_machine *machine);

/* Turns "some rank failed" into "all ranks know": returns ULY_OK on all ranks if all passed ULY_OK;
 * otherwise, all ranks return the status and have the message of the lowest failing rank.
 * Collective. */
uly_status uly_mesh_agree(uly_mesh *mesh, uly_status status);

/* Returns ULY_OK on all ranks if all passed the same bytes; otherwise ULY_ERR_CONFIG on all, with a
 * message that names `what` and the first rank whose bytes differ from those of rank 0.
 * Collective. */
uly_status uly_mesh_same(uly_mesh *mesh, const void *bytes, size_t count, const char *what);

/* ---------------------------------------------------------------- 3. Training
 *
 *   uly_train_config config;
 *   uly_train_config_default(&config, sizeof config);
 *   config.data = "my.txt";
 *   config.steps = 1000;
 *   uly_trainer_create(mesh, &config, &trainer);
 *   while (uly_trainer_steps_done(trainer) < config.steps)
 *     if (uly_trainer_step(trainer, &report) != ULY_OK) break;
 *   uly_trainer_save(trainer, "run");
 *
 * First comes what defines a run, then what it reports, then the run itself.
 */

/* --- What defines a run. */

typedef enum uly_recompute {
  ULY_RECOMPUTE_NONE = 0,       /* keep what every GEMM and attention produced       */
  ULY_RECOMPUTE_KEEP_ATTENTION, /* keep each block's input and all of its attention:
                                   backward repeats neither attention nor exchange   */
  ULY_RECOMPUTE_FULL            /* keep each block's input only                      */
} uly_recompute;

typedef enum uly_schedule {
  ULY_SCHEDULE_COSINE = 0, /* warm-up, then half a cosine down to min_lr_ratio * lr */
  ULY_SCHEDULE_LINEAR,     /* warm-up, then a straight line down to the same        */
  ULY_SCHEDULE_CONSTANT    /* warm-up, then lr                                      */
} uly_schedule;

/* Block-sparse attention: the sequence is cut into blocks, and the queries of block i see only the
 * keys of these blocks j (with a causal mask, only those of them with j <= i):
 *
 *   longformer  |i - j| < local; j < global; and all j if i < global
 *   bigbird     the same, and `random` others, drawn anew for each row of each layout
 *   strided     |i - j| < local; and every local-th block from i on, in both directions
 *   fixed       the blocks of i's stretch (stretches are `local` blocks long), and the last
 *               `global` blocks of every stretch
 *
 * Draws are functions of the seed, the layout and the row alone. */
typedef enum uly_sparse_pattern {
  ULY_SPARSE_NONE = 0,
  ULY_SPARSE_LONGFORMER, /* arXiv 2004.05150 */
  ULY_SPARSE_STRIDED,    /* Sparse Transformer, arXiv 1904.10509 */
  ULY_SPARSE_FIXED,      /* the same */
  ULY_SPARSE_BIGBIRD     /* arXiv 2007.14062 */
} uly_sparse_pattern;

typedef struct uly_sparse {
  uly_sparse_pattern pattern;
  int64_t block; /* tokens per block, at least 1 */
  /* 0: 4 for longformer and bigbird, the square root of the number of blocks for the others. */
  int64_t local;
  int64_t global; /* longformer, bigbird, fixed */
  int64_t random; /* bigbird */
  uint64_t seed;  /* bigbird */
  int64_t reserved[4];
} uly_sparse;

/* Returns the `local` that a sequence of num_tokens tokens has if sparse->local is 0. It may differ
 * from one length to another: to evaluate a model at lengths that it was not trained with, set it
 * first. */
int64_t uly_sparse_local(const uly_sparse *sparse, int64_t num_tokens);

/* Everything that defines a run except the mesh. Fill it with uly_train_config_default() and change
 * what you need. Strings are copied. Ranges, and what needs what, are those of uly_settings(). */
typedef struct uly_train_config {
  size_t size;
  /* A preset (uly_model_presets) or the path of a Hugging Face config.json. */
  const char *model;
  /* A file or a folder of files: plain text, whose bytes are the tokens, or llm.c token shards. */
  const char *data;
  /* Held-out data of the same kinds; NULL: no evaluation. */
  const char *eval_data;
  int64_t seq_len; /* N: tokens per sequence */
  /* Nonzero: a sequence holds several documents. Attention and positions stay within a document,
   * and the last token of each document has no label. A document that is cut by the end of a
   * sequence continues in the next one as a document of its own. */
  int pack;
  /* With pack, the token that ends each document; -1: what the files say. Text says 256, which
   * stands at the end of each file; a shard says the fourth number of its header less 1. */
  int64_t doc_end;
  /* A token attends to the last `window` tokens, itself among them. 0: to all tokens before it; -1:
   * as the model's config.json says (the sliding_window of a Mistral). */
  int64_t window;
  /* Attention sees only some blocks of the tokens that `window` leaves. sparse.seed is ignored:
   * draws use the seed of the run. */
  uly_sparse sparse;
  /* Steps of the whole run: the schedule ends here. */
  int64_t steps;
  /* Sequences per step, over all data-parallel groups: a multiple of their number. 0: one for
   * each. */
  int64_t batch;
  /* Most sequences that an evaluation reads. */
  int64_t eval_windows;
  uint64_t seed; /* of weights and data order */
  /* Storage of weights and activations. Sums, master weights and optimizer states are always
   * f32. */
  uly_dtype dtype;
  uly_recompute recompute;
  uly_schedule schedule;
  double lr;           /* peak learning rate */
  double min_lr_ratio; /* final learning rate / lr */
  int64_t warmup;      /* steps of linear warm-up */
  double beta1, beta2, eps;
  double weight_decay; /* decoupled (AdamW), matrices only */
  /* Largest global gradient norm; 0: no clipping. */
  double clip;
  /* OpenMP threads per rank; 0: OMP_NUM_THREADS, or the cores of the node divided by its ranks. */
  int threads;
  /* Nonzero: the run evaluates and never trains. It holds weights and what forward needs, but no
   * gradients and no optimizer states; the weights come from uly_trainer_load. data is not needed,
   * zero_stage is 0 or 3, recompute and batch are ignored, offload and stash are refused. */
  int forward_only;
  /* What each of the W ranks holds of the model states (ZeRO, arXiv 1910.02054). 0: everything; 1:
   * its share of the optimizer states; 2: and of the gradients; 3: and of the parameters. */
  int zero_stage;
  /* Storage and reduction of gradients. bf16: they are rounded after each sequence of a step, so
   * that many small ones get lost. */
  uly_dtype grad_dtype;
  /* Nonzero: the bits of losses, weights and checkpoints do not depend on the number of ranks,
   * their mesh, or the stage. Needs powers of two. */
  int reproducible;
  /* With reproducible, the parts of a sequence that are summed one by one, and the most ranks that
   * can share a sequence; a power of two. Another number gives other bits. */
  int leaves;
  /* Parts of a rank's heads that are exchanged one after the other, each while attention works on
   * the part before it; 0: chosen from the model. Ignored in reproducible runs, where `leaves` says
   * how heads are grouped. */
  int rounds;
  /* Bytes that the arenas of a rank may take together; 0: no limit. */
  int64_t memory_limit;
  /* Folder on local disk for the optimizer states; NULL: they stay in memory. */
  const char *offload;
  /* Folder on local disk for what is kept between forward and backward, except that of two blocks;
   * NULL: it stays in memory. Folders may differ from rank to rank. */
  const char *stash;
  /* Nonzero: uly_trainer_load may go on with data other than those that the checkpoint was trained
   * on, from their beginning; 0: it refuses them. */
  int new_data;
  /* Nonzero: files without the header of a shard are read as bytes, whatever is in them. 0: files
   * that are evidently not plain text are refused (ULY_ERR_DATA): archives, compressed files,
   * UTF-16, files with a byte-order mark, bare numbers. */
  int any_bytes;
  /* File in which uly_trainer_remember_scan keeps what the scan of the data has found, for the next
   * start to read; NULL: none. */
  const char *scan_file;
} uly_train_config;

void uly_train_config_default(uly_train_config *config, size_t size);

/* Sets *window to the window that a run of `config` attends with: config->window, or, if that is
 * -1, what the model's config.json says; 0: none. Returns ULY_ERR_CONFIG if the model cannot be
 * read. */
uly_status uly_train_config_find_window(const uly_train_config *config, int64_t *window);

/* What a member of uly_train_config holds. */
typedef enum uly_setting_type {
  ULY_SETTING_TEXT = 0, /* const char *; NULL: none              */
  ULY_SETTING_INTEGER,  /* int, int64_t or uint64_t              */
  ULY_SETTING_BYTES,    /* int64_t: an amount of memory          */
  ULY_SETTING_REAL,     /* double                                */
  ULY_SETTING_CHOICE,   /* an enum: the place of a word          */
  ULY_SETTING_BOOLEAN   /* int: 0 or not                         */
} uly_setting_type;

typedef union uly_setting_value {
  uint64_t integer; /* of all but TEXT and REAL; UINT64_MAX: -1 */
  double real;
  const char *text;
} uly_setting_value;

/* What takes a setting into account. */
typedef enum uly_setting_use {
  ULY_USE_TRAINING = 1,
  ULY_USE_PLANNING = 2,
  ULY_USE_EVALUATION = 4, /* runs with forward_only */
  ULY_USE_GENERATION = 8
} uly_setting_use;

/* A setting: a member of uly_train_config, and all that the library and the program know of it. */
typedef struct uly_setting {
  /* Such as "seq_len" or "sparse.block"; messages call it config.seq_len. */
  const char *name;
  /* A word that the settings of one topic share; NULL: programs set it, people do not. */
  const char *topic;
  uly_setting_type type;
  /* Its place in uly_train_config. */
  size_t offset, bytes;
  /* The default, and the range (REAL: DBL_MAX stands for no limit). */
  uly_setting_value initial, min, max;
  int excludes_max;         /* nonzero: below max */
  const char *unset;        /* word for -1, also allowed */
  const char *const *words; /* CHOICE: ends with NULL */
  const char *placeholder;  /* TEXT: such as "PATH" */
  unsigned uses;            /* bits of uly_setting_use */
  /* Nonzero: all ranks must pass the same; TEXT: all or none must pass one. */
  int is_shared;
  /* The setting that must be given (neither 0 nor NULL) for this one to have an effect; NULL: none.
   * Where it is not given, this one is refused if it is set. It counts as set if it differs from its
   * default and, unless that is -1, from the 0 of a struct that was cleared: what
   * uly_checkpoint_apply leaves behind is not refused. */
  const char *needs;
  /* Where a checkpoint's trainer.json records it, such as "attention.window", and its place in
   * uly_checkpoint_info; NULL: a checkpoint does not record it. */
  const char *record;
  size_t info_offset;
  const char *help; /* without a full stop */
  int64_t reserved[8];
} uly_setting;

/* Returns all settings; *num (NULL: not wanted) is set to their number. */
const uly_setting *uly_settings(size_t *num);

/* Return the names of the model presets, ending with NULL, and a line that describes one. */
const char *const *uly_model_presets(void);
const char *uly_model_preset_about(const char *name);

/* --- What it reports. */

/* What the bytes that a rank sends are for. */
typedef enum uly_traffic {
  ULY_TRAFFIC_ATTENTION_FORWARD = 0, /* Q, K, V to the heads' owners; outputs back        */
  ULY_TRAFFIC_ATTENTION_BACKWARD,    /* their gradients                                   */
  ULY_TRAFFIC_ATTENTION_RECOMPUTE,   /* the forward exchange repeated under recomputation */
  ULY_TRAFFIC_GRADIENTS,             /* sums of weight gradients                          */
  ULY_TRAFFIC_PARAMETERS,            /* weights, gathered from their owners               */
  ULY_TRAFFIC_CONTROL,               /* token counts, losses, agreement on errors         */
  ULY_NUM_TRAFFIC
} uly_traffic;

/* Room in a report for kinds that may be added. */
enum { ULY_MAX_TRAFFIC = 32 };

/* Returns a name such as "attention_forward". */
const char *uly_traffic_name(uly_traffic kind);

/* Memory is held in five arenas, each allocated once. */
typedef enum uly_arena {
  ULY_ARENA_PARAMETERS = 0,
  ULY_ARENA_GRADIENTS,
  ULY_ARENA_OPTIMIZER,
  ULY_ARENA_ACTIVATIONS,
  ULY_ARENA_SCRATCH,
  ULY_NUM_ARENAS
} uly_arena;

/* Room in a report for arenas that may be added. */
enum { ULY_MAX_ARENAS = 8 };

const char *uly_arena_name(uly_arena arena);

/* What one step did. All ranks get the same report. */
typedef struct uly_step_report {
  size_t size;
  int64_t step; /* 1 for the first */
  /* Mean over the step's tokens, in nats per token. */
  double loss;
  double grad_norm; /* global, before clipping */
  double lr;        /* learning rate of this step */
  /* Tokens that this step trained on, over all ranks. */
  int64_t tokens;
  int num_ranks;
  double seconds; /* wall time of slowest rank */
  /* Of these, the seconds that ranks waited for each other: the mean over the ranks. */
  double wait_seconds;
  /* FLOPs of the model, forward and backward, over all ranks. Recomputation is not counted, and of
   * attention only the pairs that the mask lets through. */
  double flops;
  /* Bytes that the rank that sent most has sent. */
  int64_t sent_bytes[ULY_MAX_TRAFFIC];
  /* High-water marks of the rank whose sum of them is largest, and that sum. */
  int64_t arena_bytes[ULY_MAX_ARENAS];
  int64_t peak_bytes;
  /* Peak resident set of the largest process, as the operating system counts it; 0 if unknown. */
  int64_t resident_bytes;
  /* Nonzero: uly_trainer_skip has skipped the step, and nothing was updated. */
  int is_skipped;
  /* Sequences that were passed over because no token of theirs has a label. */
  int64_t passed_over;
} uly_step_report;

/* What one rank did in a step. */
typedef struct uly_rank_report {
  size_t size;
  /* Seconds of the step, and those of them in which this rank waited for others. */
  double seconds, wait_seconds;
  /* Pairs of a query and a key that it sees, over all query heads, in the sequences of the rank's
   * group. */
  double pairs;
  int64_t sent_bytes[ULY_MAX_TRAFFIC]; /* as in uly_step_report */
  int64_t arena_bytes[ULY_MAX_ARENAS];
  int64_t resident_bytes;
} uly_rank_report;

/* --- The run. */

/* Creates a training run: makes the weights from the seed, plans, allocates and opens the data. The
 * ranks scan all tokens once, each a part of them. ULY_ERR_DATA names the first token that is not
 * below the vocabulary size, and refuses data in which no token has a label. Sequences without a
 * label, which pack may produce, are passed over in training and evaluation. With forward_only,
 * steps and saves are refused (ULY_ERR_CONFIG). Collective. */
typedef struct uly_trainer uly_trainer;
uly_status uly_trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out);
void uly_trainer_destroy(uly_trainer *trainer);

/* What the data were read as. */
typedef enum uly_data_kind {
  ULY_DATA_TEXT = 0, /* bytes                    */
  ULY_DATA_U16,      /* shards of uint16 tokens  */
  ULY_DATA_U32       /* shards of uint32 tokens  */
} uly_data_kind;

/* What the data consist of. */
typedef struct uly_data_info {
  uly_data_kind kind;
  int64_t files, tokens;
  /* -1: the files do not say where documents end, or not all of the data were scanned. */
  int64_t documents;
  /* Sequences of seq_len tokens; and, among those that are used, the ones that are passed over. */
  int64_t sequences, without_label;
  int64_t reserved[4];
} uly_data_info;

/* Return what the training data and the held-out data of a run consist of; NULL if the run has
 * none. The result lives as long as the trainer. */
const uly_data_info *uly_trainer_data_info(const uly_trainer *trainer);
const uly_data_info *uly_trainer_eval_data_info(const uly_trainer *trainer);

/* What a training run would begin with. */
typedef struct uly_start_report {
  size_t size;
  int64_t num_params;
  /* Sequences of seq_len tokens to train on, and to evaluate. */
  int64_t num_windows, num_eval_windows;
  /* Steps of the checkpoint; 0 without one. */
  int64_t steps_done;
  /* eval_data is all 0 without held-out data. */
  uly_data_info data, eval_data;
} uly_start_report;

/* Writes what the scan of the data has found to config.scan_file, so that the next start on the
 * same data need not scan them again. Data are the same if uly_trainer_load takes them for the
 * same. A scan of held-out data of which only eval_windows sequences are read is not kept. A
 * failure loses nothing. Not collective: one rank calls it, and the file of rank 0 is read. */
uly_status uly_trainer_remember_scan(const uly_trainer *trainer);

/* Makes the checks of uly_trainer_create, and those of uly_trainer_load unless `checkpoint` is
 * NULL, without allocating an arena or writing a file. It checks settings, model and mesh, the data
 * and their length, the plan against memory_limit or the free memory (but not the folders of
 * offload and stash), and whether the ranks were started alike; of the checkpoint it checks the
 * formats, shapes and model, but not the checksums of tensors. The report is the same on all ranks,
 * and is filled in only on success. Collective. */
uly_status uly_trainer_check(uly_mesh *mesh, const uly_train_config *config, const char *checkpoint,
                             uly_start_report *report);

/* Returns the number of steps done so far; after uly_trainer_load, that of the checkpoint. */
int64_t uly_trainer_steps_done(const uly_trainer *trainer);

/* Return the numbers of trainable parameters, of windows of seq_len tokens in the training data,
 * and of those windows of the held-out data that an evaluation goes through. */
int64_t uly_trainer_num_params(const uly_trainer *trainer);
int64_t uly_trainer_num_windows(const uly_trainer *trainer);
int64_t uly_trainer_num_eval_windows(const uly_trainer *trainer);

/* Makes one optimizer step. ULY_ERR_NONFINITE, ULY_ERR_DATA and a failure to read data, or to write
 * or read the stash on disk, leave the weights as they were. After a failure in the update itself
 * (optimizer states on disk) the weights are a mixture: steps and saves are refused until a
 * checkpoint is loaded. If a loss or gradient is not finite, the message says which tensor of which
 * block was the first that was not (the step is repeated to find out), and the report is filled in
 * as after a success. Collective. */
uly_status uly_trainer_step(uly_trainer *trainer, uly_step_report *report);

/* Reports the latest step of this rank alone; all 0 before the first. Not collective. */
uly_status uly_trainer_rank_report(const uly_trainer *trainer, uly_rank_report *report);

/* Go on after a step that returned ULY_ERR_NONFINITE, in two ways. uly_trainer_skip counts the step
 * as done, without an update, and marks its report. uly_trainer_rollback loads an earlier
 * checkpoint, as uly_trainer_load does, but goes on with the data that follow those of the failed
 * step. After any other step they return ULY_ERR_CONFIG. Collective. */
uly_status uly_trainer_skip(uly_trainer *trainer, uly_step_report *report);
uly_status uly_trainer_rollback(uly_trainer *trainer, const char *dir);

/* Loss of the tokens at positions [begin, end) of their sequence, or of their document if documents
 * are packed. A model that makes use of a long context has lower losses at later positions. */
typedef struct uly_eval_bin {
  int64_t begin, end;
  /* Tokens that were evaluated there, over all sequences. */
  int64_t tokens;
  /* Their mean loss, in nats per token; 0 if there are none. */
  double loss;
} uly_eval_bin;

/* What an evaluation found. All ranks get the same report. */
#define ULY_MAX_EVAL_BINS 40
typedef struct uly_eval_report {
  size_t size;
  /* Mean over all tokens, in nats per token. */
  double loss;
  int64_t tokens; /* evaluated; at least 1 */
  /* Nonzero: it was stopped before all sequences were evaluated. */
  int is_stopped;
  int num_bins;
  /* [0, 16), [16, 32), [32, 64), ... up to seq_len */
  uly_eval_bin bins[ULY_MAX_EVAL_BINS];
} uly_eval_report;

/* Computes the mean loss over the held-out data (at most eval_windows sequences). `stops` (NULL:
 * never) is asked on every rank before each round of sequences except the first; if it returns
 * nonzero on any rank, the evaluation ends with what it has. Sequences without a label are passed
 * over. Returns ULY_ERR_DATA if no token that was read has a label, and ULY_ERR_CONFIG without
 * eval_data. Collective. */
uly_status uly_trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                uly_eval_report *report);

/* --- Checkpoints. */

/* Writes a checkpoint folder `out_dir`/step-<10 digits>. It is written under another name, synced,
 * then renamed, so that a half-written checkpoint never bears the name. Each rank writes its share;
 * the bytes do not depend on the number of ranks. Collective. */
uly_status uly_trainer_save(uly_trainer *trainer, const char *out_dir);

/* Save a checkpoint while training goes on. uly_trainer_save_start starts the save and returns. The
 * next step computes while the files are written, and ends the save before it changes the weights,
 * so no copy is needed. A save that fails leaves earlier checkpoints as they were, and the run can
 * go on. uly_trainer_save_finish waits for a save that is under way, and returns the status of the
 * latest save once (ULY_OK if there is nothing to tell). Collective. */
uly_status uly_trainer_save_start(uly_trainer *trainer, const char *out_dir);
uly_status uly_trainer_save_finish(uly_trainer *trainer);

/* Creates out_dir and tries to write there, before a run needs it for checkpoints. Not collective:
 * call it on one rank, then agree. */
uly_status uly_checkpoint_prepare(const char *out_dir);

/* Removes from out_dir what interrupted saves and prunes have left. Never call it while another run
 * saves there: its save would be taken for such remains. Not collective. */
uly_status uly_checkpoint_remove_remains(const char *out_dir);

/* Continues from the checkpoint folder `dir`, whatever ranks, mesh and stage it was made with: bit
 * by bit on the same ranks, or with `reproducible` on any ranks; otherwise up to rounding. Rank 0
 * warns (uly_warning_set_handler) if the run goes on with other data (config.new_data; without it
 * they are refused, ULY_ERR_CONFIG), or attends in another way. Data are the same if their contents
 * are, in the same order of files. Names do not matter, and of a file of more than 4 MiB, 64 pieces
 * of 64 KiB that are spread over it are compared. After a failure the trainer holds parts of the
 * checkpoint, and refuses steps and saves until a load succeeds. With forward_only, only the
 * weights are read, and the file of the optimizer may be missing. Collective. */
uly_status uly_trainer_load(uly_trainer *trainer, const char *dir);

/* Writes to `path` (of `capacity` bytes) the path of the newest checkpoint in out_dir, that of the
 * highest step, or an empty string if there is none. A checkpoint that has lost files counts too,
 * and fails to load, so that no run falls back to an older one unnoticed. Not collective. */
uly_status uly_checkpoint_latest(const char *out_dir, char *path, size_t capacity);

/* Removes checkpoints from out_dir, except the keep_last newest (those of the highest steps) and
 * those whose step is a multiple of keep_every (0: none is kept for that reason). keep_last 0 keeps
 * all. A checkpoint loses its name first, so that a half-removed one is never taken for whole;
 * uly_checkpoint_remove_remains then clears what is left. Anything that is not a checkpoint is left
 * alone. A failure names the first checkpoint that could not be removed; the others are removed all
 * the same. Call it after a save has finished, never while one is under way. Not collective: one
 * rank calls it. */
uly_status uly_checkpoint_prune(const char *out_dir, int64_t keep_last, int64_t keep_every);

/* A model, as the config.json of a checkpoint describes it. */
typedef struct uly_model_info {
  char type[16]; /* "llama", "qwen2" or "gpt2" */
  int64_t hidden, ffn, vocab, max_positions;
  int num_layers, num_q_heads, num_kv_heads, head_dim;
  int has_layer_norm; /* nonzero: LayerNorm, with biases; 0: RMSNorm          */
  double norm_eps;
  double rope_theta; /* 0: learned positions                                  */
  int is_gated;      /* nonzero: SwiGLU; 0: GELU                              */
  int is_tied;       /* nonzero: the head is the embedding                    */
  int has_qkv_bias, has_o_bias, has_mlp_bias;
  int64_t reserved[16];
} uly_model_info;

/* What a checkpoint holds. */
typedef struct uly_checkpoint_info {
  size_t size;
  int64_t step, num_params, num_tensors, bytes;
  int64_t seq_len, sequences_done;
  uint64_t seed;
  /* How the model attends: the members of uly_train_config with these names. Use the model as it
   * was trained. sparse.local and sparse.seed have the values that the run used. */
  int64_t window, doc_end;
  uly_sparse sparse;
  int pack;
  uly_dtype dtype;
  uly_model_info model;
} uly_checkpoint_info;

/* Reads what a checkpoint folder says about itself, but not its tensors. Not collective. Neither
 * this function nor the ones below need a trainer. */
uly_status uly_checkpoint_read(const char *dir, uly_checkpoint_info *info);

/* Sets those members of config that a checkpoint records, as in info: seq_len, pack, doc_end,
 * window, sparse, dtype and seed. Those that have no effect get their defaults. */
uly_status uly_checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config);

/* Reads a whole checkpoint folder and checks it: formats, shapes, and the checksum of every
 * tensor. */
uly_status uly_checkpoint_verify(const char *dir, uly_checkpoint_info *info);

/* A tensor in a file of a checkpoint. */
typedef struct uly_tensor_info {
  size_t size;
  /* Such as "model.safetensors" and "model.norm.weight"; valid during the visit. */
  const char *file, *name;
  uly_dtype dtype;
  int num_dims; /* 0: a scalar */
  int64_t dims[4];
  int64_t bytes;
} uly_tensor_info;

/* Calls `visit` for each tensor of a checkpoint, in the order in which they lie in its files. */
uly_status uly_checkpoint_list(const char *dir,
                               void (*visit)(void *user, const uly_tensor_info *tensor),
                               void *user);

/* --- Traces and metrics. */

/* Record what the ranks do and when (blocks, exchanges, gathers, reductions, optimizer, saves, the
 * stash on disk). uly_trainer_trace begins to record on this rank; uly_trainer_trace_write writes
 * what all ranks have recorded to one file in the Trace Event format, which Perfetto and
 * chrome://tracing show. Collective. */
uly_status uly_trainer_trace(uly_trainer *trainer);
uly_status uly_trainer_trace_write(uly_trainer *trainer, const char *path);

/* Writes one line of JSON about a step to `file`: step, loss, grad_norm, lr, tokens, ranks, step_s,
 * tokens_per_s, wait_s, flops, sent_bytes, peak_bytes, arena_bytes and resident_bytes. If eval is
 * not NULL, it adds eval_loss and eval_by_position, a list of [begin, end, tokens, loss]. If
 * peak_flops is not 0, it adds that: the FLOP/s that the machine could reach. */
uly_status uly_report_write(FILE *file, const uly_step_report *report, const uly_eval_report *eval,
                            double peak_flops);

/* -------------------------------------------------------------------- 4. Data
 *
 *   uly_prepare_config prepare;
 *   uly_prepare_config_default(&prepare, sizeof prepare);
 *   prepare.inputs = (const char *const[]){"books", "more.txt"}, prepare.num_inputs = 2;
 *   prepare.out = "tokens"; // then train on tokens/train
 *   uly_prepare(&prepare, &report);
 */

/* What counts as a document. */
typedef enum uly_documents {
  ULY_DOCUMENTS_FILE = 0, /* each file                                                         */
  ULY_DOCUMENTS_LINE,     /* each line, without its end (\n or \r\n)                           */
  ULY_DOCUMENTS_JSONL     /* the text in each line of JSON Lines: a member of an object, whose
                             escapes are resolved                                              */
} uly_documents;

/* Fill it with uly_prepare_config_default() and change what you need. */
typedef struct uly_prepare_config {
  size_t size;
  /* [num_inputs] files and folders. The files and subfolders of a folder are taken in the order of
   * their names, byte by byte, without those whose names begin with '.'. */
  const char *const *inputs;
  int num_inputs;
  /* Folder for the shards; created if it does not exist. */
  const char *out;
  uly_documents documents;
  /* With JSON Lines, the member of each object that holds the text. */
  const char *text_key;
  /* Share of the documents that is held out for evaluation, from 0 to below 1. Whether a document
   * is held out depends on its place among all documents and on the seed. */
  double held_out;
  uint64_t seed;
  /* Tokens of each shard except the last, at most 2^31 - 1. */
  int64_t shard_tokens;
  /* Nonzero: files that are evidently not plain text are read all the same, and a byte-order mark
   * of UTF-8 is kept. */
  int any_bytes;
  /* Nonzero: lines of JSON Lines that hold no text are left out and counted; 0: the first of them
   * is a failure. */
  int skip_bad;
} uly_prepare_config;

void uly_prepare_config_default(uly_prepare_config *config, size_t size);

typedef struct uly_prepare_part {
  int64_t documents, tokens, shards, bytes;
  int64_t reserved[4];
} uly_prepare_part;

typedef struct uly_prepare_report {
  size_t size;
  int64_t files; /* files that were read */
  uly_prepare_part train, eval;
  /* Lines that were left out (skip_bad), and what was wrong with the first of them. */
  int64_t skipped;
  char first_skipped[256];
} uly_prepare_report;

/* Turns text into llm.c's token shards: out/train/000000.bin and so on, and out/eval/ for what is
 * held out. Each byte is a token, and token 256 ends each document, as the header of the shards
 * says. Empty documents are left out; a document may continue in the next shard. Memory does not
 * grow with the text. The folders get their names when everything is written and synced; one that
 * exists already is refused (ULY_ERR_CONFIG). ULY_ERR_DATA names a file that is not text, or the
 * file and line of something that is not JSON, is not an object, or has no text. Not collective. */
uly_status uly_prepare(const uly_prepare_config *config, uly_prepare_report *report);

/* ---------------------------------------------------------------- 5. Planning
 *
 *   uly_mesh_desc desc = {.size = sizeof desc, .dp = 4, .sp = 16};
 *   uly_mesh_create_offline(&desc, 0, &mesh); // 64 ranks, none started
 *   uly_plan(mesh, &config, &report);
 */

/* What one rank of a run holds and sends. The numbers come from the code with which the run itself
 * allocates and counts. With forward_only, the `step` is the evaluation of one sequence by each
 * group. */
typedef struct uly_plan_report {
  size_t size;
  int64_t num_params;
  int64_t tokens; /* T: tokens of the rank's slice */
  int64_t arena_bytes[ULY_MAX_ARENAS];
  /* Bytes of the file on local disk; 0 without stash. */
  int64_t stash_bytes;
  int64_t sent_bytes[ULY_MAX_TRAFFIC]; /* per step */
  /* FLOPs per step, over all ranks, as in uly_step_report; for one document per sequence. */
  double flops;
} uly_plan_report;

/* Plans a run without opening its data files. The mesh may be an offline one. Not collective. */
uly_status uly_plan(const uly_mesh *mesh, const uly_train_config *config, uly_plan_report *report);

/* -------------------------------------------------------------- 6. Generation
 *
 *   uly_checkpoint_read("run/step-0000000500", &info);
 *   uly_checkpoint_apply(&info, &config);
 *   uly_generator_create(mesh, &config, "run/step-0000000500", prompt, count, 100, &generator);
 *   for (int i = 0; i < 100; i++) {
 *     uly_sample(uly_generator_logits(generator), vocab, &sampling, count + i, &token, NULL);
 *     uly_generator_next(generator, token);
 *   }
 */

/* A trained model that continues a sequence. Each rank holds all weights, and the keys and values
 * of all tokens so far for the heads that it attends with. With zero_stage 3 it holds only its
 * share of the weights, which is slow, since every token gathers them all. A prompt of 64 tokens or
 * more goes through the model at once, cut over the ranks as in training, so that it may be longer
 * than one rank's memory; a shorter prompt goes through token by token.
 *
 * Logits have the same bits on 1, 2, 4 or 8 ranks, with any number of threads; on other numbers of
 * ranks they are the same up to rounding. */
typedef struct uly_generator uly_generator;

/* Plans, allocates, loads the weights of the checkpoint folder `dir`, and computes the logits of
 * the token after the prompt. All ranks pass the same arguments. The mesh has one group (dp 1) of
 * at most Hq ranks.
 *
 * These members of config are used, and all others are ignored: window, sparse (for strided and
 * fixed, `local` must not be 0: see uly_sparse_local), seed (for drawn blocks), dtype, threads,
 * zero_stage, memory_limit, pack and doc_end. With pack, a document ends with the token doc_end
 * (-1: 256, if the vocabulary is that of bytes), and tokens after it see nothing of it (blocks of
 * `sparse` then begin with the document).
 *
 * tokens: [count], at least one, copied. max_new: how many tokens may be added. ULY_ERR_CONFIG
 * names what cannot work: a token beyond the vocabulary, more tokens than a model with learned
 * positions has, a memory_limit that is too low. Collective. */
uly_status uly_generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                const int32_t *tokens, int64_t count, int64_t max_new,
                                uly_generator **out);
void uly_generator_destroy(uly_generator *generator);

/* Returns the logits of the next token, [vocab], the same on all ranks; valid until the next call
 * of uly_generator_next. */
const float *uly_generator_logits(const uly_generator *generator);

/* Adds a token, the same on all ranks, and computes the logits of the token after it. Returns
 * ULY_ERR_CONFIG if max_new tokens have been added already. After a failure the generator cannot be
 * used any more. Collective. */
uly_status uly_generator_next(uly_generator *generator, int32_t token);

/* What a generator holds on this rank, and how long it took. */
typedef struct uly_generator_report {
  size_t size;
  /* num_tokens: those of the prompt and those that were added. */
  int64_t vocab, num_tokens;
  int64_t num_params;
  double load_seconds, prompt_seconds;
  /* Keys and values are among the activations. */
  int64_t arena_bytes[ULY_MAX_ARENAS];
} uly_generator_report;

/* Reports what this rank holds and how long it took. Not collective. */
uly_status uly_generator_get_report(const uly_generator *generator, uly_generator_report *report);

/* How a token is drawn from logits. */
typedef struct uly_sampling {
  size_t size;
  /* Logits are divided by it; 0: always the most likely token. */
  double temperature;
  /* Only the top_k most likely tokens are drawn from; 0: all. */
  int64_t top_k;
  /* Of these, only the nucleus: the fewest most likely tokens whose probabilities add up to top_p;
   * 1: all. */
  double top_p;
  uint64_t seed;
} uly_sampling;

void uly_sampling_default(uly_sampling *sampling, size_t size); /* temperature 1, all tokens */

/* Draws a token. Tokens with equal logits are ordered by their number, the lower first. The draw is
 * a function of (seed, index) alone: pass the token's place in the sequence as index.
 * *log_probability (NULL: not wanted) receives the natural logarithm of the probability that the
 * model gives the token, without regard to sampling. Returns ULY_ERR_CONFIG for settings that mean
 * nothing and ULY_ERR_NONFINITE for logits that are not finite. ULY_ERR_MEMORY may come on one rank
 * alone: agree (uly_mesh_agree) before the next token. Not collective. */
uly_status uly_sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                      int64_t index, int32_t *token, double *log_probability);

/* --------------------------------------------------------------- 7. Attention
 *
 *   uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_CAUSAL};
 *   uly_attention_desc desc = {.size = sizeof desc, .num_tokens = 65536, .num_q_heads = 32,
 *                              .num_kv_heads = 8, .head_dim = 128, .dtype = ULY_BF16,
 *                              .masks = &mask};
 *   uly_attention_create(mesh, &desc, &plan);
 *   runs = uly_attention_tokens(plan, &num_runs); // my part of the stream
 *   uly_attention_forward(plan, q, k, v, o);
 *   uly_attention_backward(plan, d_o, d_q, d_k, d_v);
 */

typedef struct uly_block_layout uly_block_layout;       /* see Advanced: block-sparse layouts */
typedef struct uly_local_attention uly_local_attention; /* see Advanced: your own kernel      */

typedef enum uly_mask_kind {
  ULY_MASK_FULL = 0, /* every token sees every token            */
  ULY_MASK_CAUSAL    /* a token sees itself and those before it */
} uly_mask_kind;

/* Which keys a query sees: those that all members let through. Positions are those of the whole
 * stream, never of a slice. Every query must see at least one key. What a query does not see
 * reaches neither its output nor the gradients, even if it is infinite or not a number. */
typedef struct uly_mask {
  size_t size;
  uly_mask_kind kind;
  /* W: keys at a distance below W are seen; with a causal mask, the last W, the query's own among
   * them. 0: any distance. */
  int64_t window;
  /* [num_docs] first tokens of the documents that the stream consists of, ascending, the first of
   * them 0: a token sees only its own document. NULL and 0: the stream is one document. */
  const int64_t *doc_start;
  int64_t num_docs;
  /* NULL: no layout. */
  const uly_block_layout *blocks;
} uly_mask;

/* Your own local attention instead of the library's. Every rank calls both functions once for each
 * of its head groups. The pointers in args are valid only during the call. A function that fails
 * says what went wrong with uly_fail. */
typedef struct uly_attention_callback {
  uly_status (*forward)(void *user, const uly_local_attention *args);
  uly_status (*backward)(void *user, const uly_local_attention *args);
  void *user;
} uly_attention_callback;

/* Describes attention. num_tokens, the heads and head_dim must be given; 0 is a valid choice for
 * each of the other members. */
typedef struct uly_attention_desc {
  size_t size;
  /* N, tokens of the whole stream. */
  int64_t num_tokens;
  /* Hq, at least P. */
  int num_q_heads;
  /* Hkv, a divisor of Hq. If there are fewer than P, they are replicated when they are sent, and
   * their gradients are summed. */
  int num_kv_heads;
  /* d */
  int head_dim;
  uly_dtype dtype;
  /* [num_masks] masks that forward may choose from: for a model, one for each kind of layer. All
   * have the same documents. NULL: one mask that hides nothing. num_masks 0: one, if masks is
   * given. Copied, with everything that they point to. */
  const uly_mask *masks;
  int num_masks;
  /* q.k is multiplied by it before the softmax; 0: 1 / sqrt(d). */
  float scale;
  /* Slices consist of whole tiles, except at the end of the stream; 0: 1. */
  int64_t token_tile;
  /* Most documents that uly_attention_set_documents may give; 0: as many as the masks have. */
  int64_t max_docs;
  /* G: heads are computed, and dealt to the ranks, in G groups; a multiple of P, at most Hq. 0: P.
   * What a group computes has the same bits whatever P is. */
  int head_groups;
  /* forward NULL: the library's own kernels. */
  uly_attention_callback callback;
} uly_attention_desc;

void uly_attention_desc_default(uly_attention_desc *desc, size_t size);

/* Creates a plan of attention over the mesh's sp axis. Slices, heads, counts and offsets are all
 * computed and checked here. The plan may serve any number of layers. Fails on all ranks with
 * ULY_ERR_CONFIG if they do not pass the same description, naming the member that differs; and if
 * there are more ranks than query heads, naming the rank counts that work. With an offline mesh the
 * plan tells which rank holds what, and how many bytes, and computes nothing. Collective over the
 * mesh. */
typedef struct uly_attention uly_attention;
uly_status uly_attention_create(uly_mesh *mesh, const uly_attention_desc *desc,
                                uly_attention **out);
void uly_attention_destroy(uly_attention *plan);

/* Tokens [begin, begin + count) of the stream. */
typedef struct uly_token_run {
  int64_t begin, count;
} uly_token_run;

/* Returns the tokens that this rank holds, as runs in the order of its rows. Today there is one
 * run; other ways to cut the stream may have more. T is the sum of their counts. num_runs may be
 * NULL. The list belongs to the plan. */
const uly_token_run *uly_attention_tokens(const uly_attention *plan, int *num_runs);

/* Replaces the documents of all masks for the calls that follow; the list is as in uly_mask. NULL
 * and 0: the stream is one document. The list is copied into the room that desc.max_docs made.
 * Every rank gives the same. ULY_ERR_CONFIG names what is wrong with the list, and the plan then
 * keeps the documents that it had. Not collective; allocates nothing. */
uly_status uly_attention_set_documents(uly_attention *plan, const int64_t *doc_start,
                                       int64_t num_docs);

/* Returns the number of pairs of a query and a key that it sees under a mask, over all Hq query
 * heads, with the present documents. */
double uly_attention_pairs(const uly_attention *plan, int mask);

/* --- Simple: plain tensors in, plain tensors out.
 *
 * q, o: [T, Hq, d]; k, v: [T, Hkv, d]; all of the plan's dtype and contiguous, and NULL only if T
 * is 0. Positions (RoPE) are applied before, by the owner of the token. The calls are collective
 * over the sp ranks. These first agree on what they are about to do: if one rank cannot do it, all
 * return its failure.
 *
 * For one layer: forward uses the first mask and keeps in the plan what backward needs. Backward
 * belongs to the latest forward, and uses up what that kept. */
uly_status uly_attention_forward(uly_attention *plan, const void *q, const void *k, const void *v,
                                 void *o);
uly_status uly_attention_backward(uly_attention *plan, const void *d_o, void *d_q, void *d_k,
                                  void *d_v);

/* For several layers: what forward keeps for backward is an object of its own, one for each layer.
 * uly_attention_saved_create allocates its memory. Collective over the sp ranks. */
typedef struct uly_attention_saved uly_attention_saved;
uly_status uly_attention_saved_create(uly_attention *plan, uly_attention_saved **out);
void uly_attention_saved_destroy(uly_attention_saved *saved);

/* Makes the forward pass with any of the plan's masks. lse receives the natural logarithm of each
 * row's sum of exp(scale * q.k), f32, [T, Hq]; NULL: it is not wanted. saved NULL: nothing is
 * kept. */
uly_status uly_attention_forward_layer(uly_attention *plan, int mask, const void *q, const void *k,
                                       const void *v, void *o, float *lse,
                                       uly_attention_saved *saved);

/* Makes the backward pass of the latest forward that filled `saved`, which stays as it is: backward
 * may be repeated. Returns ULY_ERR_CONFIG if no forward has filled it, if that forward failed, if
 * it belongs to another plan, or if the documents have changed since. */
uly_status uly_attention_backward_layer(uly_attention *plan, const uly_attention_saved *saved,
                                        const void *d_o, void *d_q, void *d_k, void *d_v);

/* --- Explicit: the zero-copy buffers, for a model that projects straight into them.
 *
 *   uly_attention_bytes bytes = {.size = sizeof bytes};
 *   uly_attention_get_bytes(plan, &bytes); // then allocate the buffers
 *   uly_attention_block block = {.size = sizeof block};
 *   for (int b = 0; b < uly_attention_num_blocks(plan); b++) {
 *     uly_attention_get_block(plan, b, &block);
 *     ... // write its heads of my tokens from qkv_offset on
 *   }
 *   uly_attention_share_kv(plan, qkv_tokens);
 *   uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_ATTENTION_FORWARD, qkv_tokens, qkv_heads);
 *   uly_attention_local_forward(plan, 0, qkv_heads, o_heads, softmax);
 *   uly_attention_o_to_tokens(plan, ULY_TRAFFIC_ATTENTION_FORWARD, o_heads, o_tokens);
 *
 * Heads are dealt to G groups (desc.head_groups; G = P unless you ask for more), and groups to
 * ranks, R = G / P to each, from rank 0 on. They are exchanged in R rounds, one group of each rank
 * per round. The buffers of the token side hold one round after the other, and in each round P
 * parts; part p belongs to the group of rank p:
 *   qkv_tokens  part p: [T, w_p]    a row: the group's query, key and value heads
 *   o_tokens    part p: [T, v_p]    a row: its query heads
 * Those of the head side hold one round after the other, and in each round all tokens of my group's
 * heads:
 *   qkv_heads   [N, w]              w, v: w_p and v_p of this rank
 *   o_heads     [N, v]
 * No copy and no transpose lies between these buffers and the network: what arrives is the input of
 * attention, and what attention writes is what is sent. */
typedef struct uly_attention_block {
  size_t size;
  /* Query heads of the group, and key/value heads that these need. */
  int q_begin, q_count;
  int kv_begin, kv_count;
  /* 0 or 1: how many of the first of these key/value heads are also the last ones of the group
   * before. Write such a head to one block only, then call uly_attention_share_kv. */
  int kv_shared;
  /* Where the group's first row begins in qkv_tokens and in o_tokens, in elements. */
  int64_t qkv_offset;
  int64_t o_offset;
  /* From a row to the next, in elements, on both sides: w_p for Q, K and V, and v_p for O. */
  int64_t qkv_stride;
  int64_t o_stride;
  /* Where the group's first row begins in qkv_heads and in o_heads, on the rank that owns it. */
  int64_t qkv_heads_offset;
  int64_t o_heads_offset;
} uly_attention_block;

/* Return G, and what group `index` (0 .. G-1) holds and where. */
int uly_attention_num_blocks(const uly_attention *plan);
uly_status uly_attention_get_block(const uly_attention *plan, int index,
                                   uly_attention_block *block);

/* Bytes of the buffers above, of what forward tells backward about the softmax (two f32 for each
 * query and head; with a callback one, its lse), and of the workspace that the local kernels need
 * for backward. Buffers must be aligned to 4 bytes; 64 are fastest. */
typedef struct uly_attention_bytes {
  size_t size;
  int64_t qkv_tokens, qkv_heads, o_tokens, o_heads, softmax, workspace;
} uly_attention_bytes;

uly_status uly_attention_get_bytes(const uly_attention *plan, uly_attention_bytes *bytes);

/* Copy key/value heads that several ranks need from the first block that holds them to the others;
 * and, in backward, sum their gradients in f32 into the first. */
uly_status uly_attention_share_kv(const uly_attention *plan, void *qkv_tokens);
uly_status uly_attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens);

/* Exchange buffers: token side -> head side, and back. `kind` names the traffic that the bytes
 * count as. Collective over the sp ranks. */
uly_status uly_attention_qkv_to_heads(uly_attention *plan, uly_traffic kind, const void *qkv_tokens,
                                      void *qkv_heads);
uly_status uly_attention_qkv_to_tokens(uly_attention *plan, uly_traffic kind, const void *qkv_heads,
                                       void *qkv_tokens);
uly_status uly_attention_o_to_heads(uly_attention *plan, uly_traffic kind, const void *o_tokens,
                                    void *o_heads);
uly_status uly_attention_o_to_tokens(uly_attention *plan, uly_traffic kind, const void *o_heads,
                                     void *o_tokens);

/* Compute attention between the exchanges, on this rank's heads, with one of the plan's masks.
 * workspace may be NULL if it needs 0 bytes. Not collective. */
uly_status uly_attention_local_forward(uly_attention *plan, int mask, const void *qkv_heads,
                                       void *o_heads, void *softmax);
uly_status uly_attention_local_backward(uly_attention *plan, int mask, const void *qkv_heads,
                                        const void *o_heads, const void *softmax,
                                        const void *d_o_heads, void *d_qkv_heads, void *workspace);

/* --- Advanced: block-sparse layouts.
 *
 *   uly_sparse sparse = {.pattern = ULY_SPARSE_BIGBIRD, .block = 64, .global = 1, .random = 3};
 *   uly_block_layout_create(&sparse, ULY_MASK_CAUSAL, num_tokens, 1, &layout);
 *   mask.blocks = layout; // or lists of your own
 */

/* A block-sparse layout: the stream is cut into blocks of B tokens (the last may be shorter), and
 * each block of queries, a row, lists the blocks of keys that it sees. One layout serves all query
 * heads, or each has its own. uly_block_layout_create makes well-known layouts. */
struct uly_block_layout {
  size_t size;
  int64_t block;      /* B, at least 1 */
  int64_t num_blocks; /* M = ceil(N / B): rows per layout */
  /* 1: one for all query heads; Hq: one for each, one after the other. */
  int num_layouts;
  /* [num_layouts * M + 1]: row r of layout h lists the entries of cols from row_begin[h * M + r] up
   * to row_begin[h * M + r + 1]. */
  const int64_t *row_begin;
  const int32_t *cols; /* key blocks, ascending per row */
};

/* Creates the layout of a pattern. num_layouts: 1, or Hq if each query head should draw its own
 * random blocks. Returns ULY_ERR_CONFIG for negative counts, blocks below 1, and lists of more than
 * 2^31 blocks. Not collective. */
uly_status uly_block_layout_create(const uly_sparse *sparse, uly_mask_kind kind, int64_t num_tokens,
                                   int num_layouts, uly_block_layout **out);
void uly_block_layout_destroy(uly_block_layout *layout);

/* --- Advanced: your own kernel between the exchanges.
 *
 *   uly_status my_forward(void *user, const uly_local_attention *args);
 *   uly_status my_backward(void *user, const uly_local_attention *args);
 *   desc.callback = (uly_attention_callback){my_forward, my_backward, user};
 *
 * These functions need not know about ranks and exchanges. examples/02_attention_mpi.c has a pair
 * of them.
 */

/* What local attention works on: all N tokens of the stream, and the heads that this rank owns.
 * Query head i (0 <= i < num_q_heads) is head first_q_head + i of all Hq, the number by which a
 * mask with a layout for each head knows it; it uses key/value head (i + group_offset) /
 * group_size. Rows are qkv_stride or o_stride elements apart; the heads of a token are adjacent.
 * lse is the natural logarithm of each row's sum of exp(scale * q.k), f32, [num_q_heads, N]. */
struct uly_local_attention {
  size_t size;
  int64_t num_tokens;
  int num_q_heads, num_kv_heads, head_dim;
  int first_q_head;
  int group_size, group_offset;
  uly_dtype dtype;
  const uly_mask *mask; /* the one that forward named */
  float scale;
  int64_t qkv_stride, o_stride;
  const void *q, *k, *v; /* [N, heads, d], rows qkv_stride apart                */
  void *o;               /* [N, heads, d], rows o_stride apart: forward writes  */
  float *lse;            /* [num_q_heads, N]: forward writes, backward may read */
  const void *d_o;       /* backward reads: like o                              */
  void *d_q, *d_k, *d_v; /* backward writes: like q, k, v                       */
  /* Drives communication that is under way beside the call. The thread that called may call it now
   * and then, or never. NULL: nothing is under way. */
  void (*poll)(void *context);
  void *poll_context;
};

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

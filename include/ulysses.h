/*
 * ulysses.h - train transformers on very long sequences, spread over MPI ranks.
 *
 * The library implements DeepSpeed-Ulysses sequence parallelism (arXiv 2309.14509): every rank
 * holds a slice of the *sequence*. All parts of a transformer except attention treat tokens one by
 * one, so they need no communication. Just before attention, an all-to-all turns "all heads of my
 * tokens" into "all tokens of my heads"; attention runs locally and unchanged; a second all-to-all
 * reverses the first. The number of bytes that each rank sends stays constant when the sequence
 * length and the number of ranks grow together.
 *
 * This header starts with the simple calls and ends with the explicit ones. Each section begins
 * with an introduction and an example, which omits the error checks that section 1 shows. The
 * folder examples/ has complete programs, each with a page that explains it.
 *
 *   1. Status        what every call returns, and how to get the message
 *   2. Start, mesh   MPI, and which rank does what
 *   3. Training      a complete training run from C: configure, create, step, save
 *   4. Data          token shards from text; tokenizers
 *   5. Planning      the memory and the traffic of a run, without running it
 *   6. Generation    a trained model continues a sequence, token by token
 *   7. Attention     just the distributed attention, for your own model
 *        Simple        plain Q, K, V of my tokens in, plain O out
 *        Explicit      the zero-copy buffers, and each exchange as a separate call
 *        Advanced      block-sparse layouts; your own kernel between the exchanges
 *
 * Shapes are row-major. N is the number of tokens in the whole stream, T is the number of tokens in
 * this rank's slice, and P is the number of ranks that share a sequence. Hq and Hkv are the numbers
 * of query heads and of key/value heads, and d is the number of elements of a head. A micro-batch
 * is one stream of tokens: there is no batch dimension.
 *
 * Collective functions say so in their comments. Every rank of the mesh, or of the group that the
 * comment names, must call them, in the same order. Unless the comment says otherwise, a failure on
 * one rank makes all ranks return the same status and message, so no rank hangs. Any rank may call
 * the other functions on its own; their comments say "Not collective" where that is not obvious.
 *
 * Objects are opaque: *_create makes them, and *_destroy, which accepts NULL, frees them. Unless a
 * comment says otherwise, pointers are borrowed for the duration of the call and must not be NULL.
 * Given NULL, a function that returns a status returns ULY_ERR_CONFIG, and others return 0 or NULL.
 * Comments name the errors that are specific to a function; many functions may also fail because of
 * memory, files or MPI. Two threads must not use an object at the same time.
 *
 * Structs begin with their size, so that a program keeps working with a newer library whose structs
 * have grown. A program sets `size` before it passes a struct:
 *
 *   uly_step_report report = {.size = sizeof report};    // the library fills in the rest
 *   uly_mesh_desc desc = {.size = sizeof desc, .sp = 4}; // 0 stands for the default
 *   uly_train_config config;                             // where 0 does not, *_default sets
 *   uly_train_config_default(&config, sizeof config);    // the size and every member
 *
 * A library that is newer than the program uses the defaults for members that the program does not
 * know, and does not write to them. An older library refuses members that it does not know unless
 * they are 0, and sets them to 0 in what it returns. Structs that are members of other structs have
 * no size: their layout never changes, but they may have room for new members in `reserved`, which
 * must be 0. */
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
 * Every function that can fail returns a status, and uly_last_error() returns the message that goes
 * with it: what was wrong, where, and what to do about it. A program reports a failure like this:
 *
 *   uly_status status = uly_trainer_step(trainer, &report);
 *   if (status != ULY_OK) {
 *     fprintf(stderr, "%s\n", uly_last_error());
 *     return uly_status_exit_code(status);
 *   }
 *
 * None of the functions in this section is collective.
 */

typedef enum uly_status {
  ULY_OK = 0,
  ULY_ERR_CONFIG,    /* impossible setting, shape or mesh */
  ULY_ERR_DATA,      /* invalid token file or checkpoint */
  ULY_ERR_IO,        /* failed read or write */
  ULY_ERR_MEMORY,    /* failed allocation */
  ULY_ERR_COMM,      /* error reported by MPI */
  ULY_ERR_NONFINITE, /* infinite or NaN value */
  ULY_ERR_INTERNAL   /* bug in this library */
} uly_status;

/* Returns the message of the last failure on the calling thread. It names settings by their
 * members, such as config.seq_len or desc.head_dim. The result is never NULL, and is valid until
 * the next failing call on this thread. */
const char *uly_last_error(void);

/* Records a message, formatted as with printf, and returns `status`. Callbacks call it when they
 * fail, and programs may call it too. */
uly_status uly_fail(uly_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Sets the function that receives the library's warnings. It is called on the thread that caused
 * the warning, with a message that does not end with a newline. If the handler is NULL, which is
 * the default, warnings are written to standard error after "ulysses: warning: ". */
void uly_warning_set_handler(void (*handler)(void *user, const char *message), void *user);

/* Returns a short name for a status, such as "config" or "data"; never NULL. */
const char *uly_status_name(uly_status status);

/* Returns the exit code that a program should use for a status: 0 for success; 1 for memory, MPI
 * and internal errors; 2 for configuration errors; 3 for errors in data, checkpoints and files; 4
 * for a value that is not finite. */
int uly_status_exit_code(uly_status status);

/* The type in which tensors are stored. Sums are computed in f32 or wider. Only files have weights
 * in f16: nothing computes in it. */
typedef enum uly_dtype { ULY_F32 = 0, ULY_BF16 = 1, ULY_F16 = 2 } uly_dtype;

/* ------------------------------------------------------------ 2. Start and mesh
 *
 * A program starts MPI and arranges its ranks in a mesh, from which everything else is created.
 * Every program begins and ends like this, on every rank:
 *
 *   uly_mesh *mesh;
 *   uly_init(&argc, &argv);
 *   uly_mesh_create(NULL, &mesh); // all ranks share one sequence
 *   ...
 *   uly_mesh_destroy(mesh);
 *   uly_finalize();
 *
 * A program that uses MPI itself calls MPI_Init and MPI_Finalize instead, includes <mpi.h> before
 * this header, and passes a communicator: uly_mesh_create_mpi(comm, NULL, &mesh).
 */

/* Starts MPI for calls from the main thread (MPI_THREAD_FUNNELED), unless the program has started
 * it. argc and argv may be NULL. Returns ULY_ERR_CONFIG if MPI has already ended, since it cannot
 * be started twice, and ULY_ERR_COMM if it does not support threads. Collective over all
 * processes. */
uly_status uly_init(int *argc, char ***argv);

/* Ends MPI if uly_init started it. Collective over all processes. */
void uly_finalize(void);

/* Ends the whole job at once, on all ranks, with this exit code, and does not return. Use it for
 * errors that only one rank knows about. Not collective. */
void uly_abort(int exit_code);

/* Return the number of processes in the job and the index of this one: 1 and 0 while MPI is not
 * running. Not collective. */
int uly_world_size(void);
int uly_world_rank(void);

/* A mesh says what each rank does. From the innermost axis to the outermost, groups of `tp` ranks
 * share the work of each layer (tensor parallelism), `sp` such groups share one sequence (sequence
 * parallelism), `dp` sets of `sp` groups work on different sequences (data parallelism), and `pp`
 * stages of dp * sp * tp ranks each hold different layers (pipeline parallelism):
 * rank = ((pp_index * dp + dp_index) * sp + sp_index) * tp + tp_index. */
typedef struct uly_mesh uly_mesh;

/* The extents of a mesh's axes. For each of them, 0 stands for the default. */
typedef struct uly_mesh_desc {
  size_t size;
  /* Number of data-parallel groups. 0: as many as sp, tp and pp allow, or 1 if none of sp, ulysses
   * and ring is given. */
  int dp;
  /* Number of ranks, or of groups of tp ranks, that share a sequence: ulysses * ring. 0: as many as
   * dp, tp and pp allow if dp is given, or else what ulysses and ring give. */
  int sp;
  /* Number of ranks among which heads are exchanged. 0: sp / ring. */
  int ulysses;
  /* Number of ranks that pass keys and values around a ring. 0: sp / ulysses, or 1 if neither is
   * given. If both are above 1, each rank of the ring is a group of Ulysses, and there may be more
   * ranks than heads. */
  int ring;
  /* Number of ranks over which the heads, the MLP and the vocabulary are divided: tensor
   * parallelism with sequence parallelism, as in Megatron-LM (arXiv 2205.05198). These ranks are
   * neighbours, because they communicate in every layer. tp must divide the number of all ranks.
   * 0: 1. */
  int tp;
  /* Number of stages of a pipeline, which hold different layers: a micro-batch goes from stage to
   * stage, and meanwhile the other stages work on other micro-batches (arXiv 1806.03377,
   * 2104.04473). pp must divide the number of ranks that tp leaves. Only trainers and generators
   * use it. 0: 1. */
  int pp;
  /* Used instead of `ring`: the number of ranks that gather all keys and values at once. */
  int gather;
} uly_mesh_desc;

/* Sets the size, and every other member to 0, its default. */
void uly_mesh_desc_default(uly_mesh_desc *desc, size_t size);

/* Creates a mesh of all processes of the job. If desc is NULL, all of them share one sequence.
 * Returns ULY_ERR_CONFIG on all ranks if dp * sp * tp * pp is not the number of ranks or the ranks
 * describe different meshes. Collective over all processes. */
uly_status uly_mesh_create(const uly_mesh_desc *desc, uly_mesh **out);

/* Creates a mesh of the ranks of a communicator, which is given as its Fortran handle
 * (MPI_Comm_c2f, comm%MPI_VAL, comm.py2f()). The communicator is duplicated. Returns ULY_ERR_CONFIG
 * as uly_mesh_create does, and for MPI_COMM_NULL and intercommunicators. An MPI error that occurs
 * later ends the job, whatever error handler the communicator has, since the other ranks would wait
 * forever. Collective over the communicator. */
uly_status uly_mesh_create_fortran(int comm, const uly_mesh_desc *desc, uly_mesh **out);

#ifdef MPI_VERSION
/* Does the same with a C communicator, for programs that include <mpi.h> before this header. */
static inline uly_status uly_mesh_create_mpi(MPI_Comm comm, const uly_mesh_desc *desc,
                                             uly_mesh **out) {
  return uly_mesh_create_fortran((int)MPI_Comm_c2f(comm), desc, out);
}
#endif

/* Creates an offline mesh, with which a single process plans as rank `rank` of dp * sp * tp * pp
 * ranks that need not exist. It cannot communicate. If desc is NULL, the mesh has one rank. Returns
 * ULY_ERR_CONFIG if there is no such rank. Not collective. */
uly_status uly_mesh_create_offline(const uly_mesh_desc *desc, int rank, uly_mesh **out);

/* Frees a mesh and its communicators. Attention plans, trainers and generators that were created
 * from it can then only be destroyed: their collective functions return ULY_ERR_CONFIG. Collective
 * over the mesh, unlike every other *_destroy. */
void uly_mesh_destroy(uly_mesh *mesh);

/* Return the index of this rank, the number of ranks (dp * sp * tp * pp), and the extents of the
 * axes. */
int uly_mesh_rank(const uly_mesh *mesh);
int uly_mesh_size(const uly_mesh *mesh);
int uly_mesh_dp(const uly_mesh *mesh);
int uly_mesh_sp(const uly_mesh *mesh);
int uly_mesh_ulysses(const uly_mesh *mesh);
int uly_mesh_ring(const uly_mesh *mesh);
int uly_mesh_gather(const uly_mesh *mesh);
int uly_mesh_tp(const uly_mesh *mesh);
int uly_mesh_pp(const uly_mesh *mesh);
/* Return the index of this rank's group on the axis dp, and of its stage on the axis pp. */
int uly_mesh_dp_index(const uly_mesh *mesh);
int uly_mesh_pp_index(const uly_mesh *mesh);

/* Returns the number of OpenMP threads that a run uses on this rank unless its configuration sets
 * one: OMP_NUM_THREADS, or else the number of hardware threads of the machine divided by the number
 * of ranks on it, but no more than the process may use. */
int uly_mesh_threads(const uly_mesh *mesh);

/* Returns the instruction set for which this process's kernels were compiled: "reference", "base",
 * "avx2", "avx512" or "avx512bf16". "base" is what every CPU of the architecture has: SSE2 on
 * x86-64, NEON on aarch64. The result is the best that the CPU supports, unless the environment
 * variable ULYSSES_ISA names another. */
const char *uly_kernels_name(void);

/* What a process can find out about its machine. A limit or an amount of memory is -1 if the system
 * does not report it, or sets no limit. */
typedef struct uly_machine {
  size_t size;
  int64_t memory; /* total, in bytes */
  /* Bytes that may still be allocated within the limits of the control groups. */
  int64_t available;
  /* Bytes that the control groups (version 1 or 2) allow. */
  int64_t memory_limit;
  /* CPU time that the control groups allow, in thousandths of a hardware thread. */
  int64_t cpu_quota;
  /* Hardware threads of the machine, and how many of them this process may run on. */
  int hardware_threads;
  int allowed_threads;
  int ranks;   /* of the mesh, here */
  int threads; /* the result of uly_mesh_threads */
  /* Nonzero: bf16 matrix products use bf16 instructions; 0: they are computed in f32. */
  int multiplies_bf16;
  /* Nonzero: the CPU has AMX, but the system does not let programs use it. */
  int hides_amx;
  /* The result of uly_kernels_name, and what it would be without ULYSSES_ISA. */
  char kernels[16];
  char best_kernels[16];
  /* The instruction set that oneDNN uses for matrix products, as oneDNN calls it. */
  char products[32];
  /* A better instruction set that the CPU has but oneDNN does not use, or "". */
  char unused[16];
} uly_machine;

/* Describes the machine of this process. Not collective. */
uly_status uly_machine_look(const uly_mesh *mesh, uly_machine *machine);

/* Makes all ranks agree on whether any of them has failed. Returns ULY_OK on all ranks if all of
 * them passed ULY_OK; otherwise, all ranks get the status and the message of the lowest rank that
 * failed. Collective over the mesh. */
uly_status uly_mesh_agree(uly_mesh *mesh, uly_status status);

/* Checks that all ranks pass the same bytes. If they do not, returns ULY_ERR_CONFIG on all ranks,
 * with a message that names `what` and the first rank whose bytes differ from those of rank 0.
 * Collective over the mesh. */
uly_status uly_mesh_same(uly_mesh *mesh, const void *bytes, size_t count, const char *what);

/* ---------------------------------------------------------------- 3. Training
 *
 * A trainer is a complete training run: it reads the data, performs optimizer steps, evaluates, and
 * saves and loads checkpoints. Models are decoder-only transformers of the Llama and GPT-2
 * families. The default configuration trains a small byte-level model; only the data must be given:
 *
 *   uly_trainer *trainer;
 *   uly_train_config config;
 *   uly_step_report report = {.size = sizeof report};
 *   uly_train_config_default(&config, sizeof config);
 *   config.data = "my.txt";
 *   config.steps = 1000;
 *   uly_trainer_create(mesh, &config, &trainer);
 *   while (uly_trainer_steps_done(trainer) < config.steps)
 *     if (uly_trainer_step(trainer, &report) != ULY_OK) break;
 *   uly_trainer_save(trainer, "run");
 */

/* --- What defines a run. */

/* What the forward pass keeps for the backward pass, which recomputes the rest. A block is a
 * transformer layer. */
typedef enum uly_recompute {
  /* Keep the outputs of all matrix products and of attention. */
  ULY_RECOMPUTE_NONE = 0,
  /* Keep each block's input and its attention: backward repeats neither attention nor exchange. */
  ULY_RECOMPUTE_KEEP_ATTENTION,
  /* Keep only each block's input. */
  ULY_RECOMPUTE_FULL
} uly_recompute;

/* A scaled form of RoPE, with which a model takes sequences longer than those that it was trained
 * with. */
typedef enum uly_rope_scaling {
  /* Use the RoPE that the model's config.json describes. */
  ULY_ROPE_SCALING_AUTO = 0,
  /* Divide all frequencies by the factor (arXiv 2306.15595). */
  ULY_ROPE_SCALING_LINEAR,
  /* Divide low frequencies, as Llama 3.1 does. */
  ULY_ROPE_SCALING_LLAMA3,
  /* YaRN (arXiv 2309.00071): divide low frequencies, and sharpen attention. */
  ULY_ROPE_SCALING_YARN
} uly_rope_scaling;

/* The course of the learning rate after the warm-up, during which it rises linearly to `lr`. Cosine
 * and linear schedules end at min_lr_ratio * lr. */
typedef enum uly_schedule {
  ULY_SCHEDULE_COSINE = 0, /* falls along half a cosine */
  ULY_SCHEDULE_LINEAR,     /* falls in a straight line */
  ULY_SCHEDULE_CONSTANT    /* stays at lr */
} uly_schedule;

/* Patterns of block-sparse attention. The sequence is divided into blocks, and the queries of block
 * i see only the keys of certain blocks j (with a causal mask, only those with j <= i):
 *
 *   longformer  |i - j| < local; j < global; and all j if i < global
 *   bigbird     as longformer, plus `random` other blocks, drawn for each row of each layout
 *   strided     |i - j| < local; and every j whose distance from i is a multiple of local
 *   fixed       the blocks of i's stretch (a stretch is `local` blocks long), and the last
 *               `global` blocks of every stretch
 *
 * Which blocks are drawn depends only on the seed, the layout and the row. */
typedef enum uly_sparse_pattern {
  ULY_SPARSE_NONE = 0,
  ULY_SPARSE_LONGFORMER, /* arXiv 2004.05150 */
  ULY_SPARSE_STRIDED,    /* Sparse Transformer, arXiv 1904.10509 */
  ULY_SPARSE_FIXED,      /* Sparse Transformer, arXiv 1904.10509 */
  ULY_SPARSE_BIGBIRD     /* arXiv 2007.14062 */
} uly_sparse_pattern;

/* A pattern and its parameters. Local, global and random are numbers of blocks. */
typedef struct uly_sparse {
  uly_sparse_pattern pattern;
  /* Tokens per block, at least 1. */
  int64_t block;
  /* 0: 4 for longformer and bigbird, the square root of the number of blocks for the others. */
  int64_t local;
  int64_t global; /* longformer, bigbird, fixed */
  int64_t random; /* bigbird */
  uint64_t seed;  /* bigbird */
  int64_t reserved[4];
} uly_sparse;

/* Returns the number of local blocks for sequences of num_tokens tokens: sparse->local or, if that
 * is 0, the default, which may depend on the length. To evaluate a model at a length that it was
 * not trained at, first set `local` to the value for the training length. */
int64_t uly_sparse_local(const uly_sparse *sparse, int64_t num_tokens);

/* Everything that defines a run except the mesh. Fill it with uly_train_config_default() and change
 * what you need. Strings are copied. uly_settings() lists the default and the range of each member,
 * and says which members have an effect only together with others. */
typedef struct uly_train_config {
  size_t size;
  /* A preset (uly_model_presets) or the path of a Hugging Face config.json. NULL: the config.json
   * of `init` or, without `init`, the preset llama-4m. */
  const char *model;
  /* A file or a folder of files: plain text, whose bytes are the tokens, or token shards in the
   * format of llm.c. */
  const char *data;
  /* Held-out data of the same kinds; NULL: no evaluation. */
  const char *eval_data;
  int64_t seq_len; /* N: tokens per sequence */
  /* Nonzero: a sequence may hold several documents. Attention and positions stay within a document,
   * and the last token of each document has no label. A document that is cut off by the end of a
   * sequence continues in the next one as a separate document. */
  int pack;
  /* With pack, the token that ends each document. -1: the one that the files name. In text this is
   * 256, at the end of each file; in a shard, it is the fourth integer of the header minus 1. */
  int64_t doc_end;
  /* A token attends to the last `window` tokens, including itself. 0: to all tokens up to itself;
   * -1: as the model's config.json says (sliding_window). If only some layers of the model have a
   * window, it is the window of these layers. */
  int64_t window;
  /* A block-sparse pattern, which hides further tokens. sparse.seed is ignored: random blocks are
   * drawn with `seed`. */
  uly_sparse sparse;
  /* Number of steps in the whole run; the learning-rate schedule ends with the last one. */
  int64_t steps;
  /* Sequences per step, over all data-parallel groups: a multiple of the number of groups. A group
   * processes its sequences one after the other, with gradient accumulation. 0: one sequence for
   * each group. */
  int64_t batch;
  /* The largest number of sequences that an evaluation reads. */
  int64_t eval_windows;
  /* Seed for the initial weights, the order of the data, and random blocks. */
  uint64_t seed;
  /* Storage type of weights and activations. Master weights and optimizer states are always f32. */
  uly_dtype dtype;
  uly_recompute recompute;
  uly_schedule schedule;
  double lr;           /* peak learning rate */
  double min_lr_ratio; /* final learning rate / lr */
  int64_t warmup;      /* steps of linear warm-up */
  double beta1, beta2, eps;
  double weight_decay; /* decoupled (AdamW), matrices only */
  /* Gradients are clipped to this global norm; 0: no clipping. */
  double clip;
  /* OpenMP threads per rank; 0: as many as uly_mesh_threads returns. */
  int threads;
  /* Nonzero: the run evaluates and never trains. It holds the weights and what the forward pass
   * needs, but no gradients or optimizer states; the weights come from uly_trainer_load. `data` is
   * not needed, zero_stage must be 0 or 3, recompute and batch are ignored, and offload and stash
   * are refused. */
  int forward_only;
  /* ZeRO stage (arXiv 1910.02054), which says what is sharded over all ranks rather than
   * replicated. 0: nothing; 1: optimizer states; 2: gradients as well; 3: parameters as well. */
  int zero_stage;
  /* Type in which gradients are stored and reduced. In bf16, they are rounded after each sequence
   * of a step, so small contributions are lost. */
  uly_dtype grad_dtype;
  /* Nonzero: losses, weights and checkpoints are bit-for-bit the same for any number of ranks, mesh
   * and zero_stage. The number of ranks must be a power of two, and gradients must be f32. */
  int reproducible;
  /* With reproducible, the number of parts of a sequence that are summed separately: a power of
   * two, which is also the largest number of ranks that can share a sequence. The bits of the
   * results depend on it. */
  int leaves;
  /* A rank's heads are exchanged in this many parts, each of them while attention works on the
   * previous one. 0: chosen to suit the model. Ignored with reproducible, where `leaves` determines
   * how heads are grouped. */
  int rounds;
  /* Number of bytes that the arenas of a rank may take together. 0: the rank's share of its
   * machine's free memory; for a plan, no limit. */
  int64_t memory_limit;
  /* Folder on local disk for the optimizer states; NULL: they stay in memory. */
  const char *offload;
  /* Folder on local disk for what the forward pass keeps for the backward pass; memory then holds
   * only what two blocks keep and the input of a third, and in a pipeline the inputs and outputs of
   * its chunks. NULL: all of it stays in memory. Folders may differ from rank to rank. */
  const char *stash;
  /* Nonzero: uly_trainer_load accepts data that the checkpoint was not trained on, and the run
   * reads them from the beginning. 0: it refuses them. */
  int new_data;
  /* Nonzero: files without the header of a shard are read as bytes, whatever they contain. 0: files
   * that are evidently not plain text are refused (ULY_ERR_DATA): archives, compressed files,
   * UTF-16, files with a byte-order mark, arrays of numbers. */
  int any_bytes;
  /* File in which uly_trainer_remember_scan keeps the result of the scan of the data for the next
   * start; NULL: none. */
  const char *scan_file;
  /* With mesh.pp, the number of chunks of layers of each stage. Above 1 the schedule is interleaved
   * (arXiv 2104.04473): stages idle less, but send more often and keep more activations. */
  int pp_chunks;
  /* With mesh.pp and one chunk, the number of forward passes that a stage makes earlier than it
   * must for each stage after it. 1 hides the communication of stages if a link takes at most half
   * as long for a micro-batch as a stage does. Each keeps the activations of one more
   * micro-batch. */
  int pp_ahead;
  /* Scales the RoPE of a model that has no scaled form yet, or gives another factor to a model that
   * already has this form (llama3 or yarn). The config.json of checkpoints says so. */
  uly_rope_scaling rope_scaling;
  /* With rope_scaling: the number of positions that the model gets, divided by the number that it
   * was trained with. 0: what the sequence needs. */
  double rope_factor;
  /* Folder with the weights that the run begins with, instead of weights drawn with `seed`: a
   * Hugging Face folder, or a checkpoint. The parameters of `model` must have the same names and
   * shapes. Training begins at step 0 with a new optimizer. The files of the tokenizer in the
   * folder become part of the run's checkpoints. NULL: none. */
  const char *init;
} uly_train_config;

/* Sets the size, and every other member to its default. */
void uly_train_config_default(uly_train_config *config, size_t size);

/* Writes to `model`, which holds `capacity` bytes, the preset or the path of the model of a run
 * with `config`: config->model, or what follows from config->init. Returns ULY_ERR_CONFIG if
 * config->init does not exist or has no config.json. Not collective. */
uly_status uly_train_config_find_model(const uly_train_config *config, char *model,
                                       size_t capacity);

/* The type of a member of uly_train_config. */
typedef enum uly_setting_type {
  ULY_SETTING_TEXT = 0, /* const char *; NULL: none */
  ULY_SETTING_INTEGER,  /* int, int64_t or uint64_t */
  ULY_SETTING_BYTES,    /* int64_t: an amount of memory */
  ULY_SETTING_REAL,     /* double */
  ULY_SETTING_CHOICE,   /* enum: index of a word */
  ULY_SETTING_BOOLEAN   /* int: zero or nonzero */
} uly_setting_type;

/* The value of a setting: real for REAL, text for TEXT, and integer for all other types, where
 * UINT64_MAX stands for -1. */
typedef union uly_setting_value {
  uint64_t integer;
  double real;
  const char *text;
} uly_setting_value;

/* Bits that say in which uses of a configuration a setting has an effect. */
typedef enum uly_setting_use {
  ULY_USE_TRAINING = 1,
  ULY_USE_PLANNING = 2,
  ULY_USE_EVALUATION = 4, /* runs with forward_only */
  ULY_USE_GENERATION = 8
} uly_setting_use;

/* A setting: the description of a member of uly_train_config, so that programs can offer it to
 * users. */
typedef struct uly_setting {
  /* For example "seq_len" or "sparse.block"; messages write config.seq_len. */
  const char *name;
  /* A word that related settings share; NULL: only programs set this one, and users do not. */
  const char *topic;
  uly_setting_type type;
  /* Offset and size of the member in uly_train_config. */
  size_t offset, bytes;
  /* The default and the range. The max of a REAL is DBL_MAX if there is no limit. */
  uly_setting_value initial, min, max;
  int excludes_max;         /* nonzero: below max */
  const char *unset;        /* name of -1, if allowed */
  const char *const *words; /* CHOICE: ends with NULL */
  const char *placeholder;  /* TEXT: for example "PATH" */
  unsigned uses;            /* bits of uly_setting_use */
  /* Nonzero: all ranks must pass the same value; for a TEXT, either all ranks pass one or none
   * does. */
  int is_shared;
  /* The setting that must be given (neither 0 nor NULL) for this one to have an effect; NULL: none.
   * If it is not given, this one is refused unless it has its default value or, where the default
   * is not -1, is 0. */
  const char *needs;
  /* The key under which a checkpoint records the setting, such as "attention.window", and the
   * offset of the member in uly_checkpoint_info. NULL: checkpoints do not record it. */
  const char *record;
  size_t info_offset;
  const char *help; /* without a full stop */
  int64_t reserved[8];
} uly_setting;

/* Returns the static table of all settings, and sets *num, unless num is NULL, to their number. */
const uly_setting *uly_settings(size_t *num);

/* Return the names of the model presets, in a list that ends with NULL; and a one-line description
 * of one of them, or NULL if there is no preset with this name. */
const char *const *uly_model_presets(void);
const char *uly_model_preset_about(const char *name);

/* --- What it reports. */

/* The purposes for which ranks send bytes. */
typedef enum uly_traffic {
  /* The exchange of heads, on the axis ulysses. */
  ULY_TRAFFIC_ATTENTION_FORWARD = 0, /* Q, K, V and outputs */
  ULY_TRAFFIC_ATTENTION_BACKWARD,    /* their gradients */
  ULY_TRAFFIC_ATTENTION_RECOMPUTE,   /* the forward exchange, repeated */
  /* On the axes whose ranks have the same weights. */
  ULY_TRAFFIC_GRADIENTS,  /* sums of weight gradients */
  ULY_TRAFFIC_PARAMETERS, /* weights from their owners */
  /* On all axes. */
  ULY_TRAFFIC_CONTROL, /* token counts, losses, agreement */
  /* Keys and values on the axis ring or gather; and again, with their gradients. */
  ULY_TRAFFIC_KEYS_FORWARD,
  ULY_TRAFFIC_KEYS_BACKWARD,
  ULY_TRAFFIC_KEYS_RECOMPUTE,
  /* Rows and partial sums on the axis tp: in the forward pass; in the backward pass, with
   * gradients; and to recompute. */
  ULY_TRAFFIC_TENSOR_FORWARD,
  ULY_TRAFFIC_TENSOR_BACKWARD,
  ULY_TRAFFIC_TENSOR_RECOMPUTE,
  /* On the axis pp: the outputs of stages, and the gradients that are sent back. */
  ULY_TRAFFIC_PIPELINE_FORWARD,
  ULY_TRAFFIC_PIPELINE_BACKWARD,
  ULY_NUM_TRAFFIC
} uly_traffic;

/* Length of arrays in reports, with room for kinds of traffic that may be added later. */
enum { ULY_MAX_TRAFFIC = 32 };

/* Returns the name of a kind of traffic, such as "attention_forward". */
const char *uly_traffic_name(uly_traffic kind);

/* The arenas that memory is divided into. Each of them is allocated once. */
typedef enum uly_arena {
  ULY_ARENA_PARAMETERS = 0,
  ULY_ARENA_GRADIENTS,
  ULY_ARENA_OPTIMIZER,
  ULY_ARENA_ACTIVATIONS,
  ULY_ARENA_SCRATCH,
  ULY_NUM_ARENAS
} uly_arena;

/* Length of arrays in reports, with room for arenas that may be added later. */
enum { ULY_MAX_ARENAS = 8 };

/* Returns the name of an arena, such as "activations". */
const char *uly_arena_name(uly_arena arena);

/* What one step did. All ranks get the same report. */
typedef struct uly_step_report {
  size_t size;
  int64_t step; /* 1 for the first */
  /* Mean over all tokens that have a label, in nats per token. */
  double loss;
  double grad_norm; /* global, before clipping */
  double lr;        /* learning rate of this step */
  /* Tokens of the step's sequences, over all ranks. */
  int64_t tokens;
  int num_ranks;
  double seconds; /* wall time, slowest rank */
  /* Seconds of this time that ranks spent waiting for each other: the mean over the ranks. */
  double wait_seconds;
  /* FLOPs of the model, forward and backward, over all ranks. Recomputation is not counted, and
   * attention is counted only for pairs that the mask allows. */
  double flops;
  /* Bytes sent by the rank that sent the most, indexed by uly_traffic. */
  int64_t sent_bytes[ULY_MAX_TRAFFIC];
  /* High-water marks, indexed by uly_arena, of the rank whose marks have the largest sum; and this
   * sum. */
  int64_t arena_bytes[ULY_MAX_ARENAS];
  int64_t peak_bytes;
  /* Peak resident set of the largest process, as the operating system counts it; 0 if unknown. */
  int64_t resident_bytes;
  /* Nonzero: uly_trainer_skip skipped the step, and nothing was updated. */
  int is_skipped;
  /* Number of sequences that were passed over because none of their tokens has a label. */
  int64_t passed_over;
  /* How evenly the ranks that share a sequence work: the longest work time (time without waits) of
   * such a rank, divided by the mean work time; the largest such ratio over all sequences. 1: all
   * work equally long. */
  double imbalance;
  /* The part of the time of the passes, from 0 to 1, in which ranks of a pipeline wait for other
   * stages, or have nothing left to do: the mean over the ranks. 0 without a pipeline. */
  double bubble;
} uly_step_report;

/* What one rank did in a step. Members with the same names have the same meaning as in
 * uly_step_report. */
typedef struct uly_rank_report {
  size_t size;
  /* Duration of the step in seconds, and how much of it this rank spent waiting for others. */
  double seconds, wait_seconds;
  /* Number of pairs of a query and a key that it sees, over all query heads, in the group's
   * sequences. */
  double pairs;
  int64_t sent_bytes[ULY_MAX_TRAFFIC];
  int64_t arena_bytes[ULY_MAX_ARENAS];
  int64_t resident_bytes;
  /* Duration of the forward and backward passes, and how much of it this rank spent waiting for
   * other stages of the pipeline. */
  double pass_seconds, stage_wait_seconds;
} uly_rank_report;

/* --- The run. */

typedef struct uly_trainer uly_trainer; /* a training run */

/* Creates a training run: plans it, opens the data, allocates memory, and initializes the weights
 * from the seed. Before that, the ranks scan all tokens once, each rank a part of them. Sequences
 * without labels, which pack may produce, are passed over in training and evaluation. Returns
 * ULY_ERR_CONFIG if the run cannot work or does not fit into memory, and ULY_ERR_DATA if no token
 * has a label or if a token is outside the vocabulary, in which case the message says where it is.
 * With forward_only, steps and saves return ULY_ERR_CONFIG. Collective over the mesh. */
uly_status uly_trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out);

/* Frees a trainer. A save in progress is abandoned. */
void uly_trainer_destroy(uly_trainer *trainer);

/* The format in which the data were read. */
typedef enum uly_data_kind {
  ULY_DATA_TEXT = 0, /* bytes */
  ULY_DATA_U16,      /* shards of uint16 tokens */
  ULY_DATA_U32       /* shards of uint32 tokens */
} uly_data_kind;

/* What the data consist of. */
typedef struct uly_data_info {
  uly_data_kind kind;
  int64_t files, tokens;
  /* -1: the files do not say where documents end, or not all of the data were scanned. */
  int64_t documents;
  /* Number of sequences of seq_len tokens, and how many of those that were scanned have no
   * labels. */
  int64_t sequences, without_label;
  int64_t reserved[4];
} uly_data_info;

/* Return what the training data and the held-out data of a run consist of, or NULL if the run has
 * none. The result lives as long as the trainer. */
const uly_data_info *uly_trainer_data_info(const uly_trainer *trainer);
const uly_data_info *uly_trainer_eval_data_info(const uly_trainer *trainer);

/* What a training run would begin with. */
typedef struct uly_start_report {
  size_t size;
  int64_t num_params;
  /* As returned by uly_trainer_num_windows and uly_trainer_num_eval_windows. */
  int64_t num_windows, num_eval_windows;
  /* Number of steps that the checkpoint has done; 0 without a checkpoint. */
  int64_t steps_done;
  /* All 0 if the run has no such data. */
  uly_data_info data, eval_data;
} uly_start_report;

/* Writes the result of the scan of the data to config.scan_file, if that is set, so that the next
 * start on the same data (see uly_trainer_load) need not scan them again. The scan of held-out data
 * is kept only if an evaluation may read all of them. A failure does not harm the run. Not
 * collective: one rank calls it, and the next start reads the file of rank 0. */
uly_status uly_trainer_remember_scan(const uly_trainer *trainer);

/* Checks whether a run can start, without allocating an arena or writing a file. It performs the
 * checks of uly_trainer_create and, unless `checkpoint` is NULL, those of uly_trainer_load, and
 * returns the same errors. It covers the settings, the model, the mesh, the data, the memory,
 * whether all ranks were started in the same way, and the formats, shapes and model of the
 * checkpoint, but neither the folders for offload and stash nor the checksums of tensors. The
 * report is the same on all ranks, and is filled in only on success. Collective over the mesh. */
uly_status uly_trainer_check(uly_mesh *mesh, const uly_train_config *config, const char *checkpoint,
                             uly_start_report *report);

/* Returns the number of steps done so far, including those of the checkpoint that was loaded, if
 * any. */
int64_t uly_trainer_steps_done(const uly_trainer *trainer);

/* Return the number of trainable parameters, the number of windows (sequences of seq_len tokens) in
 * the training data, and the number of windows of the held-out data that an evaluation reads. */
int64_t uly_trainer_num_params(const uly_trainer *trainer);
int64_t uly_trainer_num_windows(const uly_trainer *trainer);
int64_t uly_trainer_num_eval_windows(const uly_trainer *trainer);

/* Performs one optimizer step. Returns ULY_ERR_NONFINITE if the loss or the gradient is not finite:
 * the message says which tensor of which block was the first that was not (the step is repeated to
 * find out), and the report is filled in as after a success. This error, ULY_ERR_DATA, and a
 * failure to read data or to use the stash on disk leave the weights as they were. If the update
 * itself fails (because of optimizer states on disk), the weights are a mixture of old and new
 * ones, and steps and saves return ULY_ERR_CONFIG until a checkpoint is loaded. Collective over the
 * mesh. */
uly_status uly_trainer_step(uly_trainer *trainer, uly_step_report *report);

/* Reports what this rank alone did in the latest step; all 0 before the first. Not collective. */
uly_status uly_trainer_rank_report(const uly_trainer *trainer, uly_rank_report *report);

/* Skips a step that returned ULY_ERR_NONFINITE: counts it as done, without an update. `report` is
 * the one that the step filled in; its is_skipped is set. Returns ULY_ERR_CONFIG after any other
 * step. Collective over the mesh. */
uly_status uly_trainer_skip(uly_trainer *trainer, uly_step_report *report);

/* After a step that returned ULY_ERR_NONFINITE, loads an earlier checkpoint as uly_trainer_load
 * does, but continues with the data that follow those of the failed step. Returns ULY_ERR_CONFIG
 * after any other step. Collective over the mesh. */
uly_status uly_trainer_rollback(uly_trainer *trainer, const char *dir);

/* The loss of the tokens at positions [begin, end) of their sequence or, with pack, of their
 * document. A model that makes use of a long context has a lower loss at later positions. */
typedef struct uly_eval_bin {
  int64_t begin, end;
  /* Number of tokens evaluated at these positions, over all sequences. */
  int64_t tokens;
  /* Their mean loss, in nats per token; 0 if there are none. */
  double loss;
} uly_eval_bin;

/* What an evaluation found. All ranks get the same report. */
#define ULY_MAX_EVAL_BINS 40
typedef struct uly_eval_report {
  size_t size;
  /* Mean over all evaluated tokens, in nats per token. */
  double loss;
  int64_t tokens; /* evaluated; at least 1 */
  /* Nonzero: `stops` ended the evaluation before all sequences were evaluated. */
  int is_stopped;
  int num_bins;
  /* [0, 16), [16, 32), [32, 64), ... up to seq_len. */
  uly_eval_bin bins[ULY_MAX_EVAL_BINS];
} uly_eval_report;

/* Computes the mean loss over the held-out data. In each round, every data-parallel group evaluates
 * one sequence. `stops`, which may be NULL, is called on every rank before each round except the
 * first; if it returns nonzero on any rank, the evaluation ends with the results so far. Returns
 * ULY_ERR_CONFIG without eval_data, or with forward_only before weights were loaded, and
 * ULY_ERR_DATA if no token that was read has a label. Collective over the mesh. */
uly_status uly_trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                uly_eval_report *report);

/* --- Checkpoints.
 *
 * A checkpoint is a folder, step-<10 digits>, with the weights and the optimizer states as
 * safetensors, the model as a Hugging Face config.json, and a trainer.json. Its bytes do not depend
 * on the number of ranks that save it, and any number of ranks can load it. */

/* Saves a checkpoint in the folder out_dir, which is created if it does not exist. Each rank writes
 * its share. The checkpoint is written under another name, synced, and then renamed, so that a
 * half-written one never has the final name. Returns ULY_ERR_IO if that fails, and ULY_ERR_CONFIG
 * with forward_only or while the weights are a mixture (see uly_trainer_step). Collective over the
 * mesh. */
uly_status uly_trainer_save(uly_trainer *trainer, const char *out_dir);

/* Starts to save a checkpoint while training continues. The next step computes while the files are
 * written, and waits for the save to finish before it changes the weights, so no copy is needed. If
 * a save fails, earlier checkpoints stay as they were, and the run can continue. Collective over
 * the mesh. */
uly_status uly_trainer_save_start(uly_trainer *trainer, const char *out_dir);

/* Waits for a save in progress. Returns the status of the latest save, but only once: later calls
 * return ULY_OK. Collective over the mesh. */
uly_status uly_trainer_save_finish(uly_trainer *trainer);

/* Creates out_dir and tries to write there, before a run needs it for checkpoints. Returns
 * ULY_ERR_IO if that fails. Not collective: call it on one rank, then call uly_mesh_agree. */
uly_status uly_checkpoint_prepare(const char *out_dir);

/* Removes from out_dir what interrupted saves and removals have left behind. Never call it while
 * another run is saving there: it would remove the files of that save. Not collective. */
uly_status uly_checkpoint_remove_remains(const char *out_dir);

/* Continues from the checkpoint folder `dir`, whatever number of ranks, mesh and zero_stage it was
 * saved with. The results are the same bit for bit on the same ranks or, with `reproducible`, on
 * any ranks, and otherwise the same up to rounding. With forward_only, only the weights are read;
 * the optimizer file may be missing, and `dir` may be a Hugging Face folder.
 *
 * To train, a run must have the seed of the checkpoint, and its data unless config.new_data is set.
 * Data are the same if their files have the same contents in the same order; names do not matter.
 * Of a file larger than 4 MiB, only 64 pieces of 64 KiB each, spread over the file, are compared.
 * Rank 0 warns (uly_warning_set_handler) if the data, seq_len, or the way the model attends has
 * changed.
 *
 * Returns ULY_ERR_CONFIG if the seed or the data differ, and ULY_ERR_DATA if the checkpoint is
 * damaged or belongs to another model. If the checkpoint is refused before its tensors are read,
 * the trainer stays as it was. After a later failure it may hold parts of the checkpoint, and
 * refuses steps, evaluations and saves until a load succeeds. Collective over the mesh. */
uly_status uly_trainer_load(uly_trainer *trainer, const char *dir);

/* Writes to `path`, which holds `capacity` bytes, the path of the newest checkpoint in out_dir (the
 * one with the highest step), or an empty string if there is none. A checkpoint that has lost files
 * counts too, and fails to load, so that no run silently falls back to an older one. Returns
 * ULY_ERR_DATA if out_dir is a file. Not collective. */
uly_status uly_checkpoint_latest(const char *out_dir, char *path, size_t capacity);

/* Removes checkpoints from out_dir, except the keep_last newest ones (those with the highest steps)
 * and those whose step is a multiple of keep_every (0: none is kept for that reason). With
 * keep_last 0, all are kept. A checkpoint is first renamed, so that a half-removed one is never
 * mistaken for a complete one; uly_checkpoint_remove_remains clears up after an interruption.
 * Anything else in the folder stays. If a removal fails, the message names the first checkpoint
 * that could not be removed; the others are removed anyway. Never call it while a save is in
 * progress. Not collective: one rank calls it. */
uly_status uly_checkpoint_prune(const char *out_dir, int64_t keep_last, int64_t keep_every);

/* A model, as its config.json describes it. */
typedef struct uly_model_info {
  /* "llama", "mistral", "ministral", "qwen2", "qwen3", "smollm3" or "gpt2". */
  char type[16];
  int64_t hidden, ffn, vocab, max_positions;
  int num_layers, num_q_heads, num_kv_heads, head_dim;
  int has_layer_norm; /* LayerNorm with biases; 0: RMSNorm */
  double norm_eps;
  double rope_theta; /* 0: learned positions */
  int is_gated;      /* nonzero: SwiGLU; 0: GELU */
  int is_tied;       /* head and embedding share weights */
  int has_qkv_bias, has_o_bias, has_mlp_bias;
  int has_qk_norm; /* of every head of Q and K */
  /* Scaled RoPE, by the name that config.json has for it ("default": not scaled), and its
   * factor. */
  char rope_type[12];
  double rope_factor;
  /* Numbers of layers: those that see only a window, and those that do not rotate. */
  int num_window_layers, num_no_rope_layers;
  int64_t window; /* 0: none */
  int64_t reserved[11];
} uly_model_info;

/* Describes the model of a run with `config`: what its config.json or the preset says, changed by
 * the window, the scaling of RoPE and the length of the sequences. Returns ULY_ERR_CONFIG if the
 * model cannot be read. Not collective. */
uly_status uly_train_config_describe_model(const uly_train_config *config, uly_model_info *info);

/* What a checkpoint contains. Members that uly_train_config also has say how the model was trained:
 * use the model with the same values. */
typedef struct uly_checkpoint_info {
  size_t size;
  int64_t step, num_params, num_tensors, bytes; /* bytes of all tensors */
  int64_t seq_len, sequences_done;
  uint64_t seed;
  int64_t window, doc_end;
  /* The members `local` and `seed` have the values that the run used. */
  uly_sparse sparse;
  int pack;
  uly_dtype dtype;
  uly_model_info model;
  /* Nonzero: this is not a checkpoint but a Hugging Face folder, which has only weights. step and
   * sequences_done are 0, and bytes and num_tensors count what its files hold. The other members
   * have the defaults of uly_train_config (so window is -1: as config.json says), but seq_len is at
   * most the number of positions of the model. */
  int is_weights_only;
  int num_files; /* with tensors */
} uly_checkpoint_info;

/* Reads the description in a checkpoint folder, or in a Hugging Face folder, but not its tensors.
 * Returns ULY_ERR_DATA if the folder is not a valid one. Neither this function nor the next three
 * need a trainer, and none of them is collective. */
uly_status uly_checkpoint_read(const char *dir, uly_checkpoint_info *info);

/* Sets the members of config that a checkpoint records (seq_len, pack, doc_end, window, sparse,
 * dtype and seed) to the values in info. Those that have no effect get their defaults. */
uly_status uly_checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config);

/* Reads a whole checkpoint folder and checks it: formats, shapes, and the checksum of every tensor.
 * Hugging Face folders have no checksums, and are refused (ULY_ERR_DATA). The function fills in
 * info as uly_checkpoint_read does. The message of ULY_ERR_DATA says what is damaged. */
uly_status uly_checkpoint_verify(const char *dir, uly_checkpoint_info *info);

/* A tensor in a checkpoint file. */
typedef struct uly_tensor_info {
  size_t size;
  /* For example "model.safetensors" and "model.norm.weight"; valid during the visit. */
  const char *file, *name;
  uly_dtype dtype;
  int num_dims; /* 0: a scalar */
  int64_t dims[4];
  int64_t bytes;
} uly_tensor_info;

/* Calls `visit` for each tensor of a checkpoint, in the order in which they are stored in its
 * files; or for each tensor of a Hugging Face folder that can be read, in the order of names. */
uly_status uly_checkpoint_list(const char *dir,
                               void (*visit)(void *user, const uly_tensor_info *tensor),
                               void *user);

/* --- Models for other programs.
 * An export is a Hugging Face folder, which transformers and the programs that follow it can read:
 * config.json, the weights as safetensors, and the files of the tokenizer.
 *
 *   uly_export_config config;
 *   uly_export_config_default(&config, sizeof config);
 *   config.source = "run/step-0000000500", config.out = "model";
 *   uly_export(&config, &report);
 */

/* Says what is exported, and how. Fill it with uly_export_config_default() and change what you
 * need. */
typedef struct uly_export_config {
  size_t size;
  /* A checkpoint, or a Hugging Face folder, which is then converted. */
  const char *source;
  /* The folder to make. It may exist, but must be empty; it may also be a link to an empty one. */
  const char *out;
  /* The type of the weights, a uly_dtype; -1: that of the weights in the source, or f32 if they
   * have several types. */
  int dtype;
  /* The most bytes of weights in a file. A larger tensor has a file of its own. */
  int64_t shard_bytes;
} uly_export_config;

/* Sets the size, and every other member to its default: dtype -1, shard_bytes 5 * 10^9. */
void uly_export_config_default(uly_export_config *config, size_t size);

/* Reports what was exported. */
typedef struct uly_export_report {
  size_t size;
  int64_t num_params;
  /* Tensors and files of the weights, their bytes, and their type. */
  int64_t num_tensors, num_files, bytes;
  uly_dtype dtype;
  /* Files of the tokenizer, and others that were copied. */
  int64_t num_companions;
} uly_export_report;

/* Exports a model. Rounding is to nearest even; an export in the type of the source has the same
 * bits. The weights of a checkpoint are compared with its checksums. Memory use does not grow with
 * the model. The folder is written under another name, synced, and then renamed. Returns
 * ULY_ERR_CONFIG if out is not empty, or if transformers has no model that computes the same (with
 * block-sparse attention, for instance); ULY_ERR_DATA if the source is damaged, or if a finite
 * weight would become infinite; and ULY_ERR_IO if writing fails. Not collective. */
uly_status uly_export(const uly_export_config *config, uly_export_report *report);

/* --- Traces and metrics. */

/* Starts to record what this rank does and when: blocks, exchanges, gathers, reductions, updates,
 * saves, and transfers of the stash. Collective over the mesh. */
uly_status uly_trainer_trace(uly_trainer *trainer);

/* Writes what all ranks have recorded to one file in the Trace Event format, which Perfetto and
 * chrome://tracing can display. The ranks write in turn, so all of them must see the same file at
 * `path`. Returns ULY_ERR_IO if that fails. Collective over the mesh. */
uly_status uly_trainer_trace_write(uly_trainer *trainer, const char *path);

/* Writes one line of JSON about a step to `file`: step, loss, grad_norm, lr, tokens, ranks, step_s,
 * tokens_per_s, wait_s, flops, sent_bytes, peak_bytes, arena_bytes and resident_bytes. It adds
 * skipped, passed_over, and peak_flops (the FLOP/s that the machine could reach) if they are not 0.
 * If eval is not NULL, it adds eval_loss and eval_by_position, a list of [begin, end, tokens,
 * loss]. A loss or norm that is not finite becomes null. Returns ULY_ERR_IO if writing fails. Not
 * collective. */
uly_status uly_report_write(FILE *file, const uly_step_report *report, const uly_eval_report *eval,
                            double peak_flops);

/* -------------------------------------------------------------------- 4. Data
 *
 * A run can read plain text as it is. Prepare the text first if its documents are lines or JSON
 * Lines objects, or if some of the documents should be held out for evaluation:
 *
 *   uly_prepare_config prepare;
 *   uly_prepare_report report = {.size = sizeof report};
 *   uly_prepare_config_default(&prepare, sizeof prepare);
 *   prepare.inputs = (const char *const[]){"books", "more.txt"}, prepare.num_inputs = 2;
 *   prepare.out = "tokens"; // then train on tokens/train
 *   uly_prepare(&prepare, &report);
 */

/* What counts as a document. A line does not include its line ending (\n or \r\n). In JSON Lines,
 * each line is an object, and one of its members is the text, whose escapes are resolved. */
typedef enum uly_documents {
  ULY_DOCUMENTS_FILE = 0, /* each file */
  ULY_DOCUMENTS_LINE,     /* each line */
  ULY_DOCUMENTS_JSONL     /* each object of JSON Lines */
} uly_documents;

/* How far uly_prepare has come. */
typedef struct uly_prepare_progress {
  size_t size;
  /* Bytes that were read, and bytes of all files; all_bytes is 0 if that is not known, since one of
   * them is a pipe. */
  int64_t bytes, all_bytes;
  int64_t tokens;
  double seconds; /* since the beginning */
} uly_prepare_progress;

/* What to prepare, and how. Fill it with uly_prepare_config_default() and change what you need. */
typedef struct uly_prepare_config {
  size_t size;
  /* [num_inputs] files and folders. The files and subfolders of a folder are read in the byte order
   * of their names, except those whose names begin with '.'. */
  const char *const *inputs;
  int num_inputs;
  /* Folder for the shards; created if it does not exist. */
  const char *out;
  uly_documents documents;
  /* With JSON Lines, the member of each object that holds the text. */
  const char *text_key;
  /* Probability with which a document is held out for evaluation: at least 0 and below 1. Whether
   * it is depends on its position among all documents and on the seed. */
  double held_out;
  uint64_t seed;
  /* Number of tokens in each shard except the last, at most 2^31 - 1. */
  int64_t shard_tokens;
  /* Nonzero: files that are evidently not plain text are read anyway, and a UTF-8 byte-order mark
   * is kept. A tokenizer gets U+FFFD in place of bytes that are not UTF-8. */
  int any_bytes;
  /* Nonzero: lines of JSON Lines that contain no text are left out and counted. 0: the first such
   * line is an error. */
  int skip_bad;
  /* A tokenizer that makes the tokens, as uly_tokenizer_open reads it: a file, or a folder. NULL:
   * each byte is a token. */
  const char *tokenizer;
  /* The token that ends each document; -1: the one with which the tokenizer ends a text. Only with
   * a tokenizer. */
  int64_t doc_end;
  /* Threads that use the tokenizer; 0: as many as there are cores. The shards are the same with any
   * number. */
  int threads;
  /* Called about ten times a second, in the calling thread, with the progress of the work; may be
   * NULL. */
  void (*progress)(void *user, const uly_prepare_progress *progress);
  void *user;
} uly_prepare_config;

/* Sets the size, and every other member to its default. */
void uly_prepare_config_default(uly_prepare_config *config, size_t size);

/* What was written to train/ or to eval/. */
typedef struct uly_prepare_part {
  int64_t documents, tokens, shards, bytes;
  int64_t reserved[4];
} uly_prepare_part;

/* What uly_prepare did. */
typedef struct uly_prepare_report {
  size_t size;
  int64_t files; /* number of files read */
  uly_prepare_part train, eval;
  /* Number of lines that were left out (skip_bad), and what was wrong with the first of them. */
  int64_t skipped;
  char first_skipped[256];
  /* Bytes of the files, and how long they took. */
  int64_t bytes;
  double seconds;
  /* The token that ends each document. */
  int64_t doc_end;
} uly_prepare_report;

/* Turns text into token shards in the format of llm.c: out/train/000000.bin and so on, and
 * out/eval/ for held-out documents. Without a tokenizer each byte is a token, and token 256 ends
 * each document. With one, the names of special tokens in a text are ordinary text, and documents
 * begin with no special token; its files are copied to `out`, and the header of each shard has its
 * hash. The header also says which token ends documents. Tokens are uint16 if the vocabulary fits,
 * and uint32 otherwise. Empty documents are left out; a document may continue in the next shard.
 * Memory use does not grow with the size of the text. The folders get their names when everything
 * is written and synced.
 *
 * Returns ULY_ERR_CONFIG if one of the folders already exists, if `out` lies inside an input or
 * holds another tokenizer, or if no document is left for training or evaluation. Returns
 * ULY_ERR_DATA if a file is not text (with a tokenizer, UTF-8), or if a line is not JSON, is not an
 * object, or has no text; the message names the file, and the place in it. Not collective. */
uly_status uly_prepare(const uly_prepare_config *config, uly_prepare_report *report);

/* --- Tokenizers.
 *
 * A tokenizer turns text into the tokens of a model, and tokens into text:
 *
 *   uly_tokenizer *tokenizer;
 *   uly_token_list tokens = {.size = sizeof tokens};
 *   uly_text text = {.size = sizeof text};
 *   uly_tokenizer_open("Qwen3-0.6B", NULL, &tokenizer);
 *   uly_tokenizer_encode(tokenizer, "Sing, O goddess", 15, 0, &tokens);
 *   uly_tokenizer_decode(tokenizer, tokens.tokens, tokens.num, 0, &text);
 *   ...
 *   uly_text_free(&text);
 *   uly_token_list_free(&tokens);
 *   uly_tokenizer_close(tokenizer);
 *
 * The tokens are those of the Python packages `tokenizers`, `sentencepiece` and `tiktoken`. Several
 * threads may use one tokenizer at the same time. None of these functions is collective.
 */

typedef struct uly_tokenizer uly_tokenizer;

/* Adds what a file of ranks of `tiktoken` does not say. */
typedef struct uly_tokenizer_config {
  size_t size;
  /* The regular expression, in the syntax of `tiktoken`, that divides a text into words. NULL: the
   * file must be one of those that the library knows (GPT-2, cl100k, o200k, Llama 3 and 4,
   * Qwen). */
  const char *pattern;
  /* [num_special_tokens] names of special tokens, numbered from the largest rank + 1. Only with a
   * pattern. */
  const char *const *special_tokens;
  int num_special_tokens;
} uly_tokenizer_config;

/* Opens a tokenizer: a tokenizer.json whose model is BPE, a tokenizer.model of SentencePiece, a
 * file of ranks of `tiktoken`, or a folder that holds one of these (the first that is there, in
 * this order; after them vocab.json with merges.txt, as GPT-2 has them). tokenizer_config.json
 * beside the file says which tokens begin and end a text; apart from that, the file alone decides,
 * and there is a warning (uly_warning_set_handler) if tokenizer_config.json or added_tokens.json
 * names tokens that it does not have, or has with other ids. config may be NULL. Returns ULY_ERR_IO
 * if there is no such file, and ULY_ERR_DATA if it is not valid or needs something that the library
 * does not support; the message names it. On failure *out is NULL. */
uly_status uly_tokenizer_open(const char *path, const uly_tokenizer_config *config,
                              uly_tokenizer **out);
void uly_tokenizer_close(uly_tokenizer *tokenizer);
/* Returns nonzero if a folder holds a file that uly_tokenizer_open would read. */
int uly_tokenizer_is_in(const char *folder);

typedef struct uly_tokenizer_info {
  size_t size;
  /* "byte-level BPE", "BPE", "SentencePiece" or "tiktoken". */
  char kind[24];
  /* Number of tokens, and the largest id + 1: the smallest vocabulary of a model that fits. */
  int64_t num_tokens, vocab;
  /* The tokens that begin a text, end one, and stand for what has no token; -1: there is none. */
  int64_t bos, eos, unk;
  /* Hash of everything that determines the tokens of a text, but not of how a file is written: a
   * tokenizer.json with other spaces, or with merges in another form, has the same hash. */
  uint64_t hash;
} uly_tokenizer_info;

uly_status uly_tokenizer_get_info(const uly_tokenizer *tokenizer, uly_tokenizer_info *info);

/* Tokens, to which calls append; {.size = sizeof list} is an empty list. */
typedef struct uly_token_list {
  size_t size;
  int32_t *tokens; /* [num] */
  int64_t num, capacity;
} uly_token_list;

/* Frees the tokens, and leaves an empty list. */
void uly_token_list_free(uly_token_list *list);

/* Bytes, to which calls append; {.size = sizeof text} is an empty text. They are UTF-8 unless
 * tokens put the bytes of characters together in ways that no text does. */
typedef struct uly_text {
  size_t size;
  char *bytes; /* [num] */
  int64_t num, capacity;
  /* Number of tokens that were decoded into it, and of characters that its beginning has lost. */
  int64_t num_tokens, num_lost;
} uly_text;

/* Frees the bytes, and leaves an empty text. */
void uly_text_free(uly_text *text);

typedef enum uly_tokenize_flags {
  /* Names of special tokens in the text become these tokens, as in the package `tokenizers`.
   * Otherwise they are ordinary text, which is safer: whoever writes a text cannot end it. */
  ULY_TOKENIZE_SPECIAL = 1,
  /* The tokens that the tokenizer puts around a text are added, such as the one that begins it. */
  ULY_TOKENIZE_AROUND = 2,
  /* Bytes that are not UTF-8 are replaced by U+FFFD, as Python does with errors="replace". */
  ULY_TOKENIZE_REPLACE = 4
} uly_tokenize_flags;

/* Appends the tokens of a text of num_bytes bytes, which may include NUL. Returns ULY_ERR_DATA if
 * the text is not UTF-8; the message says where. On failure the list is as it was. */
uly_status uly_tokenizer_encode(const uly_tokenizer *tokenizer, const char *text, int64_t num_bytes,
                                unsigned flags, uly_token_list *tokens);

typedef enum uly_detokenize_flags {
  ULY_DETOKENIZE_SKIP_SPECIAL = 1 /* special tokens are left out */
} uly_detokenize_flags;

/* Appends the text of num_tokens tokens. A text that is decoded by several calls, for example token
 * by token, is the same as one that is decoded at once: text->num_tokens says whether a token is
 * the first, which some tokenizers treat in a special way. The text of a byte-level tokenizer is
 * exactly what was encoded. Returns ULY_ERR_DATA if there is no such token. */
uly_status uly_tokenizer_decode(const uly_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t num_tokens, unsigned flags, uly_text *text);

/* Gives the name of a token, which is not text but what the file calls it, and its number of bytes.
 * The name stays valid until the tokenizer is closed. A token of a byte-level tokenizer is named by
 * its bytes. Returns ULY_ERR_DATA if there is no such token. */
uly_status uly_tokenizer_name(const uly_tokenizer *tokenizer, int64_t token, const char **name,
                              int64_t *num_bytes);
/* Gives the token with a name of num_bytes bytes, or -1 if there is none. */
uly_status uly_tokenizer_find(const uly_tokenizer *tokenizer, const char *name, int64_t num_bytes,
                              int64_t *token);

/* ---------------------------------------------------------------- 5. Planning
 *
 * A plan says how much one rank of a run would hold and send. A single process can plan for any
 * number of ranks, since the mesh may be an offline one:
 *
 *   uly_mesh_desc desc = {.size = sizeof desc, .dp = 4, .sp = 16};
 *   uly_plan_report report = {.size = sizeof report};
 *   uly_mesh_create_offline(&desc, 0, &mesh); // 64 ranks, none started
 *   uly_plan(mesh, &config, &report);
 */

/* How much one rank of a run holds and sends. The numbers come from the same code that the run
 * itself uses to allocate and to count. With forward_only, a step is the evaluation of one sequence
 * per group. */
typedef struct uly_plan_report {
  size_t size;
  int64_t num_params;
  int64_t tokens; /* T: tokens of the slice */
  int64_t arena_bytes[ULY_MAX_ARENAS];
  /* Bytes of the file on local disk; 0 without stash. */
  int64_t stash_bytes;
  int64_t sent_bytes[ULY_MAX_TRAFFIC]; /* per step */
  /* FLOPs per step, as in uly_step_report, if each sequence is a single document. */
  double flops;
  /* In a pipeline: the number of layers of this rank's stage, the largest number of micro-batches
   * that are in flight in a chunk of these layers, and the part of the passes' time in which the
   * stages are expected to wait for each other (uly_step_report.bubble), by the FLOPs of layers and
   * head. Without a pipeline: all layers, 1 and 0. */
  int num_layers;
  int64_t in_flight;
  double bubble;
} uly_plan_report;

/* Plans a run without opening its data files. Returns ULY_ERR_CONFIG if the configuration cannot
 * work, or if the rank needs more than config.memory_limit; in the latter case the report is filled
 * in anyway. Not collective. */
uly_status uly_plan(const uly_mesh *mesh, const uly_train_config *config, uly_plan_report *report);

/* -------------------------------------------------------------- 6. Generation
 *
 * A generator continues a sequence with a trained model. It computes the logits of the next token;
 * uly_sample draws a token from them, and uly_generator_next appends it:
 *
 *   uly_train_config_default(&config, sizeof config);
 *   uly_checkpoint_read("run/step-0000000500", &info);
 *   uly_checkpoint_apply(&info, &config);
 *   uly_generator_create(mesh, &config, "run/step-0000000500", prompt, count, 100, &generator);
 *   for (int i = 0; i < 100; i++) {
 *     const float *logits = uly_generator_logits(generator);
 *     uly_sample(logits, info.model.vocab, &sampling, count + i, &token, NULL);
 *     uly_generator_next(generator, token);
 *   }
 */

/* A trained model that continues a sequence. Each rank holds all weights, and the keys and values
 * of all tokens so far for its own heads. With zero_stage 3 it holds only its shards of the
 * weights, which is slow, since all of them are gathered for every token. A prompt of 64 tokens or
 * more goes through the model at once, split over the ranks as in training, so it may be longer
 * than one rank's memory allows; a shorter prompt goes through token by token.
 *
 * Logits are bit-for-bit the same on 1, 2, 4 or 8 ranks, with any number of threads; on other
 * numbers of ranks they are the same up to rounding. */
typedef struct uly_generator uly_generator;

/* Creates a generator with the weights of `dir`, a checkpoint or a Hugging Face folder, and
 * computes the logits of the token after the prompt. `tokens`, [count], is the prompt, which has at
 * least one token and is copied. `max_new` is the number of tokens that may be appended. All ranks
 * pass the same arguments. The mesh must have one group (dp 1), without a ring or a gather; heads
 * are divided over all of its ranks, at most Hq of them.
 *
 * These members of config are used, and all others are ignored: window, sparse (for strided and
 * fixed, `local` must not be 0: see uly_sparse_local), seed (for random blocks), dtype, threads,
 * zero_stage, memory_limit, pack and doc_end. With pack, a document ends with the token doc_end
 * (-1: 256, with the byte vocabulary), and later tokens cannot see it; the blocks of `sparse` start
 * again with each document.
 *
 * Returns ULY_ERR_CONFIG for a token outside the vocabulary, for more tokens than the model has
 * learned positions, and if there is not enough memory. Collective over the mesh. */
uly_status uly_generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                const int32_t *tokens, int64_t count, int64_t max_new,
                                uly_generator **out);
void uly_generator_destroy(uly_generator *generator);

/* Returns the logits of the next token, [vocab]: the same on all ranks, and valid until the next
 * call of uly_generator_next. Not collective. */
const float *uly_generator_logits(const uly_generator *generator);

/* Appends a token, which must be the same on all ranks, and computes the logits of the token after
 * it. Returns ULY_ERR_CONFIG, and changes nothing, if the token is not in the vocabulary, if the
 * ranks pass different ones, or if max_new tokens have already been appended. After any other
 * failure the generator can no longer be used. Collective over the mesh. */
uly_status uly_generator_next(uly_generator *generator, int32_t token);

/* What a generator holds on this rank, and how long its creation took. */
typedef struct uly_generator_report {
  size_t size;
  /* Size of the vocabulary, and number of tokens so far, including the prompt. */
  int64_t vocab, num_tokens;
  int64_t num_params;
  double load_seconds, prompt_seconds;
  /* Keys and values are among the activations. */
  int64_t arena_bytes[ULY_MAX_ARENAS];
} uly_generator_report;

/* Fills in the report of this rank. Not collective. */
uly_status uly_generator_get_report(const uly_generator *generator, uly_generator_report *report);

/* How a token is drawn from logits: temperature is applied first, then top-k, then nucleus
 * sampling. */
typedef struct uly_sampling {
  size_t size;
  /* Logits are divided by this; 0: always take the most likely token. */
  double temperature;
  /* Only the top_k most likely tokens are candidates; 0: all are. */
  int64_t top_k;
  /* Of these candidates, only the nucleus remains: the smallest set of most likely tokens with at
   * least this share of the candidates' total probability; 1: all remain. */
  double top_p;
  uint64_t seed;
} uly_sampling;

/* Sets the size, and the other members so that any token may be drawn: temperature 1, top_p 1. */
void uly_sampling_default(uly_sampling *sampling, size_t size);

/* Draws a token from logits, [vocab]. If tokens have equal logits, the lower token comes first. The
 * random number depends only on (seed, index): pass the token's position in the sequence as index.
 * *log_probability (NULL: not wanted) receives the natural logarithm of the probability that the
 * model gives the token, regardless of how it was sampled. Returns ULY_ERR_CONFIG if a member of
 * sampling is out of range and ULY_ERR_NONFINITE if a logit is not finite. ULY_ERR_MEMORY may occur
 * on one rank alone: call uly_mesh_agree before the next token. Not collective. */
uly_status uly_sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                      int64_t index, int32_t *token, double *log_probability);

/* --------------------------------------------------------------- 7. Attention
 *
 * Your own model can use just the distributed attention. A plan divides the stream of tokens and
 * the heads among the ranks of the mesh's sp axis, and computes the forward and backward passes of
 * attention, for any number of layers:
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
typedef struct uly_local_attention uly_local_attention; /* see Advanced: your own kernel */

typedef enum uly_mask_kind {
  ULY_MASK_FULL = 0, /* every token sees every token */
  ULY_MASK_CAUSAL    /* no token sees later tokens */
} uly_mask_kind;

/* Which keys a query sees: those that all members allow. Positions are those in the whole stream,
 * never those in a slice. Every query must see at least one key. What a query does not see affects
 * neither its output nor the gradients, even if it is infinite or NaN. */
typedef struct uly_mask {
  size_t size;
  uly_mask_kind kind;
  /* W: a query sees the keys at a distance below W; with a causal mask, these are the last W keys,
   * including its own. 0: any distance. */
  int64_t window;
  /* [num_docs] first tokens of the documents in the stream, in ascending order from 0: a token sees
   * only its own document. NULL and 0: the stream is one document. */
  const int64_t *doc_start;
  int64_t num_docs;
  /* A block-sparse layout; NULL: none. */
  const uly_block_layout *blocks;
} uly_mask;

/* Your own local attention in place of the library's. In each pass, every rank calls the function
 * once for each of its head groups. The pointers in args are valid only during the call. A function
 * that fails calls uly_fail to say what went wrong. */
typedef struct uly_attention_callback {
  uly_status (*forward)(void *user, const uly_local_attention *args);
  uly_status (*backward)(void *user, const uly_local_attention *args);
  void *user;
} uly_attention_callback;

/* Describes attention. num_tokens, the numbers of heads and head_dim must be given; for the other
 * members, 0 is a valid choice. */
typedef struct uly_attention_desc {
  size_t size;
  int64_t num_tokens; /* N: tokens of the stream */
  int num_q_heads;    /* Hq, at least P */
  /* Hkv, a divisor of Hq. If there are fewer key/value heads than P, they are replicated when they
   * are sent, and their gradients are summed. */
  int num_kv_heads;
  /* d: at most 256, unless there is a callback. */
  int head_dim;
  uly_dtype dtype;
  /* [num_masks], at most 1024: the masks that a forward call may choose from; for a model, one for
   * each kind of layer. All have the same documents. NULL: one mask that hides nothing. If masks is
   * given, num_masks 0 stands for 1. Masks are copied, with everything that they point to. */
  const uly_mask *masks;
  int num_masks;
  /* q.k is multiplied by this before the softmax; 0: 1 / sqrt(d). */
  float scale;
  /* Slices consist of whole tiles of this many tokens, except at the end of the stream; 0: 1. */
  int64_t token_tile;
  /* The largest number of documents that may be passed to uly_attention_set_documents; 0: as many
   * as the masks have. */
  int64_t max_docs;
  /* G: the number of groups in which heads are assigned to ranks and computed: a multiple of P, at
   * most Hq; 0: P. The results of a group are bit-for-bit the same whatever P is. */
  int head_groups;
  /* Both functions NULL: the library's own kernels. */
  uly_attention_callback callback;
} uly_attention_desc;

/* Sets the size, and every other member to 0. */
void uly_attention_desc_default(uly_attention_desc *desc, size_t size);

typedef struct uly_attention uly_attention; /* an attention plan */

/* Creates a plan: computes and checks all slices, heads, counts and offsets once. A plan on an
 * offline mesh says which rank holds what, and how many bytes, but cannot compute. Returns
 * ULY_ERR_CONFIG on all ranks if the mesh's tp is above 1, or if the description cannot work or
 * differs among the ranks; the message names the member that differs or, if there are more ranks
 * than query heads, the numbers of ranks that work. Collective over the mesh. */
uly_status uly_attention_create(uly_mesh *mesh, const uly_attention_desc *desc,
                                uly_attention **out);
void uly_attention_destroy(uly_attention *plan);

/* Tokens [begin, begin + count) of the stream. */
typedef struct uly_token_run {
  int64_t begin, count;
} uly_token_run;

/* Returns the tokens that this rank holds, as a list of runs in the order of its rows; T is the sum
 * of their counts. At present there is one run, but other ways of dividing the stream may have
 * more. num_runs may be NULL. The list belongs to the plan. */
const uly_token_run *uly_attention_tokens(const uly_attention *plan, int *num_runs);

/* Replaces the documents of all masks for the calls that follow. The list has the form described at
 * uly_mask and must be the same on every rank. It is copied into the space that desc.max_docs
 * reserved; nothing is allocated. If the list is invalid, returns ULY_ERR_CONFIG, and the plan
 * keeps its documents. Not collective. */
uly_status uly_attention_set_documents(uly_attention *plan, const int64_t *doc_start,
                                       int64_t num_docs);

/* Returns the number of pairs of a query and a key that it sees under a mask, over all Hq query
 * heads, with the current documents. */
double uly_attention_pairs(const uly_attention *plan, int mask);

/* --- Simple: plain tensors in, plain tensors out.
 *
 * q, o: [T, Hq, d]; k, v: [T, Hkv, d]; gradients have the shapes of their tensors. All have the
 * plan's dtype and are contiguous; they may be NULL only if T is 0. Positions (RoPE) are applied
 * beforehand, by the owner of the token. In each call, the ranks first agree on what they are about
 * to do: if one rank cannot do it, all ranks return its failure. The first forward call allocates
 * the plan's buffers. */

/* Compute attention for a model with one layer. The forward call uses the first mask, and the plan
 * keeps what the backward call needs. The backward call belongs to the latest forward call, and
 * uses up what that kept: a second backward call returns ULY_ERR_CONFIG. Collective over the sp
 * ranks. */
uly_status uly_attention_forward(uly_attention *plan, const void *q, const void *k, const void *v,
                                 void *o);
uly_status uly_attention_backward(uly_attention *plan, const void *d_o, void *d_q, void *d_k,
                                  void *d_v);

/* What a forward call keeps for its backward call. A model with several layers has one such object
 * for each layer. */
typedef struct uly_attention_saved uly_attention_saved;

/* Creates the object and allocates its memory. Collective over the sp ranks. */
uly_status uly_attention_saved_create(uly_attention *plan, uly_attention_saved **out);
void uly_attention_saved_destroy(uly_attention_saved *saved);

/* Performs the forward pass of a layer with any of the plan's masks, and keeps what the backward
 * pass needs in `saved`, unless that is NULL. lse, f32 [T, Hq], receives the natural logarithm of
 * each row's sum of exp(scale * q.k); pass NULL on all ranks if it is not needed. Collective over
 * the sp ranks. */
uly_status uly_attention_forward_layer(uly_attention *plan, int mask, const void *q, const void *k,
                                       const void *v, void *o, float *lse,
                                       uly_attention_saved *saved);

/* Performs the backward pass that belongs to the latest forward call that filled `saved`. This
 * stays unchanged, so the backward pass may be repeated. Returns ULY_ERR_CONFIG if no forward call
 * has filled `saved`, if that call failed, if `saved` belongs to another plan, or if the documents
 * have changed since then. Collective over the sp ranks. */
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
 * The heads are divided into G groups (desc.head_groups), and each rank gets R = G / P consecutive
 * groups, from rank 0 on. The groups are exchanged in R rounds, one group of each rank per round. A
 * row of group g has w_g elements in the buffers of Q, K and V (its query heads, then its key
 * heads, then its value heads) and v_g elements in those of O (its query heads). The buffers hold
 * one round after the other. For each round they hold:
 *
 *   qkv_tokens  [T, w_g] for each rank's group g, from rank 0 on
 *   o_tokens    [T, v_g] for the same groups
 *   qkv_heads   [N, w_g] for this rank's group g
 *   o_heads     [N, v_g] for the same group
 *
 * There is no copy or transpose between these buffers and the network: attention reads what has
 * arrived where it is, and what attention writes is sent from where it is. */

/* The block of a group: its heads, and where its rows are. Offsets and strides are in elements. */
typedef struct uly_attention_block {
  size_t size;
  /* Query heads of the group, and the key/value heads that these need. */
  int q_begin, q_count;
  int kv_begin, kv_count;
  /* 1: the first of these key/value heads is also the last one of the previous group; 0: it is not.
   * Write such a head only to the first block that holds it, then call uly_attention_share_kv. */
  int kv_shared;
  /* Where the group's first row begins in qkv_tokens and in o_tokens. */
  int64_t qkv_offset;
  int64_t o_offset;
  /* Distances from one row to the next, on both sides: w_g and v_g. */
  int64_t qkv_stride;
  int64_t o_stride;
  /* Where the group's first row begins in qkv_heads and in o_heads, on the rank that owns it. */
  int64_t qkv_heads_offset;
  int64_t o_heads_offset;
} uly_attention_block;

/* Return G, and describe the block of group `index` (from 0 to G-1). Not collective. */
int uly_attention_num_blocks(const uly_attention *plan);
uly_status uly_attention_get_block(const uly_attention *plan, int index,
                                   uly_attention_block *block);

/* The sizes, in bytes, of the buffers above; of `softmax`, in which the forward pass leaves two f32
 * values per query and head for the backward pass (with a callback, only one: its lse); and of the
 * workspace of the backward kernels. Buffers must be aligned to 4 bytes; alignment to 64 bytes is
 * fastest. */
typedef struct uly_attention_bytes {
  size_t size;
  int64_t qkv_tokens, qkv_heads, o_tokens, o_heads, softmax, workspace;
} uly_attention_bytes;

/* Fills in the sizes that this rank needs. Not collective. */
uly_status uly_attention_get_bytes(const uly_attention *plan, uly_attention_bytes *bytes);

/* Copy key/value heads that several groups need from the first block that holds them to the others;
 * and, in the backward pass, sum their gradients in f32 into the first. Not collective. */
uly_status uly_attention_share_kv(const uly_attention *plan, void *qkv_tokens);
uly_status uly_attention_sum_kv(const uly_attention *plan, void *d_qkv_tokens);

/* Exchange all rounds of the buffers, from the token side to the head side or back. `kind` says
 * which traffic the bytes are counted as. Buffers on the token side may be NULL if T is 0. Unlike
 * the simple calls, these do not agree first: if one rank passes arguments that are refused
 * (ULY_ERR_CONFIG), the others wait for it forever. Collective over the sp ranks. */
uly_status uly_attention_qkv_to_heads(uly_attention *plan, uly_traffic kind, const void *qkv_tokens,
                                      void *qkv_heads);
uly_status uly_attention_qkv_to_tokens(uly_attention *plan, uly_traffic kind, const void *qkv_heads,
                                       void *qkv_tokens);
uly_status uly_attention_o_to_heads(uly_attention *plan, uly_traffic kind, const void *o_tokens,
                                    void *o_heads);
uly_status uly_attention_o_to_tokens(uly_attention *plan, uly_traffic kind, const void *o_heads,
                                     void *o_tokens);

/* Compute attention between the exchanges, on this rank's heads, with one of the plan's masks.
 * workspace may be NULL if its size is 0 bytes. If a callback fails, its status is returned. Not
 * collective. */
uly_status uly_attention_local_forward(uly_attention *plan, int mask, const void *qkv_heads,
                                       void *o_heads, void *softmax);
uly_status uly_attention_local_backward(uly_attention *plan, int mask, const void *qkv_heads,
                                        const void *o_heads, const void *softmax,
                                        const void *d_o_heads, void *d_qkv_heads, void *workspace);

/* --- Advanced: block-sparse layouts.
 *
 * A mask may have a layout, which lists the blocks of keys that each block of queries sees. The
 * library can make layouts of well-known patterns:
 *
 *   uly_sparse sparse = {.pattern = ULY_SPARSE_BIGBIRD, .block = 64, .global = 1, .random = 3};
 *   uly_block_layout_create(&sparse, ULY_MASK_CAUSAL, num_tokens, 1, &layout);
 *   mask.blocks = layout; // or lists of your own
 */

/* A block-sparse layout. The stream is divided into M blocks of B tokens (the last may be shorter).
 * Each block of queries is a row, which lists the blocks of keys that it sees. */
struct uly_block_layout {
  size_t size;
  int64_t block;      /* B, at least 1 */
  int64_t num_blocks; /* M = ceil(N / B) */
  /* 1: one layout for all query heads; Hq: one for each, one after the other. */
  int num_layouts;
  /* [num_layouts * M + 1]: row r of layout h consists of the entries of cols from row_begin[h * M +
   * r] up to, but not including, row_begin[h * M + r + 1]. */
  const int64_t *row_begin;
  const int32_t *cols; /* key blocks, ascending within rows */
};

/* Creates the layout of a pattern. num_layouts is 1, or Hq if each query head should have its own
 * random blocks. Returns ULY_ERR_CONFIG for negative counts, blocks below 1, and lists of more than
 * 2^31 blocks. Not collective. */
uly_status uly_block_layout_create(const uly_sparse *sparse, uly_mask_kind kind, int64_t num_tokens,
                                   int num_layouts, uly_block_layout **out);
void uly_block_layout_destroy(uly_block_layout *layout);

/* --- Advanced: your own kernel between the exchanges.
 *
 * A plan can call your own local attention in place of the library's. Your functions need not know
 * about ranks and exchanges; examples/02_attention_mpi.c has a pair of such functions:
 *
 *   uly_status my_forward(void *user, const uly_local_attention *args);
 *   uly_status my_backward(void *user, const uly_local_attention *args);
 *   desc.callback = (uly_attention_callback){my_forward, my_backward, user};
 */

/* What local attention works on: all N tokens of the stream, and the heads of one of this rank's
 * groups. Query head i (0 <= i < num_q_heads) is head first_q_head + i of all Hq, which is also its
 * index in a mask with one layout per head; it uses key/value head (i + group_offset) / group_size.
 * Rows are qkv_stride or o_stride elements apart; the heads of a token are adjacent. */
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
  /* [N, heads, d], rows qkv_stride apart. */
  const void *q, *k, *v;
  /* [N, heads, d], rows o_stride apart. Forward writes it, and backward may read it. */
  void *o;
  /* [num_q_heads, N]: the natural logarithm of each row's sum of exp(scale * q.k). Forward writes
   * it, and backward may read it. */
  float *lse;
  const void *d_o; /* like o; backward reads it */
  /* Like q, k and v; backward writes them. */
  void *d_q, *d_k, *d_v;
  /* Drives communication that is in progress during the call. The thread that called the function
   * may call this now and then, or never. NULL: nothing is in progress. */
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

/* A kernel table around that of this CPU: see wrapped_ops.h. */
#include "wrapped_ops.h"

#include <xxhash.h>

const uly__ops *__real_uly__ops_get(void);
const uly__ops *__wrap_uly__ops_get(void);

static const uly__ops *real;

/* Hashes what the time of a call depends on. */
#define SHAPE(...) XXH3_64bits((const int64_t[]){__VA_ARGS__}, sizeof(int64_t[]){__VA_ARGS__})

#define OP(name, shape, parameters, ...)                     \
  static void op_##name parameters {                         \
    const op_call call = {.op = #name, .shape_hash = shape}; \
    if (op_begins(&call)) real->name(__VA_ARGS__);           \
    op_ends(&call);                                          \
  }
/* The host reads so many bytes of the result. */
#define OP_READ(name, shape, read, bytes, parameters, ...)                        \
  static void op_##name parameters {                                              \
    const op_call call = {                                                        \
        .op = #name, .shape_hash = shape, .result = read, .result_bytes = bytes}; \
    if (op_begins(&call)) real->name(__VA_ARGS__);                                \
    op_ends(&call);                                                               \
  }
/* The op returns `otherwise` if it does not run. */
#define OP_RETURNS(type, otherwise, name, shape, parameters, ...)         \
  static type op_##name parameters {                                      \
    const op_call call = {.op = #name, .shape_hash = shape};              \
    type result = op_begins(&call) ? real->name(__VA_ARGS__) : otherwise; \
    op_ends(&call);                                                       \
    return result;                                                        \
  }

OP_RETURNS(uly_status, ULY_OK, matmul,
           SHAPE(args->m, args->n, args->k, args->trans_a, args->trans_b, args->accumulate,
                 args->dtype, args->c_dtype),
           (uly__stream * s, const uly__matmul *args), s, args)
OP(add_bias, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype, void *x,
    const void *bias),
   s, rows, cols, ld, dtype, x, bias)
OP(bias_backward, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype, const void *d_y,
    float *d_bias),
   s, rows, cols, ld, dtype, d_y, d_bias)
OP(residual, SHAPE(rows, cols, dtype, bias != NULL),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, const void *x, const float *sum,
    const void *bias, void *y),
   s, rows, cols, dtype, x, sum, bias, y)
OP(norm_forward, SHAPE(args->kind, rows, cols, dtype),
   (uly__stream * s, const uly__norm_args *args, int64_t rows, int64_t cols, uly_dtype dtype,
    const void *x, void *y),
   s, args, rows, cols, dtype, x, y)
OP(residual_norm, SHAPE(args->kind, rows, cols, dtype),
   (uly__stream * s, const uly__norm_args *args, int64_t rows, int64_t cols, uly_dtype dtype,
    const void *x, const float *sum, const void *bias, void *y, void *n),
   s, args, rows, cols, dtype, x, sum, bias, y, n)
OP(norm_backward, SHAPE(args->kind, rows, cols, dtype),
   (uly__stream * s, const uly__norm_args *args, int64_t rows, int64_t cols, uly_dtype dtype,
    const void *x, const float *d_y, void *d_x, float *d_gamma, float *d_beta),
   s, args, rows, cols, dtype, x, d_y, d_x, d_gamma, d_beta)
OP(norm_heads, SHAPE(rows, heads, head_dim, dtype),
   (uly__stream * s, const uly__norm_args *args, int64_t rows, int heads, int head_dim, int64_t ld,
    uly_dtype dtype, void *x),
   s, args, rows, heads, head_dim, ld, dtype, x)
OP(norm_heads_backward, SHAPE(rows, heads, head_dim, dtype),
   (uly__stream * s, const uly__norm_args *args, int64_t rows, int heads, int head_dim,
    uly_dtype dtype, const void *x, int64_t ld, void *d, float *d_gamma),
   s, args, rows, heads, head_dim, dtype, x, ld, d, d_gamma)
OP(rope_table, SHAPE(rows, head_dim),
   (uly__stream * s, int64_t rows, const int64_t *positions, int head_dim, const uly__rope *rope,
    float *table),
   s, rows, positions, head_dim, rope, table)
OP(rope, SHAPE(rows, heads, head_dim, dtype),
   (uly__stream * s, int64_t rows, int heads, int head_dim, int64_t ld, uly_dtype dtype,
    const float *table, float sign, void *x),
   s, rows, heads, head_dim, ld, dtype, table, sign, x)
OP(swiglu_forward, SHAPE(n, dtype),
   (uly__stream * s, int64_t n, uly_dtype dtype, const void *gate, const void *up, void *act), s, n,
   dtype, gate, up, act)
OP(swiglu_backward, SHAPE(n, dtype),
   (uly__stream * s, int64_t n, uly_dtype dtype, const void *gate, const void *up,
    const void *d_act, void *d_gate, void *d_up),
   s, n, dtype, gate, up, d_act, d_gate, d_up)
OP(gelu_forward, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, void *x, const void *bias,
    void *act),
   s, rows, cols, dtype, x, bias, act)
OP(gelu_backward, SHAPE(n, dtype),
   (uly__stream * s, int64_t n, uly_dtype dtype, const void *x, const void *d_act, void *d_x), s, n,
   dtype, x, d_act, d_x)
OP(embedding_forward, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, const void *table,
    const void *position_table, const uly__rows_held *held, const int32_t *tokens,
    const int64_t *positions, void *y),
   s, rows, cols, dtype, table, position_table, held, tokens, positions, y)
OP(embedding_backward, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, const uly__rows_held *held,
    const int32_t *tokens, const int64_t *positions, const void *d_y, float *d_table,
    float *d_position_table),
   s, rows, cols, dtype, held, tokens, positions, d_y, d_table, d_position_table)
OP_READ(cross_entropy, SHAPE(rows, vocab, part != NULL, d_logits != NULL, dtype), row_loss,
        (size_t)rows * sizeof *row_loss,
        (uly__stream * s, int64_t rows, int64_t vocab, const float *logits, const int32_t *labels,
         const uly__vocab_part *part, float scale, double *row_loss, uly_dtype dtype,
         void *d_logits),
        s, rows, vocab, logits, labels, part, scale, row_loss, dtype, d_logits)
OP(summarize_logits, SHAPE(rows, vocab),
   (uly__stream * s, int64_t rows, int64_t vocab, const float *logits, const int32_t *labels,
    int64_t begin, uly__logit_summary *out),
   s, rows, vocab, logits, labels, begin, out)
OP_READ(add_squares, SHAPE(n, dtype), sum, sizeof *sum,
        (uly__stream * s, int64_t n, uly_dtype dtype, const void *x, uly__exact_sum *sum), s, n,
        dtype, x, sum)
OP(adamw, SHAPE(n, args->grad_dtype, args->copy_bf16 != NULL),
   (uly__stream * s, int64_t n, const uly__adamw *args), s, n, args)
OP(to_bf16, SHAPE(n), (uly__stream * s, int64_t n, const float *x, uint16_t *y), s, n, x, y)
OP(fill, SHAPE(n), (uly__stream * s, int64_t n, float value, float *x), s, n, value, x)
OP(fill_normal, SHAPE(n),
   (uly__stream * s, uint64_t seed, uint64_t numbers, int64_t begin, int64_t n, float std,
    float *x),
   s, seed, numbers, begin, n, std, x)
OP(to_f32, SHAPE(n), (uly__stream * s, int64_t n, const uint16_t *x, float *y), s, n, x, y)
OP(round_in_place, SHAPE(n), (uly__stream * s, int64_t n, float *x), s, n, x)
OP(keep_sum, SHAPE(n, dtype, is_first),
   (uly__stream * s, int64_t n, uly_dtype dtype, const float *x, bool is_first, void *sum), s, n,
   dtype, x, is_first, sum)
OP(sum_rows, SHAPE(rows, cols, dtype, num),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, int num, void *const *x,
    const int64_t *ld),
   s, rows, cols, dtype, num, x, ld)
OP(tree_sum, SHAPE(n, num, dtype),
   (uly__stream * s, uly_dtype dtype, const void *parts, int64_t num, int64_t stride, int64_t n,
    float *out),
   s, dtype, parts, num, stride, n, out)
OP(tree_push, SHAPE(n, index),
   (uly__stream * s, float *const *levels, int64_t index, int64_t n, const float *x), s, levels,
   index, n, x)
OP(tree_finish, SHAPE(n, index),
   (uly__stream * s, float *const *levels, int64_t index, int64_t n, float *x), s, levels, index, n,
   x)
OP(widen, SHAPE(rows, cols, dtype, row_step, col_step),
   (uly__stream * s, int64_t rows, int64_t cols, uly_dtype dtype, const void *x, int64_t row_step,
    int64_t col_step, float *y),
   s, rows, cols, dtype, x, row_step, col_step, y)
OP_RETURNS(bool, false, narrow, SHAPE(rows, cols, dtype, row_step, col_step),
           (uly__stream * s, int64_t rows, int64_t cols, const float *x, uly_dtype dtype, void *y,
            int64_t row_step, int64_t col_step),
           s, rows, cols, x, dtype, y, row_step, col_step)
OP_RETURNS(int64_t, -1, find_nonfinite, SHAPE(rows, cols, dtype),
           (uly__stream * s, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype, const void *x,
            float *value),
           s, rows, cols, ld, dtype, x, value)
OP(softmax_lse, SHAPE(n),
   (uly__stream * s, int64_t n, const uly__softmax_row *rows, float scale, float *lse), s, n, rows,
   scale, lse)
OP(matvec, SHAPE(rows, cols, dtype),
   (uly__stream * s, int64_t rows, int64_t cols, int64_t ld, uly_dtype dtype, const void *w,
    const float *x, float *y),
   s, rows, cols, ld, dtype, w, x, y)
OP(attend_one, SHAPE(args->query, args->num_q_heads, args->head_dim, args->dtype),
   (uly__stream * s, const uly__attend_one *args), s, args)

static void poll(void *call) { op_polls(call); }

static op_call describe(const char *op, const uly__attention_args *args) {
  uint64_t shape = SHAPE(args->queries.begin, args->queries.count, args->keys.begin,
                         args->keys.count, args->num_q_heads, args->num_kv_heads, args->head_dim,
                         args->dtype, args->resumes, args->suspends, (int64_t)(intptr_t)args->mask);
  return (op_call){
      .op = op, .shape_hash = shape, .poll = args->poll, .poll_context = args->poll_context};
}

/* Returns the arguments with `call` in the place of the poll's own context. */
static uly__attention_args through(op_call *call, const uly__attention_args *args) {
  uly__attention_args own = *args;
  if (args->poll) own.poll = poll, own.poll_context = call;
  return own;
}

static void op_attention_forward(uly__stream *s, const uly__attention_args *args) {
  op_call call = describe("attention_forward", args);
  uly__attention_args own = through(&call, args);
  if (op_begins(&call)) real->attention_forward(s, &own);
  op_ends(&call);
}

static void op_attention_backward(uly__stream *s, const uly__attention_args *args,
                                  void *workspace) {
  op_call call = describe("attention_backward", args);
  uly__attention_args own = through(&call, args);
  if (op_begins(&call)) real->attention_backward(s, &own, workspace);
  op_ends(&call);
}

const uly__ops *__wrap_uly__ops_get(void) {
  static uly__ops table;
  if (real) return &table;
  real = __real_uly__ops_get();
  table = (uly__ops){.name = real->name,
                     .sizes = real->sizes,
                     .matmul = op_matmul,
                     .matmul_prepare = real->matmul_prepare,
                     .matmul_bytes = real->matmul_bytes,
                     .add_bias = op_add_bias,
                     .bias_backward = op_bias_backward,
                     .residual = op_residual,
                     .norm_forward = op_norm_forward,
                     .residual_norm = op_residual_norm,
                     .norm_backward = op_norm_backward,
                     .norm_heads = op_norm_heads,
                     .norm_heads_backward = op_norm_heads_backward,
                     .rope_table = op_rope_table,
                     .rope = op_rope,
                     .swiglu_forward = op_swiglu_forward,
                     .swiglu_backward = op_swiglu_backward,
                     .gelu_forward = op_gelu_forward,
                     .gelu_backward = op_gelu_backward,
                     .embedding_forward = op_embedding_forward,
                     .embedding_backward = op_embedding_backward,
                     .cross_entropy = op_cross_entropy,
                     .summarize_logits = op_summarize_logits,
                     .add_squares = op_add_squares,
                     .adamw = op_adamw,
                     .to_bf16 = op_to_bf16,
                     .fill = op_fill,
                     .fill_normal = op_fill_normal,
                     .to_f32 = op_to_f32,
                     .round_in_place = op_round_in_place,
                     .keep_sum = op_keep_sum,
                     .sum_rows = op_sum_rows,
                     .tree_sum = op_tree_sum,
                     .tree_push = op_tree_push,
                     .tree_finish = op_tree_finish,
                     .widen = op_widen,
                     .narrow = op_narrow,
                     .find_nonfinite = op_find_nonfinite,
                     .softmax_lse = op_softmax_lse,
                     .attention_forward = op_attention_forward,
                     .attention_backward = op_attention_backward,
                     .matvec = op_matvec,
                     .attend_one = op_attend_one};
  return &table;
}

/* Linear layers as matrix products. */
#include "model/linear.h"

static void multiply(uly__model *model, uly__matmul product) {
  product.workspace = model->work.matmul;
  product.workspace_threads = model->threads;
  uly__model_note(model, model->ops->matmul(model->stream, &product));
}

static uly__matmul forward(const uly__model *model, uly__linear linear, int64_t rows, const void *x,
                           int64_t ldx) {
  return (uly__matmul){.m = rows,
                       .n = linear.out,
                       .k = linear.in,
                       .a = x,
                       .lda = ldx,
                       .b = uly__weight(model, linear.unit, linear.weight),
                       .ldb = linear.ldw,
                       .trans_b = true,
                       .dtype = model->dtype};
}

static uly__matmul backward(const uly__model *model, uly__linear linear, int64_t rows,
                            const void *d_y, int64_t ldy) {
  return (uly__matmul){.m = rows,
                       .n = linear.in,
                       .k = linear.out,
                       .a = d_y,
                       .lda = ldy,
                       .b = uly__weight(model, linear.unit, linear.weight),
                       .ldb = linear.ldw,
                       .dtype = model->dtype};
}

static void store_in(uly__model *model, uly__matmul product, void *c, int64_t ldc) {
  product.c = c;
  product.ldc = ldc;
  product.c_dtype = model->dtype;
  multiply(model, product);
}

static void add_to(uly__model *model, uly__matmul product, float *sum, bool first) {
  product.c = sum;
  product.ldc = product.n;
  product.c_dtype = ULY_F32;
  product.accumulate = !first;
  multiply(model, product);
}

void uly__linear_forward(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                         int64_t ldx, void *y, int64_t ldy) {
  store_in(model, forward(model, linear, rows, x, ldx), y, ldy);
}

void uly__linear_forward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                             int64_t ldx, float *sum, bool first) {
  add_to(model, forward(model, linear, rows, x, ldx), sum, first);
}

void uly__linear_backward(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                          int64_t ldy, void *d_x, int64_t ldx) {
  store_in(model, backward(model, linear, rows, d_y, ldy), d_x, ldx);
}

void uly__linear_backward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                              int64_t ldy, float *sum, bool first) {
  add_to(model, backward(model, linear, rows, d_y, ldy), sum, first);
}

void uly__linear_backward_weight(uly__model *model, uly__linear linear, int64_t rows,
                                 const void *d_y, int64_t ldy, const void *x, int64_t ldx) {
  uly__matmul product = {.m = linear.out,
                         .n = linear.in,
                         .k = rows,
                         .a = d_y,
                         .lda = ldy,
                         .trans_a = true,
                         .b = x,
                         .ldb = ldx,
                         .c = uly__grad(model, linear.unit, linear.weight),
                         .ldc = linear.ldw,
                         .accumulate = true,
                         .dtype = model->dtype,
                         .c_dtype = ULY_F32};
  if (rows > 0) multiply(model, product);
}

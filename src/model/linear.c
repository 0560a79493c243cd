/* Linear layers as matrix products. */
#include "model/linear.h"

/* --- the shape of each product, without its operands */

static uly__matmul y_product(const uly__model *model, uly__linear linear, int64_t rows,
                             int64_t ldx) {
  return (uly__matmul){.m = rows,
                       .n = linear.out,
                       .k = linear.in,
                       .lda = ldx,
                       .ldb = linear.ldw,
                       .trans_b = true,
                       .dtype = model->dtype};
}

static uly__matmul d_x_product(const uly__model *model, uly__linear linear, int64_t rows,
                               int64_t ldy) {
  return (uly__matmul){.m = rows,
                       .n = linear.in,
                       .k = linear.out,
                       .lda = ldy,
                       .ldb = linear.ldw,
                       .dtype = model->dtype};
}

static uly__matmul d_w_product(const uly__model *model, uly__linear linear, int64_t rows,
                               int64_t ldy, int64_t ldx) {
  return (uly__matmul){.m = linear.out,
                       .n = linear.in,
                       .k = rows,
                       .lda = ldy,
                       .trans_a = true,
                       .ldb = ldx,
                       .ldc = linear.ldw,
                       .accumulate = true,
                       .dtype = model->dtype,
                       .c_dtype = ULY_F32};
}

/* Returns the product that stores its result in the model's dtype, in rows ldc apart. */
static uly__matmul stored(uly__matmul product, int64_t ldc) {
  product.ldc = ldc;
  product.c_dtype = product.dtype;
  return product;
}

/* Returns the product that adds its result to sums in f32, or begins them. */
static uly__matmul summed(uly__matmul product, bool first) {
  product.ldc = product.n;
  product.c_dtype = ULY_F32;
  product.accumulate = !first;
  return product;
}

/* --- multiplication */

/* Multiplies, and lets communication go on: a product is what takes longest in a block, except for
 * attention, which polls by itself. */
static void multiply(uly__model *model, uly__matmul product, const void *a, const void *b,
                     void *c) {
  product.a = a;
  product.b = b;
  product.c = c;
  product.workspace = model->work.matmul;
  product.workspace_threads = model->threads;
  uly__model_note(model, model->ops->matmul(model->stream, &product));
  uly__model_poll(model);
}

static const void *weights(const uly__model *model, uly__linear linear) {
  return uly__weight(model, linear.unit, linear.weight);
}

void uly__linear_forward(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                         int64_t ldx, void *y, int64_t ldy) {
  multiply(model, stored(y_product(model, linear, rows, ldx), ldy), x, weights(model, linear), y);
}

void uly__linear_forward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                             int64_t ldx, float *sum, bool first) {
  multiply(model, summed(y_product(model, linear, rows, ldx), first), x, weights(model, linear),
           sum);
}

void uly__linear_backward(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                          int64_t ldy, void *d_x, int64_t ldx) {
  multiply(model, stored(d_x_product(model, linear, rows, ldy), ldx), d_y, weights(model, linear),
           d_x);
}

void uly__linear_backward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                              int64_t ldy, float *sum, bool first) {
  multiply(model, summed(d_x_product(model, linear, rows, ldy), first), d_y, weights(model, linear),
           sum);
}

void uly__linear_backward_weight(uly__model *model, uly__linear linear, int64_t rows,
                                 const void *d_y, int64_t ldy, const void *x, int64_t ldx) {
  if (rows > 0)
    multiply(model, d_w_product(model, linear, rows, ldy, ldx), d_y, x,
             uly__grad(model, linear.unit, linear.weight));
}

/* --- preparation */

static uly_status prepare(const uly__model *model, uly__matmul product) {
  return model->ops->matmul_prepare(model->stream, &product);
}

static uly_status prepare_result(const uly__model *model, uly__matmul product, bool is_sum,
                                 int64_t ldc) {
  if (!is_sum) return prepare(model, stored(product, ldc));
  ULY_TRY(prepare(model, summed(product, true)));
  return prepare(model, summed(product, false));
}

uly_status uly__linear_prepare_forward(const uly__model *model, uly__linear linear, int64_t rows,
                                       uly__linear_use use) {
  if (linear.out == 0) return ULY_OK;
  return prepare_result(model, y_product(model, linear, rows, use.ldx), use.sums_y, use.ldy);
}

uly_status uly__linear_prepare(const uly__model *model, uly__linear linear, int64_t rows,
                               uly__linear_use use) {
  if (linear.out == 0) return ULY_OK;
  ULY_TRY(uly__linear_prepare_forward(model, linear, rows, use));
  if (uly__model_is_forward_only(model)) return ULY_OK;
  ULY_TRY(prepare_result(model, d_x_product(model, linear, rows, use.ldy), use.sums_d_x, use.ldx));
  return prepare(model, d_w_product(model, linear, rows, use.ldy, use.ldx));
}

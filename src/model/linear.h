/* Linear layers with weights [out, in] of a unit: three matrix products. Rows of x and y are ldx
 * and ldy apart, those of the weights ldw. Failures are noted in the model. */
#ifndef ULY_LINEAR_H
#define ULY_LINEAR_H

#include "model/model.h"

/* Returns the linear layer that has the same place in another unit. */
static inline uly__linear uly__linear_in(uly__linear linear, int unit) {
  linear.unit = unit;
  return linear;
}

/* Computes y[rows, out] = x[rows, in] W^T, of the model's dtype. */
void uly__linear_forward(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                         int64_t ldx, void *y, int64_t ldy);
/* Computes the same in f32, added to sum[rows, out] unless `first`. */
void uly__linear_forward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *x,
                             int64_t ldx, float *sum, bool first);
/* Computes d_x[rows, in] = d_y[rows, out] W, of the model's dtype. */
void uly__linear_backward(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                          int64_t ldy, void *d_x, int64_t ldx);
/* Computes the same in f32, added to sum[rows, in] unless `first`. */
void uly__linear_backward_sum(uly__model *model, uly__linear linear, int64_t rows, const void *d_y,
                              int64_t ldy, float *sum, bool first);
/* Adds d_y^T x to the gradient of W. */
void uly__linear_backward_weight(uly__model *model, uly__linear linear, int64_t rows,
                                 const void *d_y, int64_t ldy, const void *x, int64_t ldx);

/* How a layer is used: the distances of the rows of x and y (and of their gradients), and which
 * results are summed in f32. */
typedef struct uly__linear_use {
  int64_t ldx, ldy;
  bool sums_y, sums_d_x;
} uly__linear_use;

/* Prepares these products for `rows`: forward, and backward unless the model is for forward alone.
 * Whoever uses a layer prepares it, so that a step makes no product of a new shape. */
uly_status uly__linear_prepare(const uly__model *model, uly__linear linear, int64_t rows,
                               uly__linear_use use);
/* Prepares only the product of the forward pass. */
uly_status uly__linear_prepare_forward(const uly__model *model, uly__linear linear, int64_t rows,
                                       uly__linear_use use);

#endif

/* Measures the rate that matrix products reach on this machine. */
#ifndef ULYSSES_CLI_TRAIN_PEAK_H
#define ULYSSES_CLI_TRAIN_PEAK_H

#include "options/options.h"

/* Measures FLOP/s of matrix products on all ranks together; 0 if the CPU has no products of this
 * type. Collective. */
uly_status measure_peak(const options *o, uly_mesh *mesh, double *flops);

#endif

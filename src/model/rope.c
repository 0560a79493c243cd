/* Computes the frequencies of RoPE: see rope.h. */
#include "model/rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

const char *const uly__rope_names[] = {"default", "linear",   "dynamic", "llama3",
                                       "yarn",    "longrope", NULL};

double uly__rope_attention_factor(const uly__rope_scaling *scaling) {
  double factor = scaling->factor;
  if (factor <= 1) return 1;
  if (scaling->type == ULY_ROPE_YARN) return 0.1 * log(factor) + 1;
  if (scaling->type == ULY_ROPE_LONGROPE)
    return sqrt(1 + log(factor) / log((double)scaling->original_positions));
  return 1;
}

/* Returns the base with which the lowest frequency of a longer sequence fits the trained
 * positions. */
static double dynamic_theta(double theta, int head_dim, const uly__rope_scaling *scaling,
                            int64_t seq_len) {
  double original = (double)scaling->original_positions;
  double length = seq_len > scaling->original_positions ? (double)seq_len : original;
  double stretch = scaling->factor * length / original - (scaling->factor - 1);
  return theta * pow(stretch, (double)head_dim / (head_dim - 2));
}

/* Divides low frequencies by the factor, keeps high ones, and goes smoothly from one to the
 * other. */
static double llama3_frequency(const uly__rope_scaling *scaling, double frequency) {
  double turns = (double)scaling->original_positions * frequency / (2 * PI);
  double low = scaling->low_freq_factor, high = scaling->high_freq_factor;
  if (turns > high) return frequency;
  if (turns < low) return frequency / scaling->factor;
  double smooth = (turns - low) / (high - low);
  return (1 - smooth) * frequency / scaling->factor + smooth * frequency;
}

/* The pairs between which yarn goes from kept to divided frequencies. */
typedef struct yarn_range {
  double low, high;
} yarn_range;

/* Returns the pair that makes so many turns within the original positions, as a real number. */
static double yarn_pair(double theta, int head_dim, const uly__rope_scaling *scaling,
                        double turns) {
  return head_dim * log((double)scaling->original_positions / (turns * 2 * PI)) / (2 * log(theta));
}

static yarn_range find_yarn_range(double theta, int head_dim, const uly__rope_scaling *scaling) {
  yarn_range range = {yarn_pair(theta, head_dim, scaling, scaling->beta_fast),
                      yarn_pair(theta, head_dim, scaling, scaling->beta_slow)};
  if (scaling->truncate) range = (yarn_range){floor(range.low), ceil(range.high)};
  range.low = fmax(range.low, 0);
  range.high = fmin(range.high, head_dim - 1);
  if (range.low == range.high) range.high += 0.001;
  return range;
}

static double yarn_frequency(const uly__rope_scaling *scaling, yarn_range range, int i,
                             double frequency) {
  double ramp = fmin(fmax((i - range.low) / (range.high - range.low), 0), 1);
  return frequency / scaling->factor * ramp + frequency * (1 - ramp);
}

uly__rope uly__rope_plan(double theta, int head_dim, const uly__rope_scaling *scaling,
                         int64_t seq_len) {
  uly__rope rope = {.scale = 1};
  bool is_long = seq_len > scaling->original_positions;
  yarn_range range = {0, 0};
  if (scaling->type == ULY_ROPE_DYNAMIC) theta = dynamic_theta(theta, head_dim, scaling, seq_len);
  if (scaling->type == ULY_ROPE_YARN) range = find_yarn_range(theta, head_dim, scaling);
  if (scaling->attention_factor > 0) rope.scale = scaling->attention_factor;
  for (int i = 0; i < head_dim / 2; i++) {
    double frequency = pow(theta, -2.0 * i / head_dim);
    switch (scaling->type) {
      case ULY_ROPE_DEFAULT:
      case ULY_ROPE_DYNAMIC: break;
      case ULY_ROPE_LINEAR: frequency /= scaling->factor; break;
      case ULY_ROPE_LLAMA3: frequency = llama3_frequency(scaling, frequency); break;
      case ULY_ROPE_YARN: frequency = yarn_frequency(scaling, range, i, frequency); break;
      case ULY_ROPE_LONGROPE:
        frequency /= is_long ? scaling->long_factor[i] : scaling->short_factor[i];
        break;
    }
    rope.frequency[i] = frequency;
  }
  return rope;
}

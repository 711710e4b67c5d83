// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/linear_input.h"

// Sums of shifted planes: each tap adds a run of memory by a factor to a few
// outputs at once, whose sums stay in registers.

namespace quanto::kernels {
namespace {

/// Vectors of sums at once, such that those of all outputs stay in registers.
constexpr int conv_vectors(int outputs) {
#ifdef QUANTO_HAS_AVX512
  return outputs == 1 ? 12 : outputs == 4 ? 6 : 8;
#else
  return outputs == 1 ? 8 : outputs == 2 ? 5 : 3;
#endif
}

/// Taps of a few outputs, side by side, and where their runs start.
struct ConvTaps {
  const float* taps;
  const int64_t* offsets;
  int64_t count;
  bool first;  ///< else they are added to the sums of those before
};

/// sums[o][kVectors * kLanes] (+)= sum over taps of taps[t][o] *
/// planes[offsets[t] and on].
template <int kOutputs, int kVectors>
QUANTO_NOINLINE void sum_run(const float* planes, const ConvTaps& part,
                             int64_t stride, float* sums) {
  Vec acc[kOutputs][kVectors];
  QUANTO_UNROLL for (int o = 0; o < kOutputs; ++o) {
    QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
      acc[o][v] = part.first ? zero() : load(sums + o * stride + v * kLanes);
    }
  }
  const float* taps = part.taps;
  for (int64_t t = 0; t < part.count; ++t) {
    const float* run = planes + part.offsets[t];
    Vec x[kVectors];
    QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
      x[v] = load(run + v * kLanes);
    }
    QUANTO_UNROLL for (int o = 0; o < kOutputs; ++o) {
      const Vec tap = broadcast(taps[o]);
      QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
        acc[o][v] = fma(x[v], tap, acc[o][v]);
      }
    }
    taps += kOutputs;
  }
  QUANTO_UNROLL for (int o = 0; o < kOutputs; ++o) {
    QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
      store(sums + o * stride + v * kLanes, acc[o][v]);
    }
  }
}

using SumRun = void (*)(const float* planes, const ConvTaps& part,
                        int64_t stride, float* sums);

/// sum_run for `vectors` of 1 to conv_vectors(kOutputs).
template <int kOutputs, int kVectors = conv_vectors(kOutputs)>
inline SumRun sum_run_for(int64_t vectors) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) return sum_run_for<kOutputs, kVectors - 1>(vectors);
  }
  return sum_run<kOutputs, kVectors>;
}

template <int kOutputs>
inline void sum_planes_of(const float* planes, const ConvTaps& part,
                          int64_t positions, int64_t stride, float* sums) {
  // Runs of about the same length: a short one would wait for its own sums.
  int64_t vectors = ceil_div(positions, kLanes);
  for (int64_t runs = ceil_div(vectors, conv_vectors(kOutputs)); runs > 0;
       --runs) {
    const int64_t length = ceil_div(vectors, runs);
    sum_run_for<kOutputs>(length)(planes, part, stride, sums);
    planes += length * kLanes;
    sums += length * kLanes;
    vectors -= length;
  }
}

/// The sums of `outputs` <= kConvOutputs outputs at [0, positions), and up to
/// the vector's end, `stride` floats from output to output.
inline void sum_planes(const float* planes, const ConvTaps& part,
                       int64_t outputs, int64_t positions, int64_t stride,
                       float* sums) {
  switch (outputs) {
    case 1:
      return sum_planes_of<1>(planes, part, positions, stride, sums);
    case 2:
      return sum_planes_of<2>(planes, part, positions, stride, sums);
    case 3:
      return sum_planes_of<3>(planes, part, positions, stride, sums);
    default:
      return sum_planes_of<4>(planes, part, positions, stride, sums);
  }
}

}  // namespace
}  // namespace quanto::kernels

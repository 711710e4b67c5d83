// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_panel_decode.h"

// Activations in tiles [k][rows of the tile], and the micro-kernel that
// multiplies a tile by a panel.

namespace quanto::kernels {
namespace {

/// Rows of a tile: two accumulators each, and room for a panel row.
#ifdef QUANTO_HAS_AVX512
constexpr int kTileRows = 12;
#elif defined(QUANTO_HAS_NEON)
// Each row's x takes one of the 32 registers too.
constexpr int kTileRows = 5;
#else
constexpr int kTileRows = 6;
#endif

/// Rows [first, first + rows) of the input as one tile.
inline void pack_tile(const LinearProblem& problem, const LinearArgs& args,
                      int64_t first, int64_t rows, float* tile) {
  constexpr int64_t kPart = 4 * kLanes;
  float part[kTileRows][kPart];
  for (int64_t k = 0; k < problem.k; k += kPart) {
    const int64_t count = smaller(kPart, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      input_to_float(problem, args, (first + r) * problem.k + k, count,
                     part[r]);
    }
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t r = 0; r < rows; ++r) *tile++ = part[r][i];
    }
  }
}

/// sums[kRows][kPanelColumns] (+)= tile [depth][kRows] times panel
/// [depth][kPanelColumns]; alone in its function, so that all sums stay in
/// registers.
template <int kRows>
QUANTO_NOINLINE void multiply_tile(const float* tile, const float* panel,
                                   int64_t depth, bool first, float* sums) {
  Vec acc[kRows][2];
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    acc[r][0] = first ? zero() : load(sums + r * kPanelColumns);
    acc[r][1] = first ? zero() : load(sums + r * kPanelColumns + kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    const Vec w0 = load(panel);
    const Vec w1 = load(panel + kLanes);
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const Vec x = broadcast(tile[r]);
      acc[r][0] = fma(x, w0, acc[r][0]);
      acc[r][1] = fma(x, w1, acc[r][1]);
    }
    panel += kPanelColumns;
    tile += kRows;
  }
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    store(sums + r * kPanelColumns, acc[r][0]);
    store(sums + r * kPanelColumns + kLanes, acc[r][1]);
  }
}

using MultiplyTile = void (*)(const float* tile, const float* panel,
                              int64_t depth, bool first, float* sums);

inline MultiplyTile multiply_tile_for(int64_t rows) {
  static constexpr MultiplyTile kKernels[] = {
      multiply_tile<1>,  multiply_tile<2>,  multiply_tile<3>,
      multiply_tile<4>,  multiply_tile<5>,
#ifndef QUANTO_HAS_NEON
      multiply_tile<6>,
#endif
#ifdef QUANTO_HAS_AVX512
      multiply_tile<7>,  multiply_tile<8>,  multiply_tile<9>,
      multiply_tile<10>, multiply_tile<11>, multiply_tile<12>,
#endif
  };
  return kKernels[rows - 1];
}

}  // namespace
}  // namespace quanto::kernels

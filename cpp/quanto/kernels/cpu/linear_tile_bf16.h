// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_pair_tile.h"
#include "quanto/kernels/cpu/linear_panel_plan.h"

// bfloat16 pairs multiplied in vectors, by up to kTileRows rows.

namespace quanto::kernels {
namespace {

/// Rows [first, first + rows) of the input as one tile: [pairs][rows] of two
/// numbers each, zeros up to a multiple of kQuad.
inline void pack_tile_bf16(const LinearProblem& problem, const LinearArgs& args,
                           int64_t first, int64_t rows, uint32_t* tile) {
  const auto* input = static_cast<const uint8_t*>(args.input);
  alignas(64) uint32_t part[kTileRows][kVecPairsK / 2];
  for (int64_t k = 0; k < problem.k; k += kVecPairsK) {
    const int64_t count = smaller(kVecPairsK, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      _mm512_store_si512(
          part[r],
          load_pairs(input + 2 * ((first + r) * problem.k + k), count));
    }
    const int64_t pairs = round_up(count, kQuad) / 2;
    for (int64_t i = 0; i < pairs; ++i) {
      for (int64_t r = 0; r < rows; ++r) *tile++ = part[r][i];
    }
  }
}

/// sums[kRows][kPanelColumns] (+)= scale * (tile times panel) - x_sums * shift.
template <int kRows>
QUANTO_NOINLINE void multiply_tile_bf16(const TilePart& part, bool first,
                                        float* sums) {
  __m512 acc[kRows][2];
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    acc[r][0] = _mm512_setzero_ps();
    acc[r][1] = _mm512_setzero_ps();
  }
  const uint32_t* tile = part.tile;
  const uint32_t* panel = part.panel;
  for (int64_t i = 0; i < part.pairs; ++i) {
    const auto w0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel));
    const auto w1 =
        reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + kLanes));
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const auto x = reinterpret_cast<__m512bh>(
          _mm512_set1_epi32(static_cast<int32_t>(tile[r])));
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], x, w0);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], x, w1);
    }
    panel += kPanelColumns;
    tile += kRows;
  }
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    QUANTO_UNROLL for (int half = 0; half < 2; ++half) {
      float* sum = sums + r * kPanelColumns + half * kLanes;
      const Vec before = first ? zero() : load(sum);
      const Vec product = {acc[r][half]};
      if (part.scale == nullptr) {
        store(sum, add(before, product));
      } else {
        store(sum,
              add_scaled(before, product, load(part.scale + half * kLanes),
                         part.x_sums[r], load(part.shift + half * kLanes)));
      }
    }
  }
}

using MultiplyTileBf16 = void (*)(const TilePart& part, bool first,
                                  float* sums);

inline MultiplyTileBf16 multiply_tile_bf16_for(int64_t rows) {
  static constexpr MultiplyTileBf16 kKernels[kTileRows] = {
      multiply_tile_bf16<1>,  multiply_tile_bf16<2>,  multiply_tile_bf16<3>,
      multiply_tile_bf16<4>,  multiply_tile_bf16<5>,  multiply_tile_bf16<6>,
      multiply_tile_bf16<7>,  multiply_tile_bf16<8>,  multiply_tile_bf16<9>,
      multiply_tile_bf16<10>, multiply_tile_bf16<11>, multiply_tile_bf16<12>,
  };
  return kKernels[rows - 1];
}

/// The Tiles of linear_pair_units.h that run on vectors.
struct VectorTiles {
  static constexpr int64_t kRows = kTileRows;
  static constexpr int64_t kBlockRows = kernels::kBlockRows;
  static constexpr int64_t kPadK = kQuad;

  static void begin() {}
  static void end() {}
  static int64_t padded(int64_t rows) { return rows; }
  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    pack_tile_bf16(problem, args, first, rows, tile);
  }
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    multiply_tile_bf16_for(rows)(part, first, sums);
  }
};

}  // namespace
}  // namespace quanto::kernels

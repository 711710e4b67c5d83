// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_word_pairs.h"

// bfloat16 pairs multiplied in vectors, by up to kTileRows rows.

namespace quanto::kernels {
namespace {

/// Rows [first, first + rows) of the input, from what stores their only term,
/// as one tile: [pairs][rows] of two numbers each, zeros up to a multiple of
/// kQuad.
template <typename LoadTerms>
void pack_tile_bf16(const LinearProblem& problem, LoadTerms load_terms,
                    int64_t first, int64_t rows, uint32_t* tile) {
  alignas(64) uint32_t part[kTileRows][kVecPairsK / 2];
  for (int64_t k = 0; k < problem.k; k += kVecPairsK) {
    const int64_t count = smaller(kVecPairsK, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      __m512i x;
      load_terms((first + r) * problem.k + k, count, &x);
      _mm512_store_si512(part[r], to_pairs(x));
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
  for (int64_t i = 0; i < part.words; ++i) {
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
  const auto product = [&](int r, int half)
                           QUANTO_INLINE_BODY -> Vec { return {acc[r][half]}; };
  if (part.scale == nullptr) {
    update_sums<kRows>(first, sums,
                       [&](Vec before, int r, int half) QUANTO_INLINE_BODY {
                         return add(before, product(r, half));
                       });
  } else {
    add_scaled_products<kRows>(part, first, product, sums);
  }
}

/// The Tiles of linear_word_units.h that run on vectors of pairs, for an input
/// of one term.
template <typename PanelWords>
struct VectorTilesOfPairs {
  using Words = PanelWords;
  static constexpr bool kSums = false;
  static constexpr int64_t kRows = kTileRows;
  /// 512 rows pass one panel: a product of dense bfloat16 takes as long as this
  /// one, so a panel that is decoded again is time lost to it.
  static constexpr int64_t kBlockRows = 43 * kTileRows;
  static constexpr int64_t kFewestDenseRows = 256;
  static constexpr int64_t kPadK = kQuad;

  static void begin() {}
  static void end() {}
  static int64_t padded(int64_t rows) { return rows; }
  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    with_terms(problem, args, [&](auto load_terms) {
      if constexpr (decltype(load_terms)::kTerms == 1) {
        pack_tile_bf16(problem, load_terms, first, rows, tile);
      }
    });
  }
  static void finish(float* /*sums*/, int64_t /*count*/) {}
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    kernel_for_rows<kTileRows>(rows, [](auto count) {
      return multiply_tile_bf16<count.value>;
    })(part, first, sums);
  }
};

using VectorPairTiles = VectorTilesOfPairs<PairWords>;
using VectorWeightTiles = VectorTilesOfPairs<WeightPairWords>;

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_word_decode.h"

// int8 codes by codes of an integer type in vectors: four products of an
// unsigned code of the weight with a signed one of x to a lane of int32. int8
// weights are taken plus 128, and 128 times the sum of x is taken off again.

namespace quanto::kernels {
namespace {

/// Rows [first, first + rows) of the input as one tile: [words][rows], zeros
/// past the last k.
inline void pack_tile_vnni(const LinearProblem& problem, const LinearArgs& args,
                           int64_t first, int64_t rows, uint32_t* tile) {
  const auto* input = static_cast<const uint8_t*>(args.input);
  alignas(64) uint32_t part[kTileRows][kLanes];
  for (int64_t k = 0; k < problem.k; k += kVecBytes) {
    const int64_t count = smaller(kVecBytes, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      const IVec x =
          load_words_tail(input + (first + r) * problem.k + k, count);
      _mm512_store_si512(part[r], x.v);
    }
    for (int64_t i = 0; i < ceil_div(count, kQuad); ++i) {
      for (int64_t r = 0; r < rows; ++r) *tile++ = part[r][i];
    }
  }
}

/// sums[kRows][kPanelColumns] (+)= tile times panel, as int32 without a scale,
/// else as fp32 with scale and shift.
template <int kRows>
QUANTO_NOINLINE void multiply_tile_vnni(const TilePart& part, bool first,
                                        float* sums) {
  constexpr float kOffset = 128;
  __m512i acc[kRows][2];
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    const __m512i start = part.scale != nullptr
                              ? _mm512_setzero_si512()
                              : to_int(broadcast(-kOffset * part.x_sums[r])).v;
    acc[r][0] = start;
    acc[r][1] = start;
  }
  const uint32_t* tile = part.tile;
  const uint32_t* panel = part.panel;
  for (int64_t i = 0; i < part.words; ++i) {
    const __m512i w0 = _mm512_loadu_si512(panel);
    const __m512i w1 = _mm512_loadu_si512(panel + kLanes);
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const __m512i x = _mm512_set1_epi32(static_cast<int32_t>(tile[r]));
      acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w0, x);
      acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], w1, x);
    }
    panel += kPanelColumns;
    tile += kRows;
  }
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    QUANTO_UNROLL for (int half = 0; half < 2; ++half) {
      float* sum = sums + r * kPanelColumns + half * kLanes;
      const IVec product = {acc[r][half]};
      if (part.scale == nullptr) {
        const IVec before = first ? ibroadcast(0) : load_words(sum);
        store(sum, as_float(iadd(before, product)));
      } else {
        store(sum, add_scaled(first ? zero() : load(sum), to_float(product),
                              load(part.scale + half * kLanes), part.x_sums[r],
                              load(part.shift + half * kLanes)));
      }
    }
  }
}

using MultiplyTileVnni = void (*)(const TilePart& part, bool first,
                                  float* sums);

inline MultiplyTileVnni multiply_tile_vnni_for(int64_t rows) {
  static constexpr MultiplyTileVnni kKernels[kTileRows] = {
      multiply_tile_vnni<1>,  multiply_tile_vnni<2>,  multiply_tile_vnni<3>,
      multiply_tile_vnni<4>,  multiply_tile_vnni<5>,  multiply_tile_vnni<6>,
      multiply_tile_vnni<7>,  multiply_tile_vnni<8>,  multiply_tile_vnni<9>,
      multiply_tile_vnni<10>, multiply_tile_vnni<11>, multiply_tile_vnni<12>,
  };
  return kKernels[rows - 1];
}

/// The Tiles of linear_word_units.h that run on vectors of bytes.
struct VectorByteTiles {
  using Words = ByteWords<true>;
  static constexpr int64_t kRows = kTileRows;
  static constexpr int64_t kBlockRows = kernels::kBlockRows;
  static constexpr int64_t kPadK = kQuad;
  static constexpr bool kSums = true;

  static void begin() {}
  static void end() {}
  static int64_t padded(int64_t rows) { return rows; }
  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    pack_tile_vnni(problem, args, first, rows, tile);
  }
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    multiply_tile_vnni_for(rows)(part, first, sums);
  }
  static void finish(float* sums, int64_t count) {
    int_sums_to_float(sums, count);
  }
};

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_word_decode.h"

// int8 codes of both in vectors, to sums of int32.

namespace quanto::kernels {
namespace {

/// Four products of a code of the weight with one of x to a lane. int8 weights
/// are taken plus kOffset, and so many times the sum of x is taken off again.
struct ByteProducts {
  using Words = ByteWords<kDotOffset != 0>;
  static constexpr int kOffset = kDotOffset;

  static void split(IVec x, IVec* words) { *words = x; }
  static IVec dot(IVec sum, IVec w, IVec x) { return dot4(sum, w, x); }
};

#ifndef QUANTO_HAS_DOT4
/// Two products of 16-bit integers to a lane.
struct ShortProducts {
  using Words = ShortWords;
  static constexpr int kOffset = 0;

  static void split(IVec x, IVec* words) {
    Words::decode<QTypeId::kQInt8>(x, x, words);
  }
  static IVec dot(IVec sum, IVec w, IVec x) { return dot2(sum, w, x); }
};
#endif

/// Rows [first, first + rows) of the input as one tile: [words][rows], zeros
/// past the last k.
template <typename Products>
void pack_tile_int8(const LinearProblem& problem, const LinearArgs& args,
                    int64_t first, int64_t rows, uint32_t* tile) {
  constexpr int64_t kWords = kQuad / Products::Words::kWordK;
  const auto* input = static_cast<const uint8_t*>(args.input);
  alignas(64) uint32_t part[kTileRows][kWords][kLanes];
  for (int64_t k = 0; k < problem.k; k += kVecBytes) {
    const int64_t count = smaller(kVecBytes, problem.k - k);
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* from = input + (first + r) * problem.k + k;
      IVec words[kWords];
      Products::split(
          count == kVecBytes ? load_words(from) : load_words_tail(from, count),
          words);
      for (int64_t w = 0; w < kWords; ++w) store_words(part[r][w], words[w]);
    }
    for (int64_t i = 0; i < ceil_div(count, kQuad); ++i) {
      for (int64_t w = 0; w < kWords; ++w) {
        for (int64_t r = 0; r < rows; ++r) *tile++ = part[r][w][i];
      }
    }
  }
}

/// sums (+)= tile times panel, int32.
template <typename Products, int kRows>
QUANTO_NOINLINE void multiply_bytes(const TilePart& part, bool first,
                                    float* sums) {
  IntSums acc[kRows][2];
  unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
    float* sum = sums + r * kPanelColumns + half * kLanes;
    acc[r][half] = first ? ibroadcast(0) : load_words(sum);
    if constexpr (Products::kOffset != 0) {
      const auto x_sum = static_cast<int32_t>(part.x_sums[r]);
      acc[r][half] = isub(acc[r][half], ibroadcast(Products::kOffset * x_sum));
    }
  });
  multiply_words<kRows>(part.tile, part.panel, part.words,
                        [&](int r, int half, IVec w, IVec x)
                            QUANTO_INLINE_BODY {
                              acc[r][half] = Products::dot(acc[r][half], w, x);
                            });
  unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
    store_words(sums + r * kPanelColumns + half * kLanes, acc[r][half]);
  });
}

/// The Tiles of linear_word_units.h that run on vectors of int8: of 8-bit
/// weights.
template <typename Products>
struct ByteTiles {
  using Words = typename Products::Words;
  static constexpr int64_t kRows = kTileRows;
  static constexpr int64_t kBlockRows = kernels::kBlockRows;
  static constexpr int64_t kPadK = kQuad;
  static constexpr bool kSums = Products::kOffset != 0;

  static void begin() {}
  static void end() {}
  static int64_t padded(int64_t rows) { return rows; }
  static void pack(const LinearProblem& problem, const LinearArgs& args,
                   int64_t first, int64_t rows, uint32_t* tile) {
    pack_tile_int8<Products>(problem, args, first, rows, tile);
  }
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    kernel_for_rows<kTileRows>(rows, [](auto count) {
      return multiply_bytes<Products, count.value>;
    })(part, first, sums);
  }
  static void finish(float* sums, int64_t count) {
    int_sums_to_float(sums, count);
  }
};

#ifdef QUANTO_HAS_DOT4
using SignedTiles = ByteTiles<ByteProducts>;
#else
using SignedTiles = ByteTiles<ShortProducts>;
#endif

}  // namespace
}  // namespace quanto::kernels

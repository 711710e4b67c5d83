// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "quanto/kernels/cpu/linear_tile_groups.h"
#include "quanto/kernels/cpu/linear_word_decode.h"

// int8 codes by codes of an integer type in vectors, to sums of int32.

namespace quanto::kernels {
namespace {

/// Four products of a code of the weight with one of x to a lane. int8 weights
/// are taken plus kOffset, and so many times the sum of x is taken off again.
struct ByteProducts {
  using Words = ByteWords<kDotOffset != 0>;
  static constexpr float kOffset = kDotOffset;

  static void split(IVec x, IVec* words) { *words = x; }
  static IVec dot(IVec sum, IVec w, IVec x) { return dot4(sum, w, x); }
};

#ifndef QUANTO_HAS_DOT4
/// Two products of 16-bit integers to a lane.
struct ShortProducts {
  using Words = ShortWords;
  static constexpr float kOffset = 0;

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

/// sums (+)= tile times panel, as add_int_products() does.
template <typename Products, int kRows>
QUANTO_NOINLINE void multiply_tile_int8(const TilePart& part, bool first,
                                        float* sums) {
  IVec acc[kRows][2];
  QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
    IVec start = ibroadcast(0);
    if constexpr (Products::kOffset != 0) {
      if (part.scale == nullptr) {
        start = to_int(broadcast(-Products::kOffset * part.x_sums[r]));
      }
    }
    acc[r][0] = start;
    acc[r][1] = start;
  }
  const uint32_t* tile = part.tile;
  const uint32_t* panel = part.panel;
  for (int64_t i = 0; i < part.words; ++i) {
    const IVec w0 = load_words(panel);
    const IVec w1 = load_words(panel + kLanes);
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const IVec x = ibroadcast(static_cast<int32_t>(tile[r]));
      acc[r][0] = Products::dot(acc[r][0], w0, x);
      acc[r][1] = Products::dot(acc[r][1], w1, x);
    }
    panel += kPanelColumns;
    tile += kRows;
  }
  add_int_products<kRows>(
      part, first, [&](int r, int half) { return acc[r][half]; }, sums);
}

using MultiplyTileInt8 = void (*)(const TilePart& part, bool first,
                                  float* sums);

template <typename Products, int... kRows>
MultiplyTileInt8 multiply_tile_int8_for(
    int64_t rows, std::integer_sequence<int, kRows...> /*all*/) {
  static constexpr MultiplyTileInt8 kKernels[] = {
      multiply_tile_int8<Products, kRows + 1>...};
  return kKernels[rows - 1];
}

/// The Tiles of linear_word_units.h that run on vectors of int8.
template <typename Products>
struct VectorTiles {
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
    multiply_tile_int8_for<Products>(
        rows, std::make_integer_sequence<int, kTileRows>{})(part, first, sums);
  }
  static void finish(float* sums, int64_t count) {
    int_sums_to_float(sums, count);
  }
};

#ifdef QUANTO_HAS_AVX512
/// Products of linear_tile_groups.h.
struct ByteGroupProducts {
  using Sum = IntSums;
  static Sum none() { return ibroadcast(0); }
  static Vec value(Sum sum) { return to_float(sum); }
  static Sum dot(Sum sum, IVec w, IVec x) { return dot4(sum, w, x); }
};
#endif

/// Of packed codes, and of int8.
#ifdef QUANTO_HAS_AVX512
using PackedTiles = GroupTiles<VectorTiles<ByteProducts>, ByteGroupProducts>;
#else
using PackedTiles = VectorTiles<ByteProducts>;
#endif
#ifdef QUANTO_HAS_DOT4
using SignedTiles = VectorTiles<ByteProducts>;
#else
using SignedTiles = VectorTiles<ShortProducts>;
#endif

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_groups.h"
#include "quanto/kernels/cpu/linear_tile_int8.h"

// int8 codes by packed weights in vectors: integer sums of a group, to which
// its scale and shift are applied.

namespace quanto::kernels {
namespace {

#ifdef QUANTO_HAS_AVX512

/// Products of linear_tile_groups.h.
struct ByteGroupProducts {
  using Sum = IntSums;
  static Sum none() { return ibroadcast(0); }
  static Vec value(Sum sum) { return to_float(sum); }
  static Sum dot(Sum sum, IVec w, IVec x) { return dot4(sum, w, x); }
};

using PackedTiles = GroupTiles<ByteTiles<ByteProducts>, ByteGroupProducts>;

#else

#ifdef QUANTO_HAS_DOT4
inline IVec add_dots(IVec sum, IVec w, IVec x) { return dot4(sum, w, x); }
inline IVec to_int_sums(IVec sum) { return sum; }
#else
/// In 16 bits.
inline IVec add_dots(IVec sum, IVec w, IVec x) {
  return add_shorts(sum, dot_shorts(w, x));
}
inline IVec to_int_sums(IVec sum) { return add_pairs(sum); }
/// Words whose products those hold: of two codes of 15 by -128 each.
constexpr int64_t kShortWords = 32768 / (2 * 15 * 128);
#endif

/// The products of `words` words, before to_int_sums().
template <int kRows>
QUANTO_INLINE void sum_dots(const uint32_t* tile, const uint32_t* panel,
                            int64_t words, IntSums (&acc)[kRows][2]) {
  unrolled<kRows, 2>([&](int r, int half)
                         QUANTO_INLINE_BODY { acc[r][half] = ibroadcast(0); });
  multiply_words<kRows>(
      tile, panel, words,
      [&](int r, int half, IVec w, IVec x)
          QUANTO_INLINE_BODY { acc[r][half] = add_dots(acc[r][half], w, x); });
}

/// sums (+)= scale * (tile times panel) - x_sums * shift.
template <int kRows>
QUANTO_NOINLINE void multiply_packed(const TilePart& part, bool first,
                                     float* sums) {
  IntSums acc[kRows][2];
  sum_dots<kRows>(part.tile, part.panel, part.words, acc);
  unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
    acc[r][half] = settled(acc[r][half]);
  });
  add_scaled_products<kRows>(
      part, first,
      [&](int r, int half)
          QUANTO_INLINE_BODY { return to_float(to_int_sums(acc[r][half])); },
      sums);
}

#ifndef QUANTO_HAS_DOT4
/// The same of more words than sums of 16 bits hold, whose sums of 32 bits do
/// not find registers beside them.
template <int kRows>
QUANTO_NOINLINE void multiply_packed_long(const TilePart& part, bool first,
                                          float* sums) {
  alignas(kVecBytes) uint32_t totals[kRows][kPanelColumns];
  for (int64_t i = 0; i < part.words; i += kShortWords) {
    IntSums acc[kRows][2];
    sum_dots<kRows>(part.tile + i * kRows, part.panel + i * kPanelColumns,
                    smaller(kShortWords, part.words - i), acc);
    unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
      uint32_t* total = totals[r] + half * kLanes;
      const IVec more = to_int_sums(acc[r][half]);
      store_words(total, i == 0 ? more : iadd(load_words(total), more));
    });
  }
  add_scaled_products<kRows>(
      part, first,
      [&](int r, int half) {
        return to_float(load_words(totals[r] + half * kLanes));
      },
      sums);
}
#endif

struct PackedTiles : ByteTiles<ByteProducts> {
  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    MultiplyPart kernel = kernel_for_rows<kTileRows>(
        rows, [](auto count) { return multiply_packed<count.value>; });
#ifndef QUANTO_HAS_DOT4
    if (part.words > kShortWords) {
      kernel = kernel_for_rows<kTileRows>(
          rows, [](auto count) { return multiply_packed_long<count.value>; });
    }
#endif
    kernel(part, first, sums);
  }
};

#endif

}  // namespace
}  // namespace quanto::kernels

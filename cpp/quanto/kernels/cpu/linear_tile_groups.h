// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_unroll.h"
#include "quanto/kernels/cpu/linear_word_tile.h"

// Tiles of few enough rows that the sums of a group and those of all groups fit
// the registers together: the latter are loaded and stored once for a block of
// k, and the next group's products need not wait.

namespace quanto::kernels {
namespace {

/// Rows of a tile: with all columns of a panel their sums take 24 of the 32
/// registers.
constexpr int kGroupTileRows = 6;

/// sums[kRows][kPanelColumns] (+)= scale * (tile times panel) - x_sums * shift,
/// over part.parts parts. `Products` are those of the words of a group:
///   Sum  none(), value(sum) in fp32, dot(sum, w, x)
template <typename Products, int kRows>
QUANTO_NOINLINE void multiply_tile_groups(const TilePart& part, bool first,
                                          float* sums) {
  Vec total[kRows][2];
  unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
    total[r][half] =
        first ? zero() : load(sums + r * kPanelColumns + half * kLanes);
  });
  TilePart at = part;
  for (int64_t p = 0; p < part.parts; ++p) {
    typename Products::Sum acc[kRows][2];
    unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
      acc[r][half] = Products::none();
    });
    multiply_words<kRows>(
        at.tile, at.panel, part.words,
        [&](int r, int half, IVec w, IVec x) QUANTO_INLINE_BODY {
          acc[r][half] = Products::dot(acc[r][half], w, x);
        });
    at.tile += part.words * kRows;
    at.panel += part.words * kPanelColumns;
    const PartScales scales[2] = {{at, 0}, {at, 1}};
    unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
      total[r][half] =
          scales[half].add(total[r][half], Products::value(acc[r][half]), r);
    });
    at.scale += kPanelColumns;
    at.shift += kPanelColumns;
    at.x_sums += kRows;
  }
  unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
    store(sums + r * kPanelColumns + half * kLanes, total[r][half]);
  });
}

/// `Tiles` of linear_word_units.h, for weights with scales of groups.
template <typename Tiles, typename Products>
struct GroupTiles : Tiles {
  static constexpr int64_t kRows = kGroupTileRows;
  /// multiply() takes as many parts at once as there are.
  static constexpr bool kTakesParts = true;

  static void multiply(const TilePart& part, int64_t rows, bool first,
                       float* sums) {
    kernel_for_rows<kGroupTileRows>(rows, [](auto count) {
      return multiply_tile_groups<Products, count.value>;
    })(part, first, sums);
  }
};

}  // namespace
}  // namespace quanto::kernels

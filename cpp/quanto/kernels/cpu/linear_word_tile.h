// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <utility>

#include "quanto/kernels/cpu/linear_tile.h"

// What the ways to multiply tiles of 32-bit words share. A word holds two
// bfloat16 numbers or four int8 of consecutive k; of four k the pairs are
// (0, 2) and (1, 3), the order in which codes leave their bytes.

namespace quanto::kernels {
namespace {

/// k whose codes stand in 32 bits.
constexpr int64_t kQuad = 4;

/// What a micro-kernel call multiplies: `words` of k within one group, by each
/// of the terms of x; where the tiles take more than one part, `parts` of them,
/// one after the other.
struct TilePart {
  const uint32_t* tile;   ///< laid out as its micro-kernel packs it
  const uint32_t* panel;  ///< [words][kPanelColumns]
  int64_t words;
  int64_t parts;
  int64_t terms;
  const float* scale;   ///< [kPanelColumns], null without
  const float* shift;   ///< [kPanelColumns]
  const float* x_sums;  ///< [rows], the sums of x over the part
};

/// A micro-kernel of one number of rows.
using MultiplyPart = void (*)(const TilePart& part, bool first, float* sums);

/// kernel_of(Constant<rows>) of 1 <= rows <= kMost.
template <int kMost, typename KernelOf>
MultiplyPart kernel_for_rows(int64_t rows, KernelOf /*kernel_of*/) {
  static constexpr auto kKernels =
      []<int... kLess>(std::integer_sequence<int, kLess...>) {
        return std::array<MultiplyPart, kMost>{
            KernelOf{}(Constant<kLess + 1>{})...};
      }(std::make_integer_sequence<int, kMost>{});
  return kKernels[static_cast<size_t>(rows - 1)];
}

/// Calls body(row, half, weights of that half, code of x) for every word of a
/// tile [words][kRows] and a panel [words][kPanelColumns].
template <int kRows, typename Body>
QUANTO_INLINE void multiply_words(const uint32_t* tile, const uint32_t* panel,
                                  int64_t words, Body body) {
  for (int64_t i = 0; i < words; ++i) {
    const IVec w[2] = {load_words(panel), load_words(panel + kLanes)};
    unrolled<kRows>([&](int r) QUANTO_INLINE_BODY {
      const IVec x = ibroadcast(static_cast<int32_t>(tile[r]));
      body(r, Constant<0>{}, w[0], x);
      body(r, Constant<1>{}, w[1], x);
    });
    panel += kPanelColumns;
    tile += kRows;
  }
}

/// before + scale * product - x_sum * shift.
inline Vec add_scaled(Vec before, Vec product, Vec scale, float x_sum,
                      Vec shift) {
  return fma(product, scale, fnma(broadcast(x_sum), shift, before));
}

/// Scale and shift of half of a part's columns, in registers: they may not be
/// read again for each sum, as sums are stored between.
struct PartScales {
  Vec scale;
  Vec shift;
  const float* x_sums;

  PartScales(const TilePart& part, int half)
      : scale(load(part.scale + half * kLanes)),
        shift(load(part.shift + half * kLanes)),
        x_sums(part.x_sums) {}

  [[nodiscard]] Vec add(Vec before, Vec product, int r) const {
    return add_scaled(before, product, scale, x_sums[r], shift);
  }
};

/// update(before) where before(sum) is a vector of sums, or 0 the first time.
template <typename Update>
QUANTO_INLINE void with_sums_before(bool first, Update update) {
  if (first) {
    update([](const float* /*sum*/) { return zero(); });
  } else {
    update([](const float* sum) { return load(sum); });
  }
}

/// Each vector of sums [kRows][kPanelColumns] = combine(before, row, half).
template <int kRows, typename Combine>
QUANTO_INLINE void update_sums(bool first, float* sums, Combine combine) {
  with_sums_before(first, [&](auto before) QUANTO_INLINE_BODY {
    unrolled<kRows, 2>([&](int r, int half) QUANTO_INLINE_BODY {
      float* sum = sums + r * kPanelColumns + half * kLanes;
      store(sum, combine(before(sum), r, half));
    });
  });
}

/// sums [kRows][kPanelColumns] (+)= scale * product(row, half) - x_sums *
/// shift. Half after half, as the scales of both may not find registers beside
/// the products.
template <int kRows, typename Product>
QUANTO_INLINE void add_scaled_products(const TilePart& part, bool first,
                                       Product product, float* sums) {
  with_sums_before(first, [&](auto before) QUANTO_INLINE_BODY {
    unrolled<2>([&](int half) QUANTO_INLINE_BODY {
      const PartScales scales(part, half);
      unrolled<kRows>([&](int r) QUANTO_INLINE_BODY {
        float* sum = sums + r * kPanelColumns + half * kLanes;
        store(sum, scales.add(before(sum), product(r, half), r));
      });
    });
  });
}

/// int32 sums, in place.
inline void int_sums_to_float(float* sums, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    store(sums + i, to_float(load_words(sums + i)));
  }
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

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

/// before + scale * product - x_sum * shift.
inline Vec add_scaled(Vec before, Vec product, Vec scale, float x_sum,
                      Vec shift) {
  return fma(product, scale, fnma(broadcast(x_sum), shift, before));
}

/// Scale and shift of a part, in registers: they may not be read again for each
/// sum, as sums are stored between.
struct PartScales {
  Vec scale[2];
  Vec shift[2];
  const float* x_sums;

  explicit PartScales(const TilePart& part)
      : scale{load(part.scale), load(part.scale + kLanes)},
        shift{load(part.shift), load(part.shift + kLanes)},
        x_sums(part.x_sums) {}

  [[nodiscard]] Vec add(Vec before, Vec product, int r, int half) const {
    return add_scaled(before, product, scale[half], x_sums[r], shift[half]);
  }
};

/// Each vector of sums [kRows][kPanelColumns] = combine(before, row, half),
/// where before is 0 the first time.
template <int kRows, typename Combine>
QUANTO_INLINE void update_sums(bool first, float* sums, Combine combine) {
  const auto update = [&](auto before) {
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      QUANTO_UNROLL for (int half = 0; half < 2; ++half) {
        float* sum = sums + r * kPanelColumns + half * kLanes;
        store(sum, combine(before(sum), r, half));
      }
    }
  };
  if (first) {
    update([](const float* /*sum*/) { return zero(); });
  } else {
    update([](const float* sum) { return load(sum); });
  }
}

/// The products of a part, product(row, half), to sums: as int32 without a
/// scale, else as fp32 with scale and shift.
template <int kRows, typename Product>
QUANTO_INLINE void add_int_products(const TilePart& part, bool first,
                                    Product product, float* sums) {
  if (part.scale == nullptr) {
    update_sums<kRows>(first, sums, [&](Vec before, int r, int half) {
      return as_float(iadd(as_int(before), product(r, half)));
    });
  } else {
    const PartScales scales(part);
    update_sums<kRows>(first, sums, [&](Vec before, int r, int half) {
      return scales.add(before, to_float(product(r, half)), r, half);
    });
  }
}

/// int32 sums, in place.
inline void int_sums_to_float(float* sums, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    store(sums + i, to_float(load_words(sums + i)));
  }
}

}  // namespace
}  // namespace quanto::kernels

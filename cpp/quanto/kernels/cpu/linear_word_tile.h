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
/// of the terms of x.
struct TilePart {
  const uint32_t* tile;   ///< laid out as its micro-kernel packs it
  const uint32_t* panel;  ///< [words][kPanelColumns]
  int64_t words;
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

/// int32 sums, in place.
inline void int_sums_to_float(float* sums, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    store(sums + i, to_float(load_words(sums + i)));
  }
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile.h"

// What the ways to multiply tiles of bfloat16 pairs share. Of four k the pairs
// are (0, 2) and (1, 3): the order in which codes leave their bytes.

namespace quanto::kernels {
namespace {

/// k of the two pairs that four bytes decode to.
constexpr int64_t kQuad = 4;
/// k of a vector of pairs.
constexpr int64_t kVecPairsK = 32;

/// Pairs of `count` <= kVecPairsK bfloat16 numbers, zeros past them.
inline __m512i load_pairs(const uint8_t* input, int64_t count) {
  const __m512i order = _mm512_set_epi16(31, 29, 30, 28, 27, 25, 26, 24, 23, 21,
                                         22, 20, 19, 17, 18, 16, 15, 13, 14, 12,
                                         11, 9, 10, 8, 7, 5, 6, 4, 3, 1, 2, 0);
  const auto mask =
      static_cast<__mmask32>(~uint32_t{0} >> (kVecPairsK - count));
  return _mm512_permutexvar_epi16(order, _mm512_maskz_loadu_epi16(mask, input));
}

/// What a micro-kernel call multiplies: `pairs` of k within one group.
struct TilePart {
  const uint32_t* tile;   ///< laid out as its micro-kernel packs it
  const uint32_t* panel;  ///< [pairs][kPanelColumns]
  int64_t pairs;
  const float* scale;   ///< [kPanelColumns], null without
  const float* shift;   ///< [kPanelColumns]
  const float* x_sums;  ///< [rows], the sums of x that the shift goes with
};

/// before + scale * product - x_sum * shift.
inline Vec add_scaled(Vec before, Vec product, Vec scale, float x_sum,
                      Vec shift) {
  return fma(product, scale, fnma(broadcast(x_sum), shift, before));
}

}  // namespace
}  // namespace quanto::kernels

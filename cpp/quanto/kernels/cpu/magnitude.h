// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/vec.h"

// The largest |x| of vectors, exact, with NaN on top.

namespace quanto::kernels {
namespace {

constexpr float kNan = __builtin_bit_cast(float, 0x7fc00000);

/// Any NaN as the same one.
inline float quiet(float x) { return x == x ? x : kNan; }

/// |x| as integers: their order is that of the values, with NaN on top.
inline IVec magnitude_bits(Vec x) {
  return iand(as_int(x), ibroadcast(0x7fffffff));
}

inline float from_magnitude_bits(int32_t bits) {
  return quiet(__builtin_bit_cast(float, bits));
}

inline int32_t largest_lane(IVec a) {
  alignas(64) int32_t lanes[Vec::kLanes];
  store(reinterpret_cast<float*>(lanes), as_float(a));
  int32_t largest = lanes[0];
  for (const int32_t lane : lanes) {
    if (lane > largest) largest = lane;
  }
  return largest;
}

}  // namespace
}  // namespace quanto::kernels

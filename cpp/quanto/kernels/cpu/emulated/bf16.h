// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/emulated/lanes.h"

// Pairs of bfloat16. These instructions heed no rounding mode: to nearest even,
// subnormal numbers read and written as zeros of their sign.

namespace quanto::kernels {
namespace {

constexpr uint32_t kSignBit = 0x80000000;
constexpr uint32_t kInfinityBits = 0x7f800000;
/// Smallest normal number of fp32, and of bfloat16.
constexpr float kSmallestUnflushed = 0x1p-126F;

inline float flushed(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  return (bits & kInfinityBits) == 0 ? __builtin_bit_cast(float, bits& kSignBit)
                                     : x;
}

inline float bf16_to_float(uint16_t bits) {
  return flushed(__builtin_bit_cast(float, uint32_t{bits} << 16));
}

/// a * b + c with one rounding, flushed. Whether it is subnormal is asked of
/// the result rounded as if exponents had no lower end: one that rounds up to
/// the smallest normal number in 23 bits may not in 24.
inline float flushed_fma(float a, float b, float c) {
  const float sum = __builtin_fmaf(a, b, c);
  if (__builtin_fabsf(sum) != kSmallestUnflushed) return flushed(sum);
  constexpr float kScale = 0x1p60F;
  const float larger = a > 1 || a < -1
                           ? __builtin_fmaf(a, b * kScale, c * kScale)
                           : __builtin_fmaf(a * kScale, b, c * kScale);
  return __builtin_fabsf(larger) < kSmallestUnflushed * kScale
             ? __builtin_copysignf(0.0F, sum)
             : sum;
}

inline float flushed_add(float a, float b) { return flushed(a + b); }

inline uint16_t float_to_bf16(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, flushed(x));
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  // Infinity stays: its lower half is 0.
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// The lower half of the result is of b.
inline __m512bh _mm512_cvtne2ps_pbh(__m512 a, __m512 b) {
  return reinterpret_cast<__m512bh>(each_lane<uint16_t>(
      [&](int i) { return float_to_bf16(i < 16 ? b[i] : a[i - 16]); }));
}

/// Adds the product of the odd ones, then that of the even ones.
inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  const auto x = lanes<uint16_t>(a), y = lanes<uint16_t>(b);
  return each_lane<float>([&](int i) {
    const float odd = flushed_fma(bf16_to_float(x[2 * i + 1]),
                                  bf16_to_float(y[2 * i + 1]), flushed(sum[i]));
    return flushed_fma(bf16_to_float(x[2 * i]), bf16_to_float(y[2 * i]), odd);
  });
}

}  // namespace
}  // namespace quanto::kernels

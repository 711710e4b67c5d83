// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/emulated/lanes.h"

// fp32 lanes: what AVX2 and F16C do by halves is done by halves.

namespace quanto::kernels {
namespace {

inline __m512 _mm512_setzero_ps() { return __m512{}; }
inline __m512 _mm512_set1_ps(float x) { return x - __m512{}; }
inline __m512 _mm512_setr_ps(float a, float b, float c, float d, float e,
                             float f, float g, float h, float i, float j,
                             float k, float l, float m, float n, float o,
                             float p) {
  return __m512{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
}
inline __m512 _mm512_broadcastss_ps(__m128 a) {
  return by_halves([=](__m256 /*part*/) { return _mm256_broadcastss_ps(a); },
                   __m512{});
}
inline __m512 _mm512_mask_broadcastss_ps(__m512 from, __mmask16 mask,
                                         __m128 a) {
  return each_lane<float>(
      [&](int i) { return bit_of(mask, i) ? a[0] : from[i]; });
}
inline __m512 _mm512_mask_mov_ps(__m512 from, __mmask16 mask, __m512 a) {
  return each_lane<float>(
      [&](int i) { return bit_of(mask, i) ? a[i] : from[i]; });
}

inline __m512i _mm512_castps_si512(__m512 a) {
  return reinterpret_cast<__m512i>(a);
}
inline __m512 _mm512_castsi512_ps(__m512i a) {
  return reinterpret_cast<__m512>(a);
}
inline __m256 _mm512_castps512_ps256(__m512 a) { return half<0>(a); }
inline __m128 _mm512_castps512_ps128(__m512 a) {
  return _mm256_castps256_ps128(half<0>(a));
}
inline __m512 _mm512_zextps256_ps512(__m256 a) {
  return join(a, _mm256_setzero_ps());
}
inline __m256 _mm512_extractf32x8_ps(__m512 a, int part) {
  return (part & 1) != 0 ? half<1>(a) : half<0>(a);
}

inline __m512 _mm512_add_ps(__m512 a, __m512 b) { return a + b; }
inline __m512 _mm512_sub_ps(__m512 a, __m512 b) { return a - b; }
inline __m512 _mm512_mul_ps(__m512 a, __m512 b) { return a * b; }
inline __m512 _mm512_div_ps(__m512 a, __m512 b) { return a / b; }
inline __m512 _mm512_min_ps(__m512 a, __m512 b) {
  return by_halves([](__m256 x, __m256 y) { return _mm256_min_ps(x, y); }, a,
                   b);
}
inline __m512 _mm512_max_ps(__m512 a, __m512 b) {
  return by_halves([](__m256 x, __m256 y) { return _mm256_max_ps(x, y); }, a,
                   b);
}
inline __m512 _mm512_abs_ps(__m512 a) {
  return reinterpret_cast<__m512>(lanes<uint32_t>(a) & 0x7fffffffU);
}
inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return by_halves(
      [](__m256 x, __m256 y, __m256 z) { return _mm256_fmadd_ps(x, y, z); }, a,
      b, c);
}
inline __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) {
  return by_halves(
      [](__m256 x, __m256 y, __m256 z) { return _mm256_fnmadd_ps(x, y, z); }, a,
      b, c);
}
inline __m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c) {
  return by_halves(
      [](__m256 x, __m256 y, __m256 z) { return _mm256_fmsub_ps(x, y, z); }, a,
      b, c);
}

/// The only way to round that the kernels use; others are not emulated.
constexpr int kRoundEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
inline __m512 _mm512_roundscale_ps(__m512 a, int how) {
  if (how != kRoundEven) __builtin_trap();
  return by_halves([](__m256 x) { return _mm256_round_ps(x, kRoundEven); }, a);
}
inline __m512i _mm512_cvtps_epi32(__m512 a) {
  return by_halves([](__m256 x) { return _mm256_cvtps_epi32(x); }, a);
}
inline __m512 _mm512_cvtepi32_ps(__m512i a) {
  return by_halves([](__m256i x) { return _mm256_cvtepi32_ps(x); }, a);
}
inline __m512 _mm512_cvtph_ps(__m256i a) {
  return join(_mm256_cvtph_ps(_mm256_castsi256_si128(a)),
              _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}
inline __m256i _mm512_cvtps_ph(__m512 a, int how) {
  if (how != kRoundEven) __builtin_trap();
  return _mm256_set_m128i(_mm256_cvtps_ph(half<1>(a), kRoundEven),
                          _mm256_cvtps_ph(half<0>(a), kRoundEven));
}

inline __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int how) {
  return each_bit<__mmask16>([&](int i) {
    switch (how) {
      case _CMP_LT_OQ:
        return a[i] < b[i];
      case _CMP_EQ_OQ:
        return a[i] == b[i];
      case _CMP_UNORD_Q:
        return a[i] != a[i] || b[i] != b[i];
      default:
        __builtin_trap();
    }
  });
}

/// op of the upper and the lower half, until one lane is left: the order that
/// the compiler's reductions of 512 bits have.
template <typename Op>
inline float fold(__m512 a, Op op) {
  float lane[16];
  __builtin_memcpy(lane, &a, sizeof(a));
  for (int count = 8; count > 0; count /= 2) {
    // The last two steps take the lower half first.
    for (int i = 0; i < count; ++i) {
      lane[i] = count > 2 ? op(lane[count + i], lane[i])
                          : op(lane[i], lane[count + i]);
    }
  }
  return lane[0];
}
inline float _mm512_reduce_add_ps(__m512 a) {
  return fold(a, [](float x, float y) { return x + y; });
}
inline float _mm512_reduce_max_ps(__m512 a) {
  return fold(a, [](float x, float y) { return x > y ? x : y; });
}
inline float _mm512_reduce_min_ps(__m512 a) {
  return fold(a, [](float x, float y) { return x < y ? x : y; });
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/emulated/integers.h"

// Lanes that change places.

namespace quanto::kernels {
namespace {

inline __m512i _mm512_set_epi16(short a31, short a30, short a29, short a28,
                                short a27, short a26, short a25, short a24,
                                short a23, short a22, short a21, short a20,
                                short a19, short a18, short a17, short a16,
                                short a15, short a14, short a13, short a12,
                                short a11, short a10, short a9, short a8,
                                short a7, short a6, short a5, short a4,
                                short a3, short a2, short a1, short a0) {
  return as_m512i(Lanes<int16_t>{a0,  a1,  a2,  a3,  a4,  a5,  a6,  a7,
                                 a8,  a9,  a10, a11, a12, a13, a14, a15,
                                 a16, a17, a18, a19, a20, a21, a22, a23,
                                 a24, a25, a26, a27, a28, a29, a30, a31});
}

/// The bits of the upper half mean nothing: ones that nobody expects.
inline __m512i _mm512_castsi256_si512(__m256i a) {
  return join(a, _mm256_set1_epi32(0x7fa5a5a5));
}
inline __m512i _mm512_set_epi32(int a15, int a14, int a13, int a12, int a11,
                                int a10, int a9, int a8, int a7, int a6, int a5,
                                int a4, int a3, int a2, int a1, int a0) {
  const int words[] = {a0, a1, a2,  a3,  a4,  a5,  a6,  a7,
                       a8, a9, a10, a11, a12, a13, a14, a15};
  return as_m512i(each_lane<int>([&](int i) { return words[i]; }));
}
inline __m256i _mm512_castsi512_si256(__m512i a) { return half<0>(a); }
inline __m256i _mm512_extracti64x4_epi64(__m512i a, int part) {
  return (part & 1) != 0 ? half<1>(a) : half<0>(a);
}
inline __m512i _mm512_broadcast_i64x4(__m256i a) { return join(a, a); }
inline __m512i _mm512_inserti64x4(__m512i a, __m256i b, int part) {
  return (part & 1) != 0 ? join(half<0>(a), b) : join(b, half<1>(a));
}

inline __m512i _mm512_unpacklo_epi32(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_unpacklo_epi32(x, y); }, a, b);
}
inline __m512i _mm512_unpackhi_epi32(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_unpackhi_epi32(x, y); }, a, b);
}
inline __m512i _mm512_unpacklo_epi64(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_unpacklo_epi64(x, y); }, a, b);
}
inline __m512i _mm512_unpackhi_epi64(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_unpackhi_epi64(x, y); }, a, b);
}

inline __m512i _mm512_packus_epi32(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_packus_epi32(x, y); }, a, b);
}
inline __m512i _mm512_packus_epi16(__m512i a, __m512i b) {
  return by_halves(
      [](__m256i x, __m256i y) { return _mm256_packus_epi16(x, y); }, a, b);
}

/// Two bits of `order` for each quarter of the result: the lower two quarters
/// come from a, the upper two from b.
inline __m512i _mm512_shuffle_i32x4(__m512i a, __m512i b, int order) {
  return as_m512i(each_lane<uint64_t>([&](int i) {
    const int quarter = order >> (i / 2 * 2) & 3;
    return (i < 4 ? lanes<uint64_t>(a)
                  : lanes<uint64_t>(b))[2 * quarter + i % 2];
  }));
}

inline __m512 _mm512_permutexvar_ps(__m512i index, __m512 a) {
  const auto from = lanes<uint32_t>(index);
  return each_lane<float>([&](int i) { return a[from[i] & 15]; });
}
inline __m512 _mm512_permutex2var_ps(__m512 a, __m512i index, __m512 b) {
  const auto from = lanes<uint32_t>(index);
  return each_lane<float>([&](int i) {
    return (from[i] & 16) != 0 ? b[from[i] & 15] : a[from[i] & 15];
  });
}
inline __m512i _mm512_permutexvar_epi32(__m512i index, __m512i a) {
  const auto from = lanes<uint32_t>(index), x = lanes<uint32_t>(a);
  return as_m512i(each_lane<uint32_t>([&](int i) { return x[from[i] & 15]; }));
}
inline __m512i _mm512_permutexvar_epi16(__m512i index, __m512i a) {
  const auto from = lanes<uint16_t>(index), x = lanes<uint16_t>(a);
  return as_m512i(each_lane<uint16_t>([&](int i) { return x[from[i] & 31]; }));
}
inline __m512i _mm512_permutex2var_epi16(__m512i a, __m512i index, __m512i b) {
  const auto from = lanes<uint16_t>(index);
  const auto x = lanes<uint16_t>(a), y = lanes<uint16_t>(b);
  return as_m512i(each_lane<uint16_t>([&](int i) {
    return (from[i] & 32) != 0 ? y[from[i] & 31] : x[from[i] & 31];
  }));
}
inline __m512i _mm512_mask_permutexvar_epi16(__m512i from, __mmask32 mask,
                                             __m512i index, __m512i a) {
  return _mm512_mask_mov_epi16(from, mask, _mm512_permutexvar_epi16(index, a));
}

}  // namespace
}  // namespace quanto::kernels

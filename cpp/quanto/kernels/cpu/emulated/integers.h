// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/emulated/lanes.h"

// Integer lanes: arithmetic, shifts, comparisons, conversions of width.

namespace quanto::kernels {
namespace {

template <typename V>
inline __m512i as_m512i(V v) {
  return reinterpret_cast<__m512i>(v);
}

inline __m512i _mm512_setzero_si512() { return __m512i{}; }
inline __m512i _mm512_set1_epi8(char x) {
  return as_m512i(Lanes<int8_t>{} + static_cast<int8_t>(x));
}
inline __m512i _mm512_set1_epi16(short x) {
  return as_m512i(Lanes<int16_t>{} + x);
}
inline __m512i _mm512_set1_epi32(int x) { return as_m512i(Lanes<int>{} + x); }

inline __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }
inline __m512i _mm512_or_si512(__m512i a, __m512i b) { return a | b; }
inline __m512i _mm512_xor_si512(__m512i a, __m512i b) { return a ^ b; }
inline __m512i _mm512_add_epi16(__m512i a, __m512i b) {
  return as_m512i(lanes<uint16_t>(a) + lanes<uint16_t>(b));
}
inline __m512i _mm512_add_epi32(__m512i a, __m512i b) {
  return as_m512i(lanes<uint32_t>(a) + lanes<uint32_t>(b));
}
inline __m512i _mm512_sub_epi32(__m512i a, __m512i b) {
  return as_m512i(lanes<uint32_t>(a) - lanes<uint32_t>(b));
}
inline __m512i _mm512_max_epi32(__m512i a, __m512i b) {
  return by_halves([](__m256i x, __m256i y) { return _mm256_max_epi32(x, y); },
                   a, b);
}
inline __m512i _mm512_max_epu8(__m512i a, __m512i b) {
  return by_halves([](__m256i x, __m256i y) { return _mm256_max_epu8(x, y); },
                   a, b);
}

// A count past the width leaves zeros, or signs.
inline int shift_count(unsigned count) {
  return count > 255 ? 255 : static_cast<int>(count);
}
inline __m512i _mm512_slli_epi16(__m512i a, unsigned count) {
  return by_halves(
      [=](__m256i x) { return _mm256_slli_epi16(x, shift_count(count)); }, a);
}
inline __m512i _mm512_srli_epi16(__m512i a, unsigned count) {
  return by_halves(
      [=](__m256i x) { return _mm256_srli_epi16(x, shift_count(count)); }, a);
}
inline __m512i _mm512_slli_epi32(__m512i a, unsigned count) {
  return by_halves(
      [=](__m256i x) { return _mm256_slli_epi32(x, shift_count(count)); }, a);
}
inline __m512i _mm512_srli_epi32(__m512i a, unsigned count) {
  return by_halves(
      [=](__m256i x) { return _mm256_srli_epi32(x, shift_count(count)); }, a);
}
inline __m512i _mm512_srai_epi32(__m512i a, unsigned count) {
  return by_halves(
      [=](__m256i x) { return _mm256_srai_epi32(x, shift_count(count)); }, a);
}
inline __m512i _mm512_srlv_epi32(__m512i a, __m512i counts) {
  return by_halves([](__m256i x, __m256i y) { return _mm256_srlv_epi32(x, y); },
                   a, counts);
}
inline __m512i _mm512_sll_epi16(__m512i a, __m128i count) {
  return by_halves([=](__m256i x) { return _mm256_sll_epi16(x, count); }, a);
}
inline __m512i _mm512_srl_epi16(__m512i a, __m128i count) {
  return by_halves([=](__m256i x) { return _mm256_srl_epi16(x, count); }, a);
}

inline __mmask64 _mm512_cmpeq_epi8_mask(__m512i a, __m512i b) {
  const auto x = lanes<uint8_t>(a), y = lanes<uint8_t>(b);
  return each_bit<__mmask64>([&](int i) { return x[i] == y[i]; });
}
inline __mmask32 _mm512_cmpeq_epi16_mask(__m512i a, __m512i b) {
  const auto x = lanes<uint16_t>(a), y = lanes<uint16_t>(b);
  return each_bit<__mmask32>([&](int i) { return x[i] == y[i]; });
}
inline __mmask32 _mm512_cmpge_epu16_mask(__m512i a, __m512i b) {
  const auto x = lanes<uint16_t>(a), y = lanes<uint16_t>(b);
  return each_bit<__mmask32>([&](int i) { return x[i] >= y[i]; });
}
inline __mmask32 _mm512_cmplt_epu16_mask(__m512i a, __m512i b) {
  return ~_mm512_cmpge_epu16_mask(a, b);
}
inline __mmask32 _mm512_testn_epi16_mask(__m512i a, __m512i b) {
  const auto both = lanes<uint16_t>(a & b);
  return each_bit<__mmask32>([&](int i) { return both[i] == 0; });
}
inline __mmask32 _mm512_test_epi16_mask(__m512i a, __m512i b) {
  return ~_mm512_testn_epi16_mask(a, b);
}

inline __mmask16 _mm512_test_epi32_mask(__m512i a, __m512i b) {
  const auto both = lanes<uint32_t>(a & b);
  return each_bit<__mmask16>([&](int i) { return both[i] != 0; });
}

inline __m512i _mm512_mask_mov_epi16(__m512i from, __mmask32 mask, __m512i a) {
  const auto x = lanes<uint16_t>(a), y = lanes<uint16_t>(from);
  return as_m512i(each_lane<uint16_t>(
      [&](int i) { return bit_of(mask, i) ? x[i] : y[i]; }));
}
inline __m512i _mm512_mask_mov_epi32(__m512i from, __mmask16 mask, __m512i a) {
  const auto x = lanes<uint32_t>(a), y = lanes<uint32_t>(from);
  return as_m512i(each_lane<uint32_t>(
      [&](int i) { return bit_of(mask, i) ? x[i] : y[i]; }));
}

inline __m512i _mm512_mask_add_epi32(__m512i from, __mmask16 mask, __m512i a,
                                     __m512i b) {
  return _mm512_mask_mov_epi32(from, mask, _mm512_add_epi32(a, b));
}

inline __m512i _mm512_cvtepi8_epi32(__m128i a) {
  return join(_mm256_cvtepi8_epi32(a),
              _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8)));
}
inline __m512i _mm512_cvtepu8_epi32(__m128i a) {
  return join(_mm256_cvtepu8_epi32(a),
              _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)));
}
inline __m512i _mm512_cvtepi8_epi16(__m256i a) {
  return join(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(a)),
              _mm256_cvtepi8_epi16(_mm256_extracti128_si256(a, 1)));
}
inline __m512i _mm512_cvtepu8_epi16(__m256i a) {
  return join(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(a)),
              _mm256_cvtepu8_epi16(_mm256_extracti128_si256(a, 1)));
}
inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
  return join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
              _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)));
}
/// The low bytes, as the conversions that do not saturate take them.
inline __m128i _mm512_cvtepi32_epi8(__m512i a) {
  const auto x = lanes<uint32_t>(a);
  uint8_t low[16];
  for (int i = 0; i < 16; ++i) low[i] = static_cast<uint8_t>(x[i]);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
}
inline __m256i _mm512_cvtepi32_epi16(__m512i a) {
  const auto x = lanes<uint32_t>(a);
  uint16_t low[16];
  for (int i = 0; i < 16; ++i) low[i] = static_cast<uint16_t>(x[i]);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
}

/// Adds four products of an unsigned byte of a and a signed one of b to each
/// lane; the sum wraps.
inline __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  return by_halves(
      [](__m256i s, __m256i x, __m256i y) {
        const __m256i low = _mm256_set1_epi16(0xff);
        // Products of pairs of 16 bits do not overflow their 32.
        const __m256i even =
            _mm256_madd_epi16(_mm256_and_si256(x, low),
                              _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8));
        const __m256i odd =
            _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(y, 8));
        return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
      },
      sum, a, b);
}

}  // namespace
}  // namespace quanto::kernels

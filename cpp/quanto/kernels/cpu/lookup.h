// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "quanto/kernels/cpu/vec.h"

// Tables of what 16 codes stand for, in types of 16 bits: finding a result
// costs less than computing it wherever many codes share a scale.

namespace quanto::kernels {
namespace {

/// Entries of a table: as many as there are codes of 4 bits.
constexpr int kLookupEntries = 16;

#ifdef QUANTO_HAS_NEON

/// The low and the high bytes of the entries.
using Lookup = uint8x16x2_t;
/// Codes of one byte, looked up together.
struct Codes {
  static constexpr int kCount = 16;
  uint8x16_t v;
};

inline Lookup make_lookup(const uint16_t* entries) {
  return vld2q_u8(reinterpret_cast<const uint8_t*>(entries));
}
/// The bits of `mask` in each byte at p, shifted right by `shift`.
inline Codes load_codes(const uint8_t* p, int shift, int mask) {
  const uint8x16_t bits = vshlq_u8(vld1q_u8(p), vdupq_n_s8(-shift));
  return {vandq_u8(bits, vdupq_n_u8(static_cast<uint8_t>(mask)))};
}
/// Writes the entry of each code.
inline void look_up(const Lookup& table, Codes codes, void* out) {
  const uint8x16x2_t entries = {vqtbl1q_u8(table.val[0], codes.v),
                                vqtbl1q_u8(table.val[1], codes.v)};
  vst2q_u8(static_cast<uint8_t*>(out), entries);
}

#else

struct Codes {
  static constexpr int kCount = 32;
  __m256i v;
};

inline Codes load_codes(const uint8_t* p, int shift, int mask) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  // Bits that cross a byte are masked.
  const __m256i bits = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift));
  return {_mm256_and_si256(bits, _mm256_set1_epi8(static_cast<char>(mask)))};
}

#ifdef QUANTO_HAS_AVX512

struct Lookup {
  __m512i entries;
};

inline Lookup make_lookup(const uint16_t* entries) {
  return {_mm512_castsi256_si512(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(entries)))};
}
inline void look_up(const Lookup& table, Codes codes, void* out) {
  _mm512_storeu_si512(out, _mm512_permutexvar_epi16(
                               _mm512_cvtepu8_epi16(codes.v), table.entries));
}

#else

/// Twice the low and twice the high bytes of the entries.
struct Lookup {
  __m256i low;
  __m256i high;
};

inline Lookup make_lookup(const uint16_t* entries) {
  const auto* halves = reinterpret_cast<const __m128i*>(entries);
  const __m128i a = _mm_loadu_si128(halves), b = _mm_loadu_si128(halves + 1);
  const __m128i byte = _mm_set1_epi16(0xff);
  return {_mm256_broadcastsi128_si256(
              _mm_packus_epi16(_mm_and_si128(a, byte), _mm_and_si128(b, byte))),
          _mm256_broadcastsi128_si256(
              _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)))};
}
inline void look_up(const Lookup& table, Codes codes, void* out) {
  // Bytes are zipped within 128 bits: eight codes of each half go there.
  const __m256i eights = _mm256_permute4x64_epi64(codes.v, 0xd8);
  const __m256i low = _mm256_shuffle_epi8(table.low, eights);
  const __m256i high = _mm256_shuffle_epi8(table.high, eights);
  auto* halves = static_cast<__m256i*>(out);
  _mm256_storeu_si256(halves, _mm256_unpacklo_epi8(low, high));
  _mm256_storeu_si256(halves + 1, _mm256_unpackhi_epi8(low, high));
}

#endif
#endif

}  // namespace
}  // namespace quanto::kernels

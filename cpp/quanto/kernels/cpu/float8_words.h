// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/float8.h"

// Float8 codes of numbers of 8 significant bits, two vectors at a time, by way
// of fp16. Times 2^(bias - 15) the numbers have their subnormals where fp16 has
// its own, so that sign, exponent and mantissa of the code are the upper bits
// of the fp16 rounded to nearest even, subnormal or not.
//
// fp16 holds such a number but for one below half the smallest subnormal of a
// type with 3 bits of mantissa, 2^-18 here, or next to it: that one has fewer
// than 8 bits to lose, yet must not become the number halfway. A bit below all
// others, far enough to change no other number, tells on which side it is.

namespace quanto::kernels {
namespace {

/// Twice as many 16-bit integers as a Vec has lanes, and as many bytes.
using Words [[gnu::vector_size(4 * Vec::kLanes)]] = uint16_t;
using WordBytes [[gnu::vector_size(2 * Vec::kLanes)]] = uint8_t;

inline Words join_words(Halves low, Halves high) {
#if defined(QUANTO_HAS_AVX512)
  return reinterpret_cast<Words>(
      _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
#elif defined(QUANTO_HAS_NEON)
  const Halves both[] = {low, high};
  Words words;
  __builtin_memcpy(&words, both, sizeof(words));
  return words;
#else
  return reinterpret_cast<Words>(_mm256_set_m128i(high, low));
#endif
}

/// Bytes at p, sign-extended.
inline Words load_words(const uint8_t* p) {
#if defined(QUANTO_HAS_AVX512)
  return reinterpret_cast<Words>(_mm512_cvtepi8_epi16(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(QUANTO_HAS_NEON)
  return join_words(sign_extend(load_bytes(p)),
                    sign_extend(load_bytes(p + Vec::kLanes)));
#else
  return reinterpret_cast<Words>(_mm256_cvtepi8_epi16(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#endif
}

/// What a number of 8 bits is multiplied by.
template <DType kType>
constexpr float kWordScale = power_of_two(Float8Format<kType>::kBias - 15);

/// A scaled number as fp16. It is finite or NaN.
inline Halves word_of(Vec scaled) {
  constexpr int kBelowAll = 1 << 11;
  return to_fp16(as_float(ior(as_int(scaled), ibroadcast(kBelowAll))));
}

/// Codes of words at most those of the largest number, or NaN.
template <DType kType>
inline WordBytes encode_words(Words words) {
  using Format = Float8Format<kType>;
  constexpr int kDropped = 10 - Format::kMantissa;
  constexpr uint16_t kHalfLess = (1 << (kDropped - 1)) - 1;
  const Words sign = words >> 8 & 0x80;
  const Words magnitude = words & 0x7fff;
  const auto nan = magnitude > 0x7c00;
  const Words odd = magnitude >> kDropped & 1;
  const Words rounded = (magnitude + kHalfLess + odd) >> kDropped;
  // What bfloat16 makes of a NaN has no sign.
  constexpr uint16_t kNanCode = Format::kSignedZeroAndNan ? 0x7f : 0x80;
  Words code = rounded | sign;
  if constexpr (!Format::kSignedZeroAndNan)
    code = rounded == 0 ? rounded : code;
  return __builtin_convertvector(nan ? Words{} + kNanCode : code, WordBytes);
}

/// What sign-extended codes stand for, times kWordScale, in fp16: the inverse.
template <DType kType>
inline Words decode_words(Words wide) {
  using Format = Float8Format<kType>;
  if constexpr (kType == DType::kFloat8E5M2) {
    return wide << 8;
  } else {
    const Words words = wide << 7 & 0xbf80;
    const Words nan = words | 0x7e00;
    if constexpr (Format::kSignedZeroAndNan) {
      return (words & 0x3f80) == 0x3f80 ? nan : words;
    } else {
      return words == 0x8000 ? nan : words;
    }
  }
}

}  // namespace
}  // namespace quanto::kernels

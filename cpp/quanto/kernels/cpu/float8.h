// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "quanto/core/dtype.h"
#include "quanto/kernels/cpu/vec.h"

// The three float8 types on vectors, exact. Decoding goes through fp16, whose
// exponent covers all of them: its conversion handles subnormals at full speed,
// where a product of subnormal floats would not.

namespace quanto::kernels {
namespace {

#ifdef QUANTO_HAS_NEON

struct Bytes {
  uint8x8_t v;
};
using Halves = uint16x8_t;

inline Bytes load_bytes(const uint8_t* p) { return {vld1_u8(p)}; }
inline Bytes load_bytes_tail(const uint8_t* p, int count) {
  return load_bytes(Part<uint8_t>(p, count).at);
}
inline Halves sign_extend(Bytes b) {
  return vreinterpretq_u16_s16(vmovl_s8(vreinterpret_s8_u8(b.v)));
}
inline Halves half_broadcast(int x) {
  return vdupq_n_u16(static_cast<uint16_t>(x));
}
template <int kBits>
inline Halves half_shift_left(Halves a) {
  return vshlq_n_u16(a, kBits);
}
inline Halves half_and(Halves a, Halves b) { return vandq_u16(a, b); }
inline Halves half_or(Halves a, Halves b) { return vorrq_u16(a, b); }
inline Halves half_equal(Halves a, Halves b) { return vceqq_u16(a, b); }

#else

/// Vec::kLanes bytes, at the low end of the register.
struct Bytes {
  __m128i v;
};

#endif

#ifdef QUANTO_HAS_AVX512

/// Vec::kLanes 16-bit integers.
using Halves = __m256i;

inline Bytes load_bytes(const uint8_t* p) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
}
/// The first `count` < kLanes bytes, the rest 0.
inline Bytes load_bytes_tail(const uint8_t* p, int count) {
  return {_mm_maskz_loadu_epi8(tail_mask(count), p)};
}
inline Halves sign_extend(Bytes b) { return _mm256_cvtepi8_epi16(b.v); }
inline Halves half_broadcast(int x) {
  return _mm256_set1_epi16(static_cast<int16_t>(x));
}
template <int kBits>
inline Halves half_shift_left(Halves a) {
  return _mm256_slli_epi16(a, kBits);
}
inline Halves half_and(Halves a, Halves b) { return _mm256_and_si256(a, b); }
inline Halves half_or(Halves a, Halves b) { return _mm256_or_si256(a, b); }
/// All ones where equal.
inline Halves half_equal(Halves a, Halves b) {
  return _mm256_cmpeq_epi16(a, b);
}

#elif !defined(QUANTO_HAS_NEON)

using Halves = __m128i;

inline Bytes load_bytes(const uint8_t* p) {
  return {_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))};
}
inline Bytes load_bytes_tail(const uint8_t* p, int count) {
  uint8_t part[8] = {};
  for (int i = 0; i < count; ++i) part[i] = p[i];
  return load_bytes(part);
}
inline Halves sign_extend(Bytes b) { return _mm_cvtepi8_epi16(b.v); }
inline Halves half_broadcast(int x) {
  return _mm_set1_epi16(static_cast<int16_t>(x));
}
template <int kBits>
inline Halves half_shift_left(Halves a) {
  return _mm_slli_epi16(a, kBits);
}
inline Halves half_and(Halves a, Halves b) { return _mm_and_si128(a, b); }
inline Halves half_or(Halves a, Halves b) { return _mm_or_si128(a, b); }
inline Halves half_equal(Halves a, Halves b) { return _mm_cmpeq_epi16(a, b); }

#endif

/// Sign, exponent and mantissa of a byte with 4 and 3 bits of them, at their
/// places in fp16: the value times 2^(bias - 15).
inline Halves e4m3_as_fp16(Bytes b) {
  return half_and(half_shift_left<7>(sign_extend(b)), half_broadcast(0xbf80));
}

/// Bytes to the values they stand for.
inline Vec decode_e5m2(Bytes b) {
  return from_fp16(half_shift_left<8>(sign_extend(b)));
}
inline Vec decode_e4m3fn(Bytes b) {
  const Halves half = e4m3_as_fp16(b);
  const Halves largest = half_broadcast(0x3f80);
  const Halves nan = half_equal(half_and(half, largest), largest);
  return mul(from_fp16(half_or(half, half_and(nan, half_broadcast(0x7e00)))),
             broadcast(256.0F));
}
inline Vec decode_e4m3fnuz(Bytes b) {
  const Halves half = e4m3_as_fp16(b);
  const Halves nan = half_equal(half, half_broadcast(0x8000));
  return mul(from_fp16(half_or(half, half_and(nan, half_broadcast(0x7e00)))),
             broadcast(128.0F));
}

template <DType kType>
inline Vec decode_float8(Bytes b) {
  if constexpr (kType == DType::kFloat8E4M3FN) return decode_e4m3fn(b);
  if constexpr (kType == DType::kFloat8E5M2) return decode_e5m2(b);
  if constexpr (kType == DType::kFloat8E4M3FNUZ) return decode_e4m3fnuz(b);
}

template <DType kType>
struct Float8Format;
template <>
struct Float8Format<DType::kFloat8E4M3FN> {
  static constexpr int kMantissa = 3;
  static constexpr int kBias = 7;
  static constexpr float kMax = 448.0F;
  static constexpr bool kSignedZeroAndNan = true;
};
template <>
struct Float8Format<DType::kFloat8E5M2> {
  static constexpr int kMantissa = 2;
  static constexpr int kBias = 15;
  static constexpr float kMax = 57344.0F;
  static constexpr bool kSignedZeroAndNan = true;
};
template <>
struct Float8Format<DType::kFloat8E4M3FNUZ> {
  static constexpr int kMantissa = 3;
  static constexpr int kBias = 8;
  static constexpr float kMax = 240.0F;
  static constexpr bool kSignedZeroAndNan = false;
};

/// 2^exponent, for a normal float.
constexpr float power_of_two(int exponent) {
  return __builtin_bit_cast(float, (exponent + 127) << 23);
}

/// Bytes (one in each lane) of values in [-kMax, kMax] or NaN, rounded to
/// nearest even.
template <DType kType>
inline IVec encode_float8(Vec x) {
  using Format = Float8Format<kType>;
  constexpr int kDropped = 23 - Format::kMantissa;
  constexpr float kSmallestNormal = power_of_two(1 - Format::kBias);
  // The spacing of floats at this power is that of the subnormals.
  constexpr float kAligner = power_of_two(1 - Format::kBias + kDropped);

  const Vec magnitude = abs(x);
  const IVec bits = as_int(magnitude);
  const IVec odd = iand(shift_right(bits, kDropped), ibroadcast(1));
  const IVec half_less = ibroadcast((1 << (kDropped - 1)) - 1);
  const IVec rounded = shift_right(iadd(bits, iadd(odd, half_less)), kDropped);
  const IVec normal =
      isub(rounded, ibroadcast((127 - Format::kBias) << Format::kMantissa));
  const IVec subnormal = isub(as_int(add(magnitude, broadcast(kAligner))),
                              as_int(broadcast(kAligner)));
  IVec code =
      select(less(magnitude, broadcast(kSmallestNormal)), subnormal, normal);
  const IVec sign = iand(shift_right(as_int(x), 24), ibroadcast(0x80));
  if constexpr (Format::kSignedZeroAndNan) {
    return ior(select(is_nan(x), ibroadcast(0x7f), code), sign);
  } else {
    code = select(equal(to_float(code), zero()), code, ior(code, sign));
    return select(is_nan(x), ibroadcast(0x80), code);
  }
}

}  // namespace
}  // namespace quanto::kernels

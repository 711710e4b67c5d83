// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/float8.h"
#include "quanto/kernels/cpu/linear_input.h"

// Weights to fp32, kLanes of one row at a time.

namespace quanto::kernels {
namespace {

/// 8-bit codes to fp32, without their scale and times 1 / kBytesUnit. A NaN of
/// e4m3 comes out as a number: NanWatch finds those, for less than it takes to
/// replace each.
template <DType kStorage>
inline constexpr float kBytesUnit =
    kStorage == DType::kFloat8E4M3FN     ? 256.0F
    : kStorage == DType::kFloat8E4M3FNUZ ? 128.0F
                                         : 1.0F;

#ifdef QUANTO_HAS_AVX512
inline IVec sign_extend_words(Bytes b) { return {_mm512_cvtepi8_epi32(b.v)}; }
#elif defined(QUANTO_HAS_NEON)
inline IVec sign_extend_words(Bytes b) {
  return sign_extend_words(vmovl_s8(vreinterpret_s8_u8(b.v)));
}
#else
inline IVec sign_extend_words(Bytes b) { return {_mm256_cvtepi8_epi32(b.v)}; }
#endif

template <DType kStorage>
inline Vec decode_bytes(Bytes b) {
  if constexpr (kStorage == DType::kInt8) {
    return to_float(sign_extend_words(b));
  } else if constexpr (kStorage == DType::kFloat8E5M2) {
    return decode_e5m2(b);
  } else {
    return from_fp16(e4m3_as_fp16(b));
  }
}

/// Whether any of the e4m3 codes seen is a NaN: the largest of the bytes,
/// mapped so that NaN is 255.
template <DType kStorage>
struct NanWatch {
  static constexpr bool kNeeded =
      kStorage == DType::kFloat8E4M3FN || kStorage == DType::kFloat8E4M3FNUZ;
  IVec largest = ibroadcast(0);

  void see(IVec codes) {
    if constexpr (kStorage == DType::kFloat8E4M3FN) {
      codes = ior(codes, ibroadcast(0x80808080));
    } else {
      codes = ixor(codes, ibroadcast(0x7f7f7f7f));
    }
    largest = max_bytes(largest, codes);
  }
  [[nodiscard]] bool seen() const { return any_byte_255(largest); }
};

/// float8 codes, one in each 32-bit lane.
template <QTypeId kType>
inline Vec decode_float8_words(IVec code) {
  constexpr bool kE5M2 = kType == QTypeId::kQFloat8E5M2;
  constexpr bool kUnsignedZero = kType == QTypeId::kQFloat8E4M3FNUZ;
  constexpr int kMantissa = kE5M2 ? 2 : 3;
  constexpr int kBias = kE5M2 ? 15 : kUnsignedZero ? 8 : 7;
  const IVec magnitude = iand(code, ibroadcast(0x7f));
  const Vec number = to_float(magnitude);
  const IVec bits = shift_left(magnitude, 23 - kMantissa);
  const Vec subnormal =
      mul(number, broadcast(power_of_two(1 - kBias - kMantissa)));
  Vec value = select(less(number, broadcast(1 << kMantissa)), subnormal,
                     as_float(iadd(bits, ibroadcast((127 - kBias) << 23))));
  if constexpr (kE5M2) {
    // Infinity and NaN, whose exponent is all ones in both types.
    value = select(less(number, broadcast(0x7c)), value,
                   as_float(ior(bits, ibroadcast(0x7f800000))));
  } else if constexpr (!kUnsignedZero) {
    value = select(equal(number, broadcast(0x7f)),
                   broadcast(__builtin_nanf("")), value);
  } else {
    value = select(equal(to_float(code), broadcast(0x80)),
                   broadcast(__builtin_nanf("")), value);
  }
  const IVec sign = shift_left(iand(code, ibroadcast(0x80)), 24);
  return as_float(ior(as_int(value), sign));
}

/// Codes of 4 or 2 bits to weights, for one group: scale * q - shift, or
/// scale * (q - shift) when the shift is an integer.
template <int kBits>
struct GroupDecoder {
#ifdef QUANTO_HAS_AVX512
  // The weight of every code, repeated to 16 entries for 2 bits, so that the
  // neighbour's bits in the index do not matter.
  Vec table;

  GroupDecoder() = default;
  GroupDecoder(float scale, float shift, bool integer) {
    const Vec codes =
        to_float(iand(to_int(lane_numbers()), ibroadcast((1 << kBits) - 1)));
    table = integer ? mul(broadcast(scale), sub(codes, broadcast(shift)))
                    : fms(broadcast(scale), codes, broadcast(shift));
  }
  Vec operator()(IVec codes) const { return look_up(table, codes); }
#else
  // An integer shift is multiplied out: exact for 16-bit scales, one more
  // rounding of fp32 ones.
  Vec scale;
  Vec shift;

  GroupDecoder() = default;
  GroupDecoder(float s, float t, bool integer)
      : scale(broadcast(s)), shift(broadcast(integer ? s * t : t)) {}
  Vec operator()(IVec codes) const {
    return fms(to_float(iand(codes, ibroadcast((1 << kBits) - 1))), scale,
               shift);
  }
#endif
};

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_decode.h"

// float8 codes to bfloat16 in 16-bit lanes, where exponent and mantissa only
// have to be moved: a third of the work of decoding them to fp32.

namespace quanto::kernels {
namespace {

/// The subnormal numbers of a float8 type, and its zero, as bfloat16. The low
/// five bits of a code are the index; the entries of other codes mean nothing.
template <int kMantissa, int kBias>
struct Float8Subnormals {
  alignas(64) uint16_t values[32];

  constexpr Float8Subnormals() : values() {
    for (int i = 0; i < 32; ++i) {
      const float value =
          static_cast<float>(i) * power_of_two(1 - kBias - kMantissa);
      values[i] =
          static_cast<uint16_t>(__builtin_bit_cast(uint32_t, value) >> 16);
    }
  }
};
template <int kMantissa, int kBias>
constexpr Float8Subnormals<kMantissa, kBias> kFloat8Subnormals;

/// The code in the low byte of each 16-bit lane as bfloat16.
template <DType kStorage>
inline __m512i float8_as_bf16(__m512i codes) {
  using Format = Float8Format<kStorage>;
  constexpr int kMantissa = Format::kMantissa;
  constexpr int kBias = Format::kBias;
  const auto all = [](int x) {
    return _mm512_set1_epi16(static_cast<int16_t>(x));
  };
  const __m512i magnitude = _mm512_and_si512(codes, all(0x7f));
  const __m512i bits = _mm512_slli_epi16(magnitude, 7 - kMantissa);
  const __m512i normal = _mm512_add_epi16(bits, all((127 - kBias) << 7));
  __m512i value = _mm512_mask_permutexvar_epi16(
      normal, _mm512_cmplt_epu16_mask(magnitude, all(1 << kMantissa)),
      magnitude, _mm512_load_si512(kFloat8Subnormals<kMantissa, kBias>.values));
  constexpr int kNanBits = 0x7fc0;
  if constexpr (kStorage == DType::kFloat8E5M2) {
    // Infinity and NaN, whose exponent is all ones in both types.
    value = _mm512_mask_mov_epi16(value,
                                  _mm512_cmpge_epu16_mask(magnitude, all(0x7c)),
                                  _mm512_or_si512(bits, all(0x7f80)));
  } else if constexpr (kStorage == DType::kFloat8E4M3FN) {
    value = _mm512_mask_mov_epi16(
        value, _mm512_cmpeq_epi16_mask(magnitude, all(0x7f)), all(kNanBits));
  } else {
    value =
        _mm512_mask_mov_epi16(value,
                              _mm512_test_epi16_mask(codes, all(0x80)) &
                                  _mm512_testn_epi16_mask(magnitude, magnitude),
                              all(kNanBits));
  }
  const __m512i sign =
      _mm512_and_si512(_mm512_slli_epi16(codes, 8), all(0x8000));
  return _mm512_or_si512(value, sign);
}

}  // namespace
}  // namespace quanto::kernels

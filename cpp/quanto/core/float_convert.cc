// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/float_convert.h"

#include <bit>

namespace quanto {
namespace {

constexpr uint32_t kFloatSign = 0x80000000;
constexpr uint32_t kFloatInf = 0x7f800000;
constexpr uint32_t kFloatQuietNan = 0x7fc00000;
constexpr int kFloatMantissa = 23;
constexpr int kFloatBias = 127;

constexpr float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<uint32_t>(kFloatBias + exponent)
                              << kFloatMantissa);
}

/// A narrow binary float: sign, exponent with `bias`, `mantissa` bits.
struct Format {
  int exponent;
  int mantissa;
  int bias;

  [[nodiscard]] constexpr uint32_t sign() const {
    return 1U << (exponent + mantissa);
  }
  [[nodiscard]] constexpr int smallest_exponent() const { return 1 - bias; }
};

constexpr Format kFp16 = {.exponent = 5, .mantissa = 10, .bias = 15};
constexpr Format kE4M3FN = {.exponent = 4, .mantissa = 3, .bias = 7};
constexpr Format kE5M2 = {.exponent = 5, .mantissa = 2, .bias = 15};
constexpr Format kE4M3FNUZ = {.exponent = 4, .mantissa = 3, .bias = 8};

/// Rounds the low `shift` bits away, to nearest even.
constexpr uint32_t round_shift(uint32_t bits, int shift) {
  const uint32_t odd = (bits >> shift) & 1;
  return (bits + (1U << (shift - 1)) - 1 + odd) >> shift;
}

/// The code nearest to the non-negative finite float `bits`, as if exponents
/// had no upper end; codes are in the order of their values, so the caller
/// compares with its largest finite code.
template <Format kFormat>
uint32_t round_magnitude(uint32_t bits) {
  constexpr int kShift = kFloatMantissa - kFormat.mantissa;
  constexpr float kSmallestNormal = power_of_two(kFormat.smallest_exponent());
  if (bits >= std::bit_cast<uint32_t>(kSmallestNormal)) {
    constexpr auto kRebias = static_cast<uint32_t>(kFloatBias - kFormat.bias)
                             << kFloatMantissa;
    return round_shift(bits - kRebias, kShift);
  }
  // One unit of this sum is one step between subnormals, so the adder rounds.
  constexpr float kAligner = power_of_two(kFormat.smallest_exponent() + kShift);
  return std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + kAligner) -
         std::bit_cast<uint32_t>(kAligner);
}

/// The value of a finite code.
template <Format kFormat>
float finite_value(uint32_t code) {
  constexpr int kShift = kFloatMantissa - kFormat.mantissa;
  const uint32_t magnitude = code & (kFormat.sign() - 1);
  const uint32_t sign = (code & kFormat.sign()) != 0 ? kFloatSign : 0;
  uint32_t bits;
  if ((magnitude >> kFormat.mantissa) == 0) {
    constexpr float kStep =
        power_of_two(kFormat.smallest_exponent() - kFormat.mantissa);
    bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * kStep);
  } else {
    constexpr auto kRebias = static_cast<uint32_t>(kFloatBias - kFormat.bias)
                             << kFloatMantissa;
    bits = (magnitude << kShift) + kRebias;
  }
  return std::bit_cast<float>(bits | sign);
}

/// finite_value() of a type whose topmost exponent means infinity and NaN.
template <Format kFormat>
float ieee_value(uint32_t code) {
  constexpr uint32_t kInf = ((1U << kFormat.exponent) - 1) << kFormat.mantissa;
  const uint32_t magnitude = code & (kFormat.sign() - 1);
  if (magnitude < kInf) return finite_value<kFormat>(code);
  const uint32_t sign = (code & kFormat.sign()) != 0 ? kFloatSign : 0;
  if (magnitude == kInf) return std::bit_cast<float>(sign | kFloatInf);
  const uint32_t payload = magnitude << (kFloatMantissa - kFormat.mantissa);
  return std::bit_cast<float>(sign | kFloatQuietNan | payload);
}

/// The code of a type whose topmost exponent means infinity and NaN; `nan` is
/// its NaN without the sign.
template <Format kFormat>
uint32_t ieee_code(float value, uint32_t nan) {
  constexpr uint32_t kInf = ((1U << kFormat.exponent) - 1) << kFormat.mantissa;
  const auto all = std::bit_cast<uint32_t>(value);
  const uint32_t bits = all & ~kFloatSign;
  const uint32_t sign = (all & kFloatSign) != 0 ? kFormat.sign() : 0;
  if (bits > kFloatInf) return sign | nan;
  if (bits == kFloatInf) return sign | kInf;
  const uint32_t code = round_magnitude<kFormat>(bits);
  return sign | (code < kInf ? code : kInf);
}

}  // namespace

float float_from_fp16(uint16_t bits) { return ieee_value<kFp16>(bits); }

uint16_t fp16_from_float(float value) {
  const uint32_t payload = (std::bit_cast<uint32_t>(value) >> 13) & 0x3ff;
  return static_cast<uint16_t>(ieee_code<kFp16>(value, 0x7e00 | payload));
}

float float_from_e4m3fn(uint8_t bits) {
  if ((bits & 0x7f) != 0x7f) return finite_value<kE4M3FN>(bits);
  const uint32_t sign = (bits & 0x80) != 0 ? kFloatSign : 0;
  return std::bit_cast<float>(sign | kFloatQuietNan | (0x7U << 20));
}

uint8_t e4m3fn_from_float(float value) {
  const auto all = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (all & kFloatSign) != 0 ? 0x80 : 0;
  const uint32_t bits = all & ~kFloatSign;
  if (bits > kFloatInf) return static_cast<uint8_t>(sign | 0x7f);
  const uint32_t code = round_magnitude<kE4M3FN>(bits);
  return static_cast<uint8_t>(sign | (code < 0x7e ? code : 0x7e));
}

float float_from_e5m2(uint8_t bits) { return ieee_value<kE5M2>(bits); }

uint8_t e5m2_from_float(float value) {
  return static_cast<uint8_t>(ieee_code<kE5M2>(value, 0x7f));
}

float float_from_e4m3fnuz(uint8_t bits) {
  if (bits == 0x80) return std::bit_cast<float>(kFloatQuietNan);
  return finite_value<kE4M3FNUZ>(bits);
}

uint8_t e4m3fnuz_from_float(float value) {
  const auto all = std::bit_cast<uint32_t>(value);
  const uint32_t bits = all & ~kFloatSign;
  if (bits >= kFloatInf) return 0x80;
  const uint32_t code = round_magnitude<kE4M3FNUZ>(bits);
  if (code >= 0x80) return 0x80;
  if (code == 0) return 0;
  const uint32_t sign = (all & kFloatSign) != 0 ? 0x80 : 0;
  return static_cast<uint8_t>(sign | code);
}

}  // namespace quanto

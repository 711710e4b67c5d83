// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

// Conversions between fp32 and the narrow float types, by torch's rules: round
// to nearest even; what is too large (infinity included) goes to infinity where
// the type has one (fp16, bf16, e5m2), to the largest finite value in e4m3fn
// and to NaN in e4m3fnuz.
//
// Bit for bit those of torch 2.13 for every value that is no NaN; older torch
// sends overflow of e4m3fn to NaN, so quantizers clamp before they convert. A
// NaN gives a NaN of the same sign, save that e4m3fnuz has one NaN only (0x80;
// no negative zero either) and bf16_from_float always gives 0x7fc0; it is quiet
// except from float_from_bf16, which keeps the bits. The other bits of a NaN
// are unspecified: torch's own depend on the vector width.
//
// All functions take and return raw bits of the narrow type.

namespace quanto {

float float_from_fp16(uint16_t bits);
uint16_t fp16_from_float(float value);

// Shorter than a call. Nothing is left to link, which an object compiled for a
// wider CPU could offer to others.
[[gnu::always_inline]] inline float float_from_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}
[[gnu::always_inline]] inline uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float float_from_e4m3fn(uint8_t bits);
uint8_t e4m3fn_from_float(float value);
float float_from_e5m2(uint8_t bits);
uint8_t e5m2_from_float(float value);
float float_from_e4m3fnuz(uint8_t bits);
uint8_t e4m3fnuz_from_float(float value);

}  // namespace quanto

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/element.h"

// Quotients by a scale that many elements share, without a division for each.
//
// Let x and s have p significant bits, p = 8 (bf16) or 11 (fp16). A number m in
// the middle between two of p bits has p + 1, so x - m s is not 0 and
//   |x / s - m| >= m / (2^(p + 1) - 1) / (2^p - 1) > 2^-23 m,
// while x * (1 / s) is off by two roundings of 2^-24: it lies on the same side
// of m as x / s and rounds to the same number of p bits, as does x / s once
// rounded to fp32. That holds where 1 / s and the quotient are normal, in fp32
// and in the type of p bits; smaller quotients make codes of 0 all the same if
// what follows is no finer than 2^-126 (bf16) or 2^-14 (fp16).

namespace quanto::kernels {
namespace {

/// True if both `scale` and its reciprocal are normal numbers.
inline bool has_reciprocal(float scale) {
  const float magnitude = __builtin_fabsf(scale);
  return magnitude >= 0x1p-126F && magnitude <= 0x1p126F;
}

/// `x` rounded to the precision of a 16-bit type, as Element::round() does but
/// for a quotient: never halfway between two such numbers, and if it is below
/// the normal numbers of the type, of no consequence.
template <DType kFloat>
inline Vec round_quotient(Vec x) {
  if constexpr (kFloat == DType::kFloat32) {
    return x;
  } else {
    constexpr int kDropped = kFloat == DType::kBFloat16 ? 16 : 13;
    const IVec up = iadd(as_int(x), ibroadcast(1 << (kDropped - 1)));
    return as_float(iand(up, ibroadcast(-(1 << kDropped))));
  }
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "quanto/kernels/cpu/element.h"
#include "quanto/kernels/cpu/quotient.h"
#include "quanto/kernels/cpu/walk.h"
#include "quanto/kernels/kernels.h"

// One vector of the affine scheme, rounded to the dtype after each operation.

namespace quanto::kernels {
namespace {

template <DType kFloat, bool kIntegerShift>
struct Affine {
  static constexpr DType kType = kFloat;
  static constexpr int kBytes = size_of(kFloat);

  template <typename Lanes>
  static Vec load_scale(const void* scale, int64_t index, Lanes lanes) {
    return Element<kFloat>::load(scale, index, lanes);
  }
  template <typename Lanes>
  static Vec load_shift(const void* shift, int64_t index, Lanes lanes) {
    if constexpr (kIntegerShift) {
      const auto* points = static_cast<const uint8_t*>(shift);
      return to_float(load_u8(points + index, lanes));
    } else {
      return Element<kFloat>::load(shift, index, lanes);
    }
  }

  /// Codes in [0, largest], NaN to 0.
  static IVec quantize(Vec x, Vec scale, Vec shift, Vec largest) {
    using E = Element<kFloat>;
    const Mask no_scale = equal(scale, zero());
    Vec code;
    if constexpr (kIntegerShift) {
      code = E::round(add(round_even(E::round(div(x, scale))), shift));
      code = select(no_scale, shift, code);
    } else {
      code = E::round(div(E::round_sum(add(x, shift)), scale));
      code = select(no_scale, zero(), code);
    }
    // In this order of operands NaN passes; as an integer its low byte is 0.
    return to_int(min(largest, max(zero(), code)));
  }

  /// Codes from a scale with a reciprocal, of 16-bit types, as numbers that
  /// are still to be converted and raised to 0. What is clamped before it is
  /// rounded to an integer ends where it would if clamped after.
  static Vec quotient_by(Vec x, Vec reciprocal, Vec shift, Vec largest) {
    using E = Element<kFloat>;
    if constexpr (kIntegerShift) {
      const Vec bound = broadcast(512.0F);  // beyond any zero point
      const Vec quotient =
          min(bound, max(sub(zero(), bound), mul(x, reciprocal)));
      const Vec code = add(round_even(round_quotient<kFloat>(quotient)), shift);
      return min(largest, code);
    } else {
      const Vec quotient = mul(E::round_sum(add(x, shift)), reciprocal);
      return round_quotient<kFloat>(min(largest, quotient));
    }
  }

  /// Not yet rounded to the dtype: storing does that.
  static Vec dequantize(IVec code, Vec scale, Vec shift) {
    if constexpr (kIntegerShift) {
      return mul(scale, sub(to_float(code), shift));
    } else {
      const Vec product = mul(scale, to_float(code));
      return sub(Element<kFloat>::round_sum(product), shift);
    }
  }
};

/// Calls run(scale_at, shift_at): with_scale() for both. They are apart because
/// GCC 12 keeps a struct of two vectors in memory.
template <typename Scheme, typename Place, typename Run>
inline void with_scheme(const void* scale, const void* shift, Place place,
                        Run run) {
  const auto load_scale = [&](int64_t i, auto lanes) {
    return Scheme::load_scale(scale, i, lanes);
  };
  const auto load_shift = [&](int64_t i, auto lanes) {
    return Scheme::load_shift(shift, i, lanes);
  };
  with_scale(place, load_scale, [&](auto scale_at) {
    with_scale(place, load_shift,
               [&](auto shift_at) { run(scale_at, shift_at); });
  });
}

/// Calls f with a null pointer to the Affine of a dtype and kind of shift.
template <typename F>
inline void with_affine(DType dtype, ShiftKind kind, F f) {
  with_float(dtype, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    if (kind == ShiftKind::kInteger) {
      f(static_cast<Affine<kType, true>*>(nullptr));
    } else {
      f(static_cast<Affine<kType, false>*>(nullptr));
    }
  });
}

/// A layout whose codes lie as the base does: axis 0, or without groups.
constexpr AxisView in_place_view(const GroupLayout& layout) {
  return layout.last_axis ? AxisView{layout.group_size, layout.rows(), 1}
                          : AxisView{1, layout.rows(), layout.group_size};
}

}  // namespace
}  // namespace quanto::kernels

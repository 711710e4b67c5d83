// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <type_traits>

#include "quanto/core/float_convert.h"
#include "quanto/kernels/cpu/walk.h"

// Floats as integers that have their order, -0 below 0 and NaN beyond the
// infinities: smallest and largest need no test for NaN, and elements of 16
// bits no widening. Functions take one key or a vector of them.

namespace quanto::kernels {
namespace {

/// Any NaN as the same one.
inline float quiet(float x) { return x == x ? x : kNan; }

template <DType kFloat>
using Key = std::conditional_t<size_of(kFloat) == 2, int16_t, int32_t>;

/// All bits but the sign.
template <DType kFloat>
constexpr auto kMagnitude = std::numeric_limits<Key<kFloat>>::max();

/// As many keys as a Vec has bytes for.
template <DType kFloat>
struct Keys {
  using Lanes [[gnu::vector_size(sizeof(Vec))]] = Key<kFloat>;
  static constexpr int64_t kCount = sizeof(Vec) / size_of(kFloat);
};

template <DType kFloat>
inline const char* key_at(const void* data, int64_t index) {
  return static_cast<const char*>(data) + index * size_of(kFloat);
}
template <typename Bits>
inline Bits load_bits(const void* data) {
  Bits bits;
  __builtin_memcpy(&bits, data, sizeof(bits));
  return bits;
}

/// The key of an element's bits; its own inverse.
template <DType kFloat, typename Bits>
inline Bits in_order(Bits bits) {
  constexpr int kSign = 8 * size_of(kFloat) - 1;
  return static_cast<Bits>(bits ^ ((bits >> kSign) & kMagnitude<kFloat>));
}
/// The key of |x|.
template <DType kFloat, typename Bits>
inline Bits magnitude(Bits bits) {
  return static_cast<Bits>(bits & kMagnitude<kFloat>);
}
template <typename Bits>
inline Bits smaller_key(Bits a, Bits b) {
  return a < b ? a : b;
}
template <typename Bits>
inline Bits larger_key(Bits a, Bits b) {
  return a > b ? a : b;
}

/// The value of a key, any NaN as the same one.
template <DType kFloat>
inline float value_of(Key<kFloat> key) {
  const auto bits = static_cast<uint32_t>(in_order<kFloat>(key));
  if constexpr (kFloat == DType::kFloat32) {
    return quiet(__builtin_bit_cast(float, bits));
  } else if constexpr (kFloat == DType::kBFloat16) {
    return quiet(__builtin_bit_cast(float, bits << 16));
  } else {
    return quiet(float_from_fp16(static_cast<uint16_t>(bits)));
  }
}

/// One key of all lanes.
template <typename Lanes, typename Fold>
inline auto fold_lanes(Lanes lanes, Fold fold) {
  using Lane = std::remove_cvref_t<decltype(lanes[0])>;
  if constexpr (sizeof(Lanes) == 2 * sizeof(Lane)) {
    return fold(static_cast<Lane>(lanes[0]), static_cast<Lane>(lanes[1]));
  } else {
    using Half [[gnu::vector_size(sizeof(Lanes) / 2)]] = Lane;
    Half halves[2];
    __builtin_memcpy(halves, &lanes, sizeof(lanes));
    return fold_lanes(fold(halves[0], halves[1]), fold);
  }
}

/// Calls f(bits) for vectors of the elements [index, index + count); f must
/// not mind an element that comes twice.
template <DType kFloat, typename F>
inline void for_each_bits(const void* base, int64_t index, int64_t count, F f) {
  using Lanes = typename Keys<kFloat>::Lanes;
  constexpr int64_t kCount = Keys<kFloat>::kCount;
  if (count <= 0) return;
  if (count < kCount) {
    Key<kFloat> few[kCount];
    for (int64_t i = 0; i < kCount; ++i) {
      const int64_t element = index + (i < count ? i : 0);
      few[i] = load_bits<Key<kFloat>>(key_at<kFloat>(base, element));
    }
    return f(load_bits<Lanes>(few));
  }
  for (int64_t i = 0; i + kCount <= count; i += kCount) {
    look_ahead<size_of(kFloat)>(base, index + i);
    f(load_bits<Lanes>(key_at<kFloat>(base, index + i)));
  }
  if (count % kCount != 0) {
    f(load_bits<Lanes>(key_at<kFloat>(base, index + count - kCount)));
  }
}

/// The larger of each lane of `largest` and the |x| of elements.
template <DType kFloat>
inline void fold_magnitudes(const void* base, int64_t index, int64_t count,
                            typename Keys<kFloat>::Lanes& largest) {
  for_each_bits<kFloat>(base, index, count, [&](auto bits) {
    largest = larger_key(largest, magnitude<kFloat>(bits));
  });
}
/// The largest |x| that was folded.
template <DType kFloat>
inline float largest_magnitude(typename Keys<kFloat>::Lanes largest) {
  return value_of<kFloat>(
      fold_lanes(largest, [](auto a, auto b) { return larger_key(a, b); }));
}

/// Calls f(i, bits) with i in [0, count) and bits of the type to take from
/// there: vectors, the last of which may hold places of the one before, or
/// single keys where there is no whole vector.
template <DType kFloat, typename F>
inline void for_each_place(int64_t count, F f) {
  constexpr int64_t kCount = Keys<kFloat>::kCount;
  if (count < kCount) {
    for (int64_t i = 0; i < count; ++i) f(i, Key<kFloat>{});
    return;
  }
  const typename Keys<kFloat>::Lanes lanes{};
  for (int64_t i = 0; i + kCount <= count; i += kCount) f(i, lanes);
  if (count % kCount != 0) f(count - kCount, lanes);
}

}  // namespace
}  // namespace quanto::kernels

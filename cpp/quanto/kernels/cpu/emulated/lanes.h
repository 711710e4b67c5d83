// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The parts of a 512-bit vector on a CPU that has 256 bits: its two halves, and
// its elements as an array. The compiler keeps such a vector in memory.

namespace quanto::kernels {
namespace {

template <typename T>
struct LanesOf {
  typedef T type __attribute__((vector_size(64)));
};
/// 512 bits as an array of T.
template <typename T>
using Lanes = typename LanesOf<T>::type;
template <typename T>
constexpr int kLanesOf = 64 / sizeof(T);

template <typename T, typename V>
inline Lanes<T> lanes(V v) {
  return reinterpret_cast<Lanes<T>>(v);
}

/// f(i) for each lane i.
template <typename T, typename F>
inline Lanes<T> each_lane(F f) {
  Lanes<T> result;
  for (int i = 0; i < kLanesOf<T>; ++i) result[i] = f(i);
  return result;
}

/// Bit i is f(i).
template <typename Mask, typename F>
inline Mask each_bit(F f) {
  uint64_t mask = 0;
  for (unsigned i = 0; i < 8 * sizeof(Mask); ++i) {
    mask |= uint64_t{f(static_cast<int>(i)) ? 1U : 0U} << i;
  }
  return static_cast<Mask>(mask);
}

inline bool bit_of(uint64_t mask, int i) { return (mask >> i & 1) != 0; }

template <int kHalf>
inline __m256 half(__m512 v) {
  __m256 halves[2];
  __builtin_memcpy(halves, &v, sizeof(v));
  return halves[kHalf];
}
template <int kHalf>
inline __m256i half(__m512i v) {
  __m256i halves[2];
  __builtin_memcpy(halves, &v, sizeof(v));
  return halves[kHalf];
}
inline __m512 join(__m256 low, __m256 high) {
  const __m256 halves[2] = {low, high};
  __m512 v;
  __builtin_memcpy(&v, halves, sizeof(v));
  return v;
}
inline __m512i join(__m256i low, __m256i high) {
  const __m256i halves[2] = {low, high};
  __m512i v;
  __builtin_memcpy(&v, halves, sizeof(v));
  return v;
}

/// op of the lower halves and op of the upper halves.
template <typename Op, typename... Vectors>
inline auto by_halves(Op op, Vectors... v) {
  return join(op(half<0>(v)...), op(half<1>(v)...));
}

}  // namespace
}  // namespace quanto::kernels

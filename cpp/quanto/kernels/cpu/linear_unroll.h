// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

// Arrays of vectors that stay in registers.

namespace quanto::kernels {
namespace {

#define QUANTO_UNROLL _Pragma("GCC unroll 32")
/// Keeps a loop's registers to itself.
#define QUANTO_NOINLINE __attribute__((noinline))
/// For what takes or gives many registers; of a lambda, the attribute alone.
#define QUANTO_INLINE_BODY __attribute__((always_inline))
#define QUANTO_INLINE QUANTO_INLINE_BODY inline

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
  constexpr operator int() const { return kValue; }
};

template <int... kIndices, typename Body>
QUANTO_INLINE void for_indices(
    std::integer_sequence<int, kIndices...> /*indices*/,
    [[maybe_unused]] Body body) {
  (body(Constant<kIndices>{}), ...);
}

/// body(i, ...) for every i in [0, kCount), and so on for the other counts, the
/// last one fastest. GCC unrolls loops too late to keep an array in registers
/// that is indexed within a loop of its own and carried by one around it: it
/// stores all of it each time around.
template <int kCount, int... kMore, typename Body>
QUANTO_INLINE void unrolled(Body body) {
  for_indices(std::make_integer_sequence<int, kCount>{},
              [&](auto i) QUANTO_INLINE_BODY {
                if constexpr (sizeof...(kMore) == 0) {
                  body(i);
                } else {
                  unrolled<kMore...>([&](auto... more) QUANTO_INLINE_BODY {
                    body(i, more...);
                  });
                }
              });
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_int8.h"
#include "quanto/kernels/cpu/linear_gemv_work.h"

// Activations of 16 bits as 16-bit fixed-point numbers, whose unit is a power
// of two for each group: two signed digits to the base 256, which multiply
// codes as int8 activations do. Groups are multiples of kDotGroup, so whole
// vectors.

namespace quanto::kernels {
namespace {

constexpr int kFixedDigits = 2;
/// The largest number of two digits from -128 to 127.
constexpr float kMostFixed = 127 * 257;

/// The smallest power of two in which the largest of `count` elements from
/// `offset` on is at most kMostFixed. Returns false where one is not finite or
/// the largest is out of range.
template <typename Load>
inline bool find_unit(Load load_at, int64_t offset, int64_t count,
                      float* unit) {
  float most;
  if (!find_largest(load_at, offset, count, &most)) return false;
  *unit = 1.0F;
  if (most == 0.0F) return true;
  // 2^(exponent - 1) <= most < 2^exponent
  const int exponent =
      static_cast<int>(__builtin_bit_cast(uint32_t, most) >> 23) - 126;
  if (exponent < -kMostExponent || exponent > kMostExponent) {
    return false;
  }
  *unit = power_of_two(exponent - 15);
  if (most > kMostFixed * *unit) *unit *= 2;
  return true;
}

/// Digits of `count` elements from `offset` on to a row of tiles, each rounded
/// to the nearest `unit`. Returns their sum.
template <typename Load>
inline float store_fixed(Load load_at, int64_t offset, int64_t count,
                         float unit, const DotRow& out) {
  const Vec per_unit = broadcast(1.0F / unit);
  IVec sum = ibroadcast(0);
  for (int64_t i = 0; i < count; i += kLanes) {
    const IVec x = to_int(mul(load_at(offset + i, kLanes), per_unit));
    // The lower byte is a digit from -128 to 127: what it leaves is rounded.
    const IVec upper = shift_right(iadd(x, ibroadcast(128)), 8);
    sum = iadd(sum, x);
    auto* low = reinterpret_cast<uint8_t*>(
        out.cells + i / kVecBytes * out.stride + i % kVecBytes);
    store_u8(low, x);
    store_u8(low + kVecBytes, upper);
  }
  return reduce_add(to_float(sum)) * unit;
}

/// The input of the call, in the workspace. Returns false where a group has no
/// such numbers.
inline bool fixed_input(const LinearProblem& problem, const LinearArgs& args,
                        int64_t tile_rows, Executor& executor,
                        DotInput* input) {
  const DotTiles tiles = dot_tiles(problem, tile_rows, kFixedDigits);
  const int64_t groups = problem.k / problem.group_size;
  const int64_t padded_groups = round_up(groups, kGroupChunk);
  const int64_t digits = problem.m * tiles.row_bytes();
  const int64_t floats = problem.m * padded_groups;
  auto* room =
      executor.workspace(static_cast<size_t>(digits) +
                         static_cast<size_t>(2 * floats) * sizeof(float));
  auto* x = reinterpret_cast<int8_t*>(room);
  auto* sums = reinterpret_cast<float*>(room + digits);
  float* units = sums + floats;
  __builtin_memset(room, 0,
                   static_cast<size_t>(digits) +
                       static_cast<size_t>(2 * floats) * sizeof(float));
  bool fits = true;
  with_input_loader(problem, args, [&](auto load_at) {
    for (int64_t m = 0; m < problem.m; ++m) {
      const DotRow row(tiles, x, m);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t at = g * problem.group_size;
        const int64_t offset = m * problem.k + at;
        float& unit = units[m * padded_groups + g];
        fits = find_unit(load_at, offset, problem.group_size, &unit);
        if (!fits) return;
        DotRow to = row;
        to.cells +=
            at / tiles.span * tiles.vectors * row.stride + at % tiles.span;
        sums[m * padded_groups + g] =
            store_fixed(load_at, offset, problem.group_size, unit, to);
      }
    }
  });
  *input = {x, sums, units, tiles.row_bytes(), padded_groups};
  return fits;
}

}  // namespace
}  // namespace quanto::kernels

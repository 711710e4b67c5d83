// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "quanto/core/executor.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/kernels/ref/ref.h"
#include "quanto/kernels/test_tensor.h"

// For tests that hold the kernels in use against ref, bit for bit, on one
// thread and on three.

namespace quanto::kernels {

/// Covers every tail of every vector, twice.
inline constexpr int64_t kSmallSizes = 2 * 64 + 4;
/// Enough for three threads.
inline constexpr int64_t kBigSize = 3 * 16384 + 5;
/// Elements past the end of every output, which must stay as they were.
inline constexpr int64_t kGuard = 64;

/// Random values, one in four replaced by a special one: zeros, infinities,
/// NaN, the extremes, and bits drawn at random.
inline TestTensor hard_tensor(DType dtype, int64_t numel, uint32_t seed) {
  constexpr double kSpecial[] = {
      0.0,     -0.0,     INFINITY, -INFINITY, NAN,  -NAN,  3e38,    -3e38,
      65504.0, -65520.0, 1e-38,    -1e-45,    6e-8, 448.0, 57344.0, 240.0};
  TestTensor tensor = random_tensor(dtype, numel, -300.0F, 300.0F, seed);
  std::mt19937 engine(seed);
  for (int64_t i = 0; i < numel; ++i) {
    const uint32_t draw = engine();
    if (draw % 8 == 0) {
      tensor.set(i, static_cast<float>(kSpecial[draw / 8 % 16]));
    } else if (draw % 8 == 1) {
      tensor.set_bits(i, engine());
    }
  }
  return tensor;
}

/// Positive values, one in four replaced as above.
inline TestTensor hard_scales(DType dtype, int64_t numel, uint32_t seed) {
  TestTensor scales = hard_tensor(dtype, numel, seed);
  std::mt19937 engine(seed + 1);
  for (int64_t i = 0; i < numel; ++i) {
    if (engine() % 4 != 0) {
      scales.set(i, 0.01F + 3.0F * static_cast<float>(engine()) * 0x1p-32F);
    }
  }
  return scales;
}

inline TestTensor random_codes(int64_t numel, uint32_t seed) {
  TestTensor codes(DType::kUInt8, numel);
  std::mt19937 engine(seed);
  for (int64_t i = 0; i < numel; ++i) codes.set_bits(i, engine() & 0xff);
  return codes;
}

/// All bits are equal; or, where the outputs are numbers rather than codes, all
/// but those of NaN: which one comes out of two is not part of the contract; or
/// the numbers are: neither is which zero is the smaller.
enum class Compare : uint8_t { kBits, kBitsButNan, kNumbers };

inline void expect_same(const TestTensor& expected, const TestTensor& actual,
                        Compare compare, const std::string& what) {
  for (int64_t i = 0; i < expected.numel(); ++i) {
    if (expected.bits(i) == actual.bits(i)) continue;
    const float a = expected.at(i), b = actual.at(i);
    const bool nan = std::isnan(a) && std::isnan(b);
    ASSERT_TRUE((compare == Compare::kNumbers && a == b) ||
                (compare != Compare::kBits && nan))
        << what << " at " << i << " of " << expected.numel() << ": expected "
        << a << " (0x" << std::hex << expected.bits(i) << "), got " << b
        << " (0x" << actual.bits(i) << ")";
  }
}

/// Calls run(table, output, executor) with ref and with the kernels in use, and
/// compares what it leaves in an output of `numel` elements.
template <typename Run>
void expect_as_ref(DType dtype, int64_t numel, Compare compare,
                   const std::string& what, Run run) {
  static ThreadPool pool(3);
  SerialExecutor serial;
  TestTensor expected(dtype, numel + kGuard);
  expected.fill_bytes(0x55);
  TestTensor one = expected;
  TestTensor three = expected;
  run(ref_kernels(), expected.data(), static_cast<Executor&>(serial));
  run(kernels(), one.data(), static_cast<Executor&>(serial));
  run(kernels(), three.data(), static_cast<Executor&>(pool));
  expect_same(expected, one, compare, what);
  const bool codes = compare == Compare::kBits;
  expect_same(one, three, codes ? compare : Compare::kBitsButNan,
              what + " on 3 threads");
}

inline std::string name_of(AxisView view) {
  return "[" + std::to_string(view.outer) + "][" +
         std::to_string(view.channels) + "][" + std::to_string(view.inner) +
         "]";
}

inline std::string name_of(const GroupLayout& layout) {
  return std::string(layout.last_axis ? "last axis, " : "axis 0, ") +
         std::to_string(layout.channels) + " channels, " +
         std::to_string(layout.groups) + " groups of " +
         std::to_string(layout.group_size);
}

/// Per tensor, axis 0, last axis and an axis between, with every tail.
inline std::vector<AxisView> test_views() {
  std::vector<AxisView> views;
  for (int64_t size = 0; size <= kSmallSizes; ++size) {
    views.push_back({1, 1, size});
    views.push_back({1, 3, size});
    views.push_back({3, size, 1});
    if (size < 40) views.push_back({2, 3, size});
  }
  views.insert(views.end(), {{1, 1, kBigSize},
                             {1, 2, kBigSize},
                             {1, 400, 129},
                             {300, 200, 1},
                             {kBigSize, 1, 1},
                             {20000, 3, 1},
                             {50, 7, 200}});
  return views;
}

/// Both axes, with and without groups, with every tail.
inline std::vector<GroupLayout> test_layouts() {
  std::vector<GroupLayout> layouts;
  for (const bool last_axis : {false, true}) {
    for (int64_t size = 0; size <= 36; ++size) {
      layouts.push_back({last_axis, 3, 1, size});
      layouts.push_back({last_axis, size, 1, 5});
      layouts.push_back({last_axis, size, 3, 6});
    }
    for (const int64_t group_size : {32, 96, 128, 57}) {
      layouts.push_back({last_axis, 5, 3, group_size});
      layouts.push_back({last_axis, 150, 7, group_size});
    }
    layouts.push_back({last_axis, 1, 1, kBigSize});
    layouts.push_back({last_axis, 130, 1, 600});
  }
  return layouts;
}

}  // namespace quanto::kernels

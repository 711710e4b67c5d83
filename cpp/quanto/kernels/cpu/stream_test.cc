// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/against_ref.h"

// A result that is large enough to go past the caches equals that of its parts,
// which is not: each part is a third of it.

namespace quanto::kernels {
namespace {

using Bytes = std::vector<std::byte>;

constexpr DType kDType = DType::kBFloat16;
/// Rows of 101 groups, so that no row ends where a line does.
constexpr int64_t kGroup = 33;
constexpr int64_t kColumns = 101 * kGroup;
/// More than 64 MiB of codes, in thirds of as many packed rows.
constexpr int64_t kRows = 6 * 3400;
/// Results begin between two lines.
constexpr int64_t kOffset = 12;
constexpr int kBits = 4;

/// Random bytes, the same ones again and again.
Bytes repeated(const TestTensor& tensor, int64_t bytes) {
  const int64_t period = tensor.numel() * size_of(tensor.dtype());
  Bytes out(static_cast<size_t>(bytes));
  for (int64_t i = 0; i < bytes; i += period) {
    std::memcpy(out.data() + i, tensor.data(),
                static_cast<size_t>(std::min(period, bytes - i)));
  }
  return out;
}

Bytes floats(int64_t numel, float low, float high, uint32_t seed) {
  return repeated(random_tensor(kDType, 65537, low, high, seed), numel * 2);
}

/// A result of rows of `row` bytes that is made of whole rows.
template <typename Make>
void expect_parts(int64_t rows, int64_t row, Make make) {
  SerialExecutor one;
  ThreadPool three(3);
  Bytes whole(static_cast<size_t>(rows * row + kOffset));
  Bytes part(static_cast<size_t>(rows / 3 * row));
  make(0, rows, whole.data() + kOffset, three);
  for (int64_t begin = 0; begin < rows; begin += rows / 3) {
    make(begin, rows / 3, part.data(), one);
    const std::byte* same = whole.data() + kOffset + begin * row;
    ASSERT_EQ(std::memcmp(same, part.data(), part.size()), 0) << begin;
  }
}

TEST(StreamTest, QuantizeSymmetric) {
  const Bytes base = floats(kRows * kColumns, -3, 3, 1);
  const Bytes scale = floats(kRows, 0.01F, 0.03F, 2);
  expect_parts(kRows, kColumns,
               [&](int64_t first, int64_t rows, void* out, Executor& executor) {
                 kernels().quantize_symmetric(
                     base.data() + first * kColumns * 2, kDType,
                     {1, rows, kColumns}, scale.data() + first * 2,
                     DType::kInt8, out, executor);
               });
}

TEST(StreamTest, DequantizeSymmetric) {
  const Bytes codes = repeated(random_codes(65537, 3), kRows * kColumns);
  const Bytes scale = floats(kRows, 0.01F, 0.03F, 2);
  constexpr int64_t kFewer = kRows / 2;
  expect_parts(kFewer, kColumns * 2,
               [&](int64_t first, int64_t rows, void* out, Executor& executor) {
                 kernels().dequantize_symmetric(
                     codes.data() + first * kColumns, DType::kInt8,
                     {1, rows, kColumns}, scale.data() + first * 2, kDType, out,
                     executor);
               });
}

/// Rows are groups from here on.
constexpr int64_t kGroups = kRows * kColumns / kGroup;

TEST(StreamTest, QuantizeAffine) {
  const Bytes base = floats(kGroups * kGroup, -3, 3, 1);
  const Bytes scale = floats(kGroups, 0.1F, 0.4F, 2);
  const Bytes shift = floats(kGroups, 0.1F, 3, 3);
  expect_parts(kGroups, kGroup,
               [&](int64_t first, int64_t rows, void* out, Executor& executor) {
                 kernels().quantize_affine(
                     base.data() + first * kGroup * 2, kDType,
                     {false, rows, 1, kGroup}, kBits, scale.data() + first * 2,
                     shift.data() + first * 2, ShiftKind::kFloat,
                     static_cast<uint8_t*>(out), executor);
               });
}

TEST(StreamTest, DequantizeAffine) {
  // An odd number: the last plane is a row short.
  constexpr int64_t kFewer = kGroups / 2 + 1;
  static_assert(kFewer % 2 == 1);
  const int64_t packed_size = packed_rows(kFewer, kBits);
  const Bytes packed = repeated(random_codes(65537, 3), packed_size * kGroup);
  const Bytes scale = floats(kFewer, 0.1F, 0.4F, 2);
  const Bytes shift = floats(kFewer, 0.1F, 3, 3);
  const auto dequantize = [&](int64_t byte_row, int64_t first, int64_t rows,
                              std::byte* out, Executor& executor) {
    const auto* codes =
        reinterpret_cast<const uint8_t*>(packed.data()) + byte_row * kGroup;
    kernels().dequantize_affine(
        codes, {false, rows, 1, kGroup}, kBits, scale.data() + first * 2,
        shift.data() + first * 2, ShiftKind::kFloat, kDType, out, executor);
  };
  constexpr int64_t kRow = kGroup * 2;
  SerialExecutor one;
  ThreadPool three(3);
  Bytes whole(static_cast<size_t>(kFewer * kRow + kOffset));
  dequantize(0, 0, kFewer, whole.data() + kOffset, three);
  // Some bytes alone are a matrix of as many rows in each plane.
  const int64_t rows = packed_size / 4;
  Bytes part(static_cast<size_t>(2 * rows * kRow));
  for (int64_t byte_row = 0; byte_row + rows < packed_size; byte_row += rows) {
    for (const int64_t plane : {0, 1}) {
      // Scales such that those of this plane are the whole's.
      const int64_t row = plane * packed_size + byte_row;
      dequantize(byte_row, row - plane * rows, 2 * rows, part.data(), one);
      ASSERT_EQ(std::memcmp(whole.data() + kOffset + row * kRow,
                            part.data() + plane * rows * kRow,
                            static_cast<size_t>(rows * kRow)),
                0)
          << row;
    }
  }
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/against_ref.h"

namespace quanto::kernels {
namespace {

struct Shape {
  int64_t rows;
  int64_t columns;
};

std::string name_of(Shape shape) {
  return std::to_string(shape.rows) + " x " + std::to_string(shape.columns);
}

/// Every number of rows that leaves planes short, every tail.
std::vector<Shape> test_shapes() {
  std::vector<Shape> shapes;
  for (int64_t rows = 0; rows <= 9; ++rows) {
    for (int64_t columns = 0; columns <= kSmallSizes; ++columns) {
      shapes.push_back({rows, columns});
    }
  }
  for (int64_t rows = 0; rows <= 300; rows += 7) shapes.push_back({rows, 96});
  shapes.push_back({5, kBigSize});
  shapes.push_back({kBigSize, 3});
  return shapes;
}

class PackTest : public testing::TestWithParam<int> {};

TEST_P(PackTest, PackEqualsRef) {
  for (const Shape shape : test_shapes()) {
    const TestTensor codes = random_codes(shape.rows * shape.columns, 1);
    const int64_t size = packed_rows(shape.rows, GetParam()) * shape.columns;
    expect_as_ref(DType::kUInt8, size, Compare::kBits, name_of(shape),
                  [&](const KernelTable& table, void* out, Executor& executor) {
                    table.pack(static_cast<const uint8_t*>(codes.data()),
                               shape.rows, shape.columns, GetParam(),
                               static_cast<uint8_t*>(out), executor);
                  });
    if (HasFatalFailure()) return;
  }
}

TEST_P(PackTest, UnpackEqualsRef) {
  for (const Shape shape : test_shapes()) {
    const TestTensor packed = random_codes(shape.rows * shape.columns, 2);
    const int64_t size = packed.numel() * codes_per_byte(GetParam());
    expect_as_ref(DType::kUInt8, size, Compare::kBits, name_of(shape),
                  [&](const KernelTable& table, void* out, Executor& executor) {
                    table.unpack(static_cast<const uint8_t*>(packed.data()),
                                 shape.rows, shape.columns, GetParam(),
                                 static_cast<uint8_t*>(out), executor);
                  });
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackTest, testing::Values(2, 4),
                         [](const auto& param) {
                           return std::to_string(param.param) + "_bits";
                         });

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/packing.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace quanto {
namespace {

class PackingTest : public testing::TestWithParam<int> {};

TEST_P(PackingTest, HoldsEveryRowInTheFewestBytes) {
  const int bits = GetParam();
  const int64_t codes = codes_per_byte(bits);
  EXPECT_EQ(codes * bits, 8);
  for (int64_t rows = 0; rows < 100; ++rows) {
    const int64_t bytes = packed_rows(rows, bits);
    EXPECT_GE(bytes * codes, rows);
    EXPECT_LT(bytes * codes, rows + codes);
  }
}

TEST_P(PackingTest, GivesEveryRowAPlaceOfItsOwn) {
  const int bits = GetParam();
  for (int64_t rows = 1; rows < 100; ++rows) {
    std::set<std::pair<int64_t, int>> places;
    for (int64_t row = 0; row < rows; ++row) {
      const PackedRow place = packed_row(row, rows, bits);
      EXPECT_GE(place.row, 0);
      EXPECT_LT(place.row, packed_rows(rows, bits));
      EXPECT_EQ(place.shift % bits, 0);
      EXPECT_LE(place.shift, 8 - bits);
      places.emplace(place.row, place.shift);
    }
    EXPECT_EQ(static_cast<int64_t>(places.size()), rows);
  }
}

TEST_P(PackingTest, KeepsRowsOfOnePlaneInOrder) {
  const int bits = GetParam();
  const int64_t rows = 64;
  const int64_t plane = packed_rows(rows, bits);
  for (int64_t row = 0; row < rows; ++row) {
    const PackedRow place = packed_row(row, rows, bits);
    EXPECT_EQ(place.shift / bits * plane + place.row, row);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, PackingTest, testing::Values(2, 4),
                         [](const auto& param) {
                           return "bits" + std::to_string(param.param);
                         });

}  // namespace
}  // namespace quanto

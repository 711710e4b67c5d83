// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/ref/ref.h"

namespace quanto::kernels {
namespace {

constexpr int64_t kColumns[] = {0, 1, 7, 64};

class PackTest : public testing::TestWithParam<int> {
 protected:
  std::vector<uint8_t> pack(const std::vector<uint8_t>& codes, int64_t rows,
                            int64_t columns) {
    std::vector<uint8_t> packed(packed_rows(rows, bits_) * columns, 0x55);
    ref_kernels().pack(codes.data(), rows, columns, bits_, packed.data(),
                       executor_);
    return packed;
  }

  std::vector<uint8_t> unpack(const std::vector<uint8_t>& packed, int64_t bytes,
                              int64_t columns) {
    std::vector<uint8_t> codes(bytes * codes_per_byte(bits_) * columns, 0x55);
    ref_kernels().unpack(packed.data(), bytes, columns, bits_, codes.data(),
                         executor_);
    return codes;
  }

  int bits_ = GetParam();
  int mask_ = (1 << bits_) - 1;
  SerialExecutor executor_;
};

/// Every code value comes to stand in every row of the matrix.
TEST_P(PackTest, RoundTripsEveryValue) {
  for (int64_t rows = 0; rows < 20; ++rows) {
    for (const int64_t columns : kColumns) {
      for (int first = 0; first <= mask_; ++first) {
        std::vector<uint8_t> codes(rows * columns);
        for (size_t i = 0; i < codes.size(); ++i) {
          codes[i] = static_cast<uint8_t>((first + i * 5 + i / 3) & mask_);
        }
        const int64_t bytes = packed_rows(rows, bits_);
        std::vector<uint8_t> padded = codes;
        padded.resize(bytes * codes_per_byte(bits_) * columns, 0);
        EXPECT_EQ(unpack(pack(codes, rows, columns), bytes, columns), padded);
      }
    }
  }
}

TEST_P(PackTest, UnpacksEveryByte) {
  std::vector<uint8_t> packed(256);
  for (int byte = 0; byte < 256; ++byte) packed[byte] = byte & 0xff;
  const std::vector<uint8_t> codes = unpack(packed, 1, 256);
  for (int64_t item = 0; item < codes_per_byte(bits_); ++item) {
    for (int byte = 0; byte < 256; ++byte) {
      EXPECT_EQ(codes[item * 256 + byte],
                (byte >> (static_cast<int>(item) * bits_)) & mask_);
    }
  }
}

TEST_P(PackTest, StandsWherePackedRowSays) {
  const int64_t columns = 3;
  for (int64_t rows = 1; rows < 12; ++rows) {
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<uint8_t> codes(rows * columns, 0);
      codes[row * columns + 1] = static_cast<uint8_t>(mask_);
      const PackedRow place = packed_row(row, rows, bits_);
      std::vector<uint8_t> expected(packed_rows(rows, bits_) * columns, 0);
      expected[place.row * columns + 1] =
          static_cast<uint8_t>(mask_ << place.shift);
      EXPECT_EQ(pack(codes, rows, columns), expected);
    }
  }
}

TEST_P(PackTest, MasksCodesToTheirBits) {
  const std::vector<uint8_t> codes(8, 0xff);
  const std::vector<uint8_t> expected(bits_, 0xff);
  EXPECT_EQ(pack(codes, 8, 1), expected);
}

INSTANTIATE_TEST_SUITE_P(Bits, PackTest, testing::Values(2, 4),
                         [](const auto& param) {
                           return "bits" + std::to_string(param.param);
                         });

TEST(PackLayoutTest, PutsRowsOfFourBitsIntoTwoPlanes) {
  const std::vector<uint8_t> codes = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<uint8_t> packed(4);
  SerialExecutor executor;
  ref_kernels().pack(codes.data(), 4, 2, 4, packed.data(), executor);
  EXPECT_EQ(packed, (std::vector<uint8_t>{0x51, 0x62, 0x73, 0x84}));
}

TEST(PackLayoutTest, PutsRowsOfTwoBitsIntoFourPlanes) {
  const std::vector<uint8_t> codes = {3, 0, 1, 2, 2};
  std::vector<uint8_t> packed(2);
  SerialExecutor executor;
  ref_kernels().pack(codes.data(), 5, 1, 2, packed.data(), executor);
  EXPECT_EQ(packed, (std::vector<uint8_t>{3 | 1 << 2 | 2 << 4, 2 << 2}));
}

}  // namespace
}  // namespace quanto::kernels

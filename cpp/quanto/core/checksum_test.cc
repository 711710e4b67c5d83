// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/checksum.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>
#include <vector>

namespace quanto {
namespace {

// Of `printf quanto | xxhsum -H3` and the like.
TEST(ChecksumTest, IsWhatXxhsumPrints) {
  const auto of = [](std::string_view text) {
    return checksum(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_EQ(of(""), "2d06800538d394c2");
  EXPECT_EQ(of("quanto"), "b427175ee508b852");
  EXPECT_EQ(of(std::string(3000, 'q')), "44dbd41aea24967c");
}

TEST(ChecksumTest, EveryFlippedBitChangesIt) {
  std::vector<std::byte> bytes(300);
  std::set<std::string> seen{checksum(bytes)};
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = std::byte{1} << static_cast<int>(bit % 8);
    bytes[bit / 8] ^= mask;
    EXPECT_TRUE(seen.insert(checksum(bytes)).second) << bit;
    bytes[bit / 8] ^= mask;
  }
}

}  // namespace
}  // namespace quanto

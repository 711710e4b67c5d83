// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_header.h"

#include <gtest/gtest.h>

#include "quanto/io/gguf.h"
#include "quanto/io/test_folder.h"
#include "quanto/io/test_gguf.h"

namespace quanto::io {
namespace {

using Type = GgufValueType;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ8 = 8;

Result<GgufHeader> parse(const std::string& bytes) {
  return parse_gguf_header(bytes_of(bytes), "x");
}

std::string alignment(uint32_t value) {
  return gguf_entry("general.alignment", Type::kUInt32, le(value));
}

TEST(GgufHeaderTest, ReadsTensorsOutermostSizeFirst) {
  const std::string bytes = gguf_bytes(
      {gguf_entry("general.architecture", Type::kString, gguf_string("llama"))},
      {gguf_tensor("blk.0.w", {64, 3}, kQ8, 64),
       gguf_tensor("norm", {5}, kF32, 0), gguf_tensor("s", {}, kF32, 32)},
      64 + 6 * 34);
  const auto header = parse(bytes);
  ASSERT_TRUE(header.ok()) << header.error().line();
  EXPECT_EQ(header.value().version, 3);
  EXPECT_EQ(header.value().metadata.at("general.architecture").as_string(),
            "llama");
  const auto& tensors = header.value().tensors;
  ASSERT_EQ(tensors.size(), 3);
  EXPECT_EQ(tensors[0].name, "norm");
  EXPECT_EQ(tensors[1].shape.size(), 0);
  EXPECT_EQ(tensors[1].numel(), 1);
  EXPECT_EQ(tensors[2].shape, (std::vector<int64_t>{3, 64}));
  EXPECT_EQ(tensors[2].bytes, 6 * 34);
  EXPECT_EQ(header.value().data_begin + 64 + 6 * 34, bytes.size());
}

TEST(GgufHeaderTest, TakesVersion2AnyAlignmentAndNoTensors) {
  std::string old = gguf_bytes({}, {gguf_tensor("t", {2}, kF32, 0)}, 8);
  old[4] = 2;
  EXPECT_TRUE(parse(old).ok());
  EXPECT_TRUE(parse(gguf_bytes({alignment(8)},
                               {gguf_tensor("a", {1}, kF32, 0),
                                gguf_tensor("b", {1}, kF32, 8)},
                               12, 8))
                  .ok());
  // The padding after the last tensor may be there or not.
  EXPECT_TRUE(parse(gguf_bytes({}, {gguf_tensor("t", {2}, kF32, 0)}, 32)).ok());
  EXPECT_TRUE(parse(gguf_head(3, 0, 0)).ok());
  EXPECT_TRUE(
      parse(gguf_bytes({}, {gguf_tensor("e", {0, 7}, kF32, 0)}, 0)).ok());
}

TEST(GgufHeaderTest, OpensAFile) {
  const TestFolder folder;
  const std::string path = folder / "model.gguf";
  std::string bytes = gguf_bytes({}, {gguf_tensor("t", {2}, kF32, 0)}, 8);
  bytes.back() = '!';
  write_text(path, bytes);
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().line();
  const auto data = file.value().data(file.value().header().tensors[0]);
  EXPECT_EQ(data.size(), 8);
  EXPECT_EQ(data.back(), std::byte{'!'});
  EXPECT_TRUE(is_gguf(path));
  EXPECT_FALSE(is_gguf(folder / "none.gguf"));
}

struct Malformed {
  const char* name;
  std::string bytes;
  uint64_t offset;
  const char* message;
};

std::string tensor_file(const std::string& tensor, size_t data = 8) {
  return gguf_bytes({}, {tensor}, data);
}

// The head takes 24 bytes; a tensor "t" has its rank at 33, sizes from 37 on.
const std::vector<Malformed> kMalformed = {
    {"Empty", "", 0, "expected the word GGUF of 4 bytes, got the 0 that"},
    {"OtherMagic", "GGJT" + le<uint32_t>(3), 0, "expected the word GGUF, got"},
    {"Version1", "GGUF" + le<uint32_t>(1), 4, "expected version 2 or 3, got 1"},
    {"Version4", "GGUF" + le<uint32_t>(4), 4, "expected version 2 or 3, got 4"},
    {"BigEndian", "GGUF" + le<uint32_t>(0x03000000), 4,
     "expected a little-endian file, got a big-endian one"},
    {"ManyTensors", gguf_head(3, uint64_t{1} << 63, 0), 8,
     "expected a number of tensors of at most 0, what fits into the file, got"},
    {"ManyEntries", gguf_head(3, 0, uint64_t{1} << 63), 16,
     "expected a number of metadata entries of at most 0"},
    {"KeyTwice", gguf_bytes({alignment(32), alignment(32)}, {}, 0),
     24 + 8 + 17 + 8, "expected each key once, got 'general.alignment' again"},
    {"KeyEmpty", gguf_bytes({gguf_entry("", Type::kBool, "\1")}, {}, 32), 24,
     "expected a key of 1 to 65535 bytes, got 0"},
    {"KeyNotAscii", gguf_bytes({gguf_entry("ü", Type::kBool, "\1")}, {}, 32),
     24, "expected a key of ASCII"},
    {"AlignmentNotPower", gguf_bytes({alignment(24)}, {}, 0), 24,
     "expected general.alignment to be a uint32, a power of two from 8 on, got "
     "24"},
    {"AlignmentZero", gguf_bytes({alignment(0)}, {}, 0), 24,
     "expected general.alignment to be a uint32, a power of two from 8 on"},
    {"AlignmentOfOtherType",
     gguf_bytes(
         {gguf_entry("general.alignment", Type::kUInt64, le<uint64_t>(32))}, {},
         0),
     24, "got another type"},
    {"NameTwice",
     gguf_bytes(
         {}, {gguf_tensor("t", {2}, kF32, 0), gguf_tensor("t", {2}, kF32, 32)},
         40),
     24 + 33, "expected each tensor once, got 't' again"},
    {"Rank", tensor_file(gguf_tensor("t", {1, 1, 1, 1, 1}, kF32, 0)), 33,
     "expected 't' of at most 4 dimensions, got 5"},
    {"ElementsOverflow",
     tensor_file(
         gguf_tensor("t", {uint64_t{1} << 32, uint64_t{1} << 31}, kF32, 0)),
     45, "expected 't' of fewer than 2^63 elements, got a size of 2147483648"},
    {"ElementsOverflowBehindZero",
     tensor_file(gguf_tensor("t", {0, UINT64_MAX}, kF32, 0)), 45,
     "expected 't' of fewer than 2^63 elements"},
    {"BytesOverflow", tensor_file(gguf_tensor("t", {uint64_t{1} << 62}, 28, 0)),
     45, "expected 't' of fewer than 2^64 bytes"},
    {"Type", tensor_file(gguf_tensor("t", {2}, 4, 0)), 45,
     "expected 't' of a known type, got number 4"},
    {"PartOfABlock", tensor_file(gguf_tensor("t", {33}, kQ8, 0)), 45,
     "expected rows of 't' in blocks of 32 elements, as Q8_0 has them, got "
     "rows "
     "of 33"},
    {"OffsetNotAligned", tensor_file(gguf_tensor("t", {2}, kF32, 4)), 49,
     "expected the offset of 't' to be a multiple of 32, got 4"},
    {"Hole", tensor_file(gguf_tensor("t", {2}, kF32, 32), 40), 64,
     "expected 't' at data offset 0, where the one before it ends, got 32"},
    {"Overlap",
     gguf_bytes(
         {},
         {gguf_tensor("a", {16}, kF32, 0), gguf_tensor("b", {16}, kF32, 32)},
         96),
     96 + 64, "expected 'b' at data offset 64, where the one before it ends"},
    {"DataCut", tensor_file(gguf_tensor("t", {2}, kF32, 0), 7), 64,
     "expected 't' of 8 bytes at data offset 0 inside 7 bytes of data"},
    {"BytesAfterTheLast", tensor_file(gguf_tensor("t", {2}, kF32, 0), 33), 96,
     "expected the tensors to end the file, got 1 bytes after them"},
};

class MalformedGgufTest : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedGgufTest, IsOneErrorAtItsByte) {
  const auto header = parse(GetParam().bytes);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.error().offset, GetParam().offset);
  EXPECT_NE(header.error().message.find(GetParam().message), std::string::npos)
      << header.error().message;
}

INSTANTIATE_TEST_SUITE_P(All, MalformedGgufTest, testing::ValuesIn(kMalformed),
                         [](const auto& test) { return test.param.name; });

TEST(GgufHeaderTest, RefusesEveryBeginningOfAFile) {
  const std::string bytes =
      gguf_bytes({gguf_entry("k", Type::kArray,
                             gguf_array(Type::kString, 1, gguf_string("s")))},
                 {gguf_tensor("t", {2}, kF32, 0)}, 8);
  ASSERT_TRUE(parse(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto header = parse(bytes.substr(0, size));
    ASSERT_FALSE(header.ok()) << size;
    EXPECT_LE(header.error().offset, size);
  }
}

TEST(GgufTypesTest, KnowsEachTypeByItsNumber) {
  for (uint32_t id = 0; id < 64; ++id) {
    const GgufType* type = find_gguf_type(id);
    if (type == nullptr) continue;
    EXPECT_EQ(type->id, id);
    EXPECT_EQ(type->is_plain(), type->block_elements == 1);
    if (type->dtype) {
      EXPECT_EQ(size_of(*type->dtype), type->block_bytes);
    }
  }
  EXPECT_EQ(find_gguf_type(12)->name, "Q4_K");
  EXPECT_EQ(find_gguf_type(4), nullptr);
}

}  // namespace
}  // namespace quanto::io

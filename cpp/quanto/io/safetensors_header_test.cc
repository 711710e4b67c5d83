// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors_header.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

Result<SafetensorsHeader> parse(std::string_view bytes) {
  return parse_safetensors_header(bytes_of(bytes), "x");
}

TEST(SafetensorsHeaderTest, ReadsTensorsInTheOrderOfTheirData) {
  const auto header = parse(safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},)"
      R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("s":{"dtype":"BF16","shape":[],"data_offsets":[11,13]}}  )",
      13));
  ASSERT_TRUE(header.ok()) << header.error().line();
  const auto& tensors = header.value().tensors;
  ASSERT_EQ(tensors.size(), 3);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].type->dtype, DType::kFloat32);
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[2].shape.size(), 0);
  EXPECT_EQ(tensors[2].bytes(), 2);
  EXPECT_EQ(header.value().metadata.at("format"), "pt");
}

TEST(SafetensorsHeaderTest, TakesEmptyTensorsAnywhereBetween) {
  EXPECT_TRUE(parse(safetensors_bytes(
                        R"({"a":{"dtype":"I8","shape":[1],"data_offsets":)"
                        R"([0,1]},"e":{"dtype":"F64","shape":[0,7],)"
                        R"("data_offsets":[0,0]}})",
                        1))
                  .ok());
  EXPECT_TRUE(parse(safetensors_bytes("{}", 0)).ok());
}

struct Hostile {
  const char* name;
  std::string bytes;
  const char* message;
  /// The error's offset is in these bytes, the last that are so, or next to it.
  std::string_view near = {};
};

std::string one(std::string_view entry, size_t data = 4) {
  return safetensors_bytes(fmt::format(R"({{"a":{}}})", entry), data);
}

std::string entry(std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return fmt::format(R"({{"dtype":{},"shape":{},"data_offsets":{}}})", dtype,
                     shape, offsets);
}

std::string two(std::string_view a, std::string_view b, size_t data) {
  return safetensors_bytes(fmt::format(R"({{"a":{},"b":{}}})", a, b), data);
}

std::string length(uint64_t value, std::string_view rest) {
  std::string bytes = safetensors_bytes(rest, 0);
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

std::string f32(std::string_view shape, std::string_view offsets) {
  return entry("\"F32\"", shape, offsets);
}

/// What gtest prints of a case.
void PrintTo(const Hostile& hostile, std::ostream* out) {
  *out << hostile.name;
}

class HostileHeaderTest : public testing::TestWithParam<Hostile> {};

TEST_P(HostileHeaderTest, IsOneErrorWithItsOffset) {
  const Hostile& hostile = GetParam();
  const auto header = parse(hostile.bytes);
  ASSERT_FALSE(header.ok());
  const std::string& message = header.error().message;
  EXPECT_NE(message.find(hostile.message), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  ASSERT_TRUE(header.error().offset.has_value());
  const uint64_t begin =
      hostile.near.empty() ? 0 : hostile.bytes.rfind(hostile.near);
  EXPECT_GE(*header.error().offset, begin);
  EXPECT_LE(*header.error().offset, begin + hostile.near.size());
}

std::vector<Hostile> hostile_headers() {
  const std::string good = f32("[1]", "[0,4]");
  constexpr std::string_view kData("\0\1\2\3", 4);
  return {
      {"Empty", "", "expected a length of 8 bytes, got 0"},
      {"ShortLength", "abc", "expected a length of 8 bytes, got 3"},
      {"HugeLength", length(100'000'001, "{}"), "at most 100000000 bytes"},
      {"LargestLength", length(~uint64_t{0}, "{}"), "at most 100000000"},
      {"LengthPastTheEnd", length(3, "{}"), "at most the 2 bytes"},
      {"NoHeader", length(0, "{}"), "begins with '{'", "{"},
      {"BeginsWithSpace", safetensors_bytes(" {}", 0), "begins with '{'", " "},
      {"Unterminated", safetensors_bytes("{", 0), "of JSON", "{"},
      {"TrailingText", safetensors_bytes("{} x", 0), "of JSON", "x"},
      {"NotUtf8", safetensors_bytes("{\"\xff\":1}", 0), "in UTF-8", "\xff"},
      {"DeepNesting",
       safetensors_bytes("{\"a\":" + std::string(1'000'000, '['), 0),
       "expected an entry for each tensor, got an array", ":["},
      {"NotAnEntry", one("1"), "got a number", "1"},
      {"NullEntry", one("null"), "got null", "null"},
      {"TensorTwice",
       safetensors_bytes(fmt::format(R"({{"a":{},"a":{}}})", good, good), 4),
       "expected each key once, got 'a' twice", "\"a\""},
      {"KeyTwice", one(R"({"dtype":"F32","dtype":"F32"})"),
       "expected each key once, got 'dtype' twice", "\"dtype\""},
      {"UnknownKey", one(R"({"type":"F32"})"), "got 'type'", "\"type\""},
      {"KeyMissing", one(R"({"dtype":"F32","shape":[1]})"), "got less", "}}"},
      {"UnknownDtype", one(entry("\"F33\"", "[1]", "[0,4]")), "got 'F33'",
       "\"F33\""},
      {"DtypeNumber", one(entry("32", "[1]", "[0,4]")), "a string as dtype",
       "32"},
      {"ShapeNumber", one(f32("1", "[0,4]")), "an array of sizes", ":1,"},
      {"NegativeSize", one(f32("[-1]", "[0,4]")), "a negative number", "-1"},
      {"FractionalSize", one(f32("[1.5]", "[0,4]")), "not whole", "1.5"},
      {"SizeOverflow", one(f32("[9223372036854775808]", "[0,4]")),
       "a size of 2^63 or more", "9223372036854775808"},
      {"SizePast64Bits", one(f32("[99999999999999999999]", "[0,4]")),
       "not whole", "99999999999999999999"},
      {"NestedShape", one(f32("[[1]]", "[0,4]")), "got an array", "[["},
      {"ManyDimensions",
       one(f32(fmt::format("[{}]", fmt::join(std::vector<int>(65, 1), ",")),
               "[0,4]")),
       "more than 64 dimensions", ",1]"},
      {"ShapeOverflow", one(f32("[4294967296,4294967296]", "[0,4]")),
       "whole bytes below 2^64 bits", "}}"},
      {"HalfByte", one(entry("\"F4\"", "[3]", "[0,1]"), 1), "whole bytes",
       "}}"},
      {"OneOffset", one(f32("[1]", "[4]")), "two data_offsets", "[4]"},
      {"ThreeOffsets", one(f32("[1]", "[0,4,8]")), "more than two offsets",
       "8"},
      {"OffsetsReversed", one(f32("[1]", "[4,0]")), "in order, got 4 and 0",
       "}}"},
      {"WrongSpan", one(f32("[1]", "[0,3]")), "expected 4 bytes of 'a'", "}}"},
      {"PastTheEnd", one(f32("[1]", "[0,4]"), 3), "is the file whole?",
       kData.substr(0, 3)},
      {"BytesLeft", one(f32("[1]", "[0,4]"), 5), "cover 5 bytes", "\4"},
      {"Hole", two(good, f32("[1]", "[5,9]"), 9), "begin at data offset 4",
       "\4"},
      {"Overlap", two(good, f32("[1]", "[2,6]"), 6), "begin at data offset 4",
       "\4"},
      {"SameBytesTwice", two(good, good, 4), "begin at data offset 4", kData},
      {"MetadataNumber", safetensors_bytes(R"({"__metadata__":{"a":1}})", 0),
       "a string for each metadata key", "1"},
      {"MetadataTwice",
       safetensors_bytes(R"({"__metadata__":{"a":"1","a":"2"}})", 0),
       "got 'a' twice", "\"a\""},
      {"MetadataString", safetensors_bytes(R"({"__metadata__":"a"})", 0),
       "got a string", "\"a\""},
  };
}

INSTANTIATE_TEST_SUITE_P(Files, HostileHeaderTest,
                         testing::ValuesIn(hostile_headers()),
                         [](const auto& instance) {
                           return std::string(instance.param.name);
                         });

TEST(SafetensorsHeaderTest, MakesAlignedHeadersThatItReads) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}};
  const auto add = [&](const char* name, const char* type,
                       std::vector<int64_t> shape) {
    header.tensors.push_back({name, find_file_type(type), std::move(shape)});
  };
  add("z \"é\"", "U8", {3});
  add("b", "BF16", {});
  add("a", "BF16", {5});
  add("w", "F32", {2, 2});
  const auto bytes = make_safetensors_header(header, "x");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(bytes.value().size() % 8, 0);
  const auto read = parse(bytes.value() + std::string(31, '\0'));
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(read.value().metadata, header.metadata);
  std::vector<std::string> names;
  for (const TensorInfo& tensor : read.value().tensors) {
    names.push_back(tensor.name);
    EXPECT_EQ(tensor.begin % static_cast<uint64_t>(tensor.type->bits / 8), 0);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"w", "a", "b", "z \"é\""}));
}

TEST(SafetensorsHeaderTest, RefusesToMakeWhatItWouldNotRead) {
  const FileType* type = find_file_type("F32");
  SafetensorsHeader twice{{}, {{"a", type, {1}}, {"a", type, {1}}}};
  EXPECT_FALSE(make_safetensors_header(twice, "x").ok());
  SafetensorsHeader large{{}, {{"a", type, {int64_t{1} << 62, 4}}}};
  EXPECT_FALSE(make_safetensors_header(large, "x").ok());
  SafetensorsHeader reserved{{}, {{"__metadata__", type, {1}}}};
  EXPECT_FALSE(make_safetensors_header(reserved, "x").ok());
}

}  // namespace
}  // namespace quanto::io

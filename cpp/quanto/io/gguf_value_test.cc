// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_value.h"

#include <gtest/gtest.h>

#include "quanto/io/test_folder.h"
#include "quanto/io/test_gguf.h"

namespace quanto::io {
namespace {

using Type = GgufValueType;

const std::string kFile = "x";

Result<GgufValue> read(const std::string& bytes) {
  GgufCursor cursor(bytes_of(bytes), kFile);
  return read_gguf_value(cursor, "k");
}

TEST(GgufValueTest, ReadsNumbersOfEveryWidth) {
  const std::string u8 = gguf_type(Type::kUInt8) + le<uint8_t>(200);
  const std::string i8 = gguf_type(Type::kInt8) + le<int8_t>(-3);
  const std::string u16 = gguf_type(Type::kUInt16) + le<uint16_t>(65535);
  const std::string i16 = gguf_type(Type::kInt16) + le<int16_t>(-300);
  const std::string u32 = gguf_type(Type::kUInt32) + le<uint32_t>(4000000000);
  const std::string i32 = gguf_type(Type::kInt32) + le<int32_t>(7);
  const std::string u64 = gguf_type(Type::kUInt64) + le<uint64_t>(UINT64_MAX);
  const std::string i64 = gguf_type(Type::kInt64) + le<int64_t>(INT64_MIN);
  EXPECT_EQ(read(u8).value().as_unsigned(), 200);
  EXPECT_EQ(read(i8).value().as_signed(), -3);
  EXPECT_EQ(read(u16).value().as_signed(), 65535);
  EXPECT_EQ(read(i16).value().as_signed(), -300);
  EXPECT_EQ(read(u32).value().as_unsigned(), 4000000000);
  EXPECT_EQ(read(i32).value().as_unsigned(), 7);
  EXPECT_EQ(read(u64).value().as_unsigned(), UINT64_MAX);
  EXPECT_EQ(read(i64).value().as_signed(), INT64_MIN);
  // What does not fit or is of another kind is not given.
  EXPECT_FALSE(read(i8).value().as_unsigned());
  EXPECT_FALSE(read(u64).value().as_signed());
  EXPECT_FALSE(read(u8).value().as_float());
  EXPECT_FALSE(read(u8).value().as_bool());
  EXPECT_FALSE(read(u8).value().as_string());
}

TEST(GgufValueTest, ReadsFloatsBoolsAndText) {
  const std::string f32 = gguf_type(Type::kFloat32) + le(1e-5F);
  const std::string f64 = gguf_type(Type::kFloat64) + le(0.1);
  const std::string yes = gguf_type(Type::kBool) + "\1";
  const std::string text = gguf_type(Type::kString) + gguf_string("ü€😀");
  EXPECT_EQ(read(f32).value().as_float(), 1e-5F);
  EXPECT_EQ(read(f64).value().as_float(), 0.1);
  EXPECT_EQ(read(yes).value().as_bool(), true);
  EXPECT_EQ(read(text).value().as_string(), "ü€😀");
}

TEST(GgufValueTest, ReadsArraysOfArrays) {
  const std::string inner =
      gguf_array(Type::kUInt16, 2, le<uint16_t>(1) + le<uint16_t>(2)) +
      gguf_array(Type::kString, 1, gguf_string("s"));
  const std::string bytes =
      gguf_type(Type::kArray) + gguf_array(Type::kArray, 2, inner);
  const auto value = read(bytes);
  ASSERT_TRUE(value.ok()) << value.error().line();
  const auto elements = elements_of(value.value());
  ASSERT_EQ(elements.size(), 2);
  EXPECT_EQ(elements_of(elements[0])[1].as_unsigned(), 2);
  EXPECT_EQ(elements_of(elements[1])[0].as_string(), "s");
}

std::string nested(int depth) {
  std::string bytes = gguf_array(Type::kUInt8, 0, "");
  for (int i = 1; i < depth; ++i) bytes = gguf_array(Type::kArray, 1, bytes);
  return gguf_type(Type::kArray) + bytes;
}

TEST(GgufValueTest, LimitsHowDeepArraysNest) {
  EXPECT_TRUE(read(nested(kMaxGgufDepth)).ok());
  const auto deeper = read(nested(kMaxGgufDepth + 1));
  ASSERT_FALSE(deeper.ok());
  EXPECT_EQ(deeper.error().message,
            "expected arrays nested at most 8 deep in 'k', got more");
}

TEST(GgufValueTest, RefusesTextThatIsNotUtf8AtItsByte) {
  for (const std::string_view text :
       {"ab\xff", "ab\xc0\x80", "ab\xe0\x9f\xbf", "ab\xed\xa0\x80",
        "ab\xf4\x90\x80\x80", "ab\xf0\x8f\xbf\xbf", "ab\xe2\x82", "ab\x80",
        "ab\xe2\x28\xa1"}) {
    const auto value = read(gguf_type(Type::kString) + gguf_string(text));
    ASSERT_FALSE(value.ok());
    EXPECT_EQ(value.error().offset, 4 + 8 + 2);
  }
}

TEST(GgufValueTest, RefusesWhatIsNoValue) {
  const std::string type = le<uint32_t>(13) + "........";
  EXPECT_EQ(read(type).error().line(),
            "x: at byte 0: expected 'k' of a type from 0 to 12, got 13");
  EXPECT_EQ(read(gguf_type(Type::kBool) + "\2").error().line(),
            "x: at byte 4: expected 'k' to be 0 or 1, got 2");
  EXPECT_EQ(read(gguf_type(Type::kArray) +
                 gguf_array(Type::kBool, 2, std::string("\0\3", 2)))
                .error()
                .offset,
            17);
  EXPECT_EQ(read(gguf_type(Type::kUInt32) + "abc").error().line(),
            "x: at byte 4: expected k of 4 bytes, got the 3 that are left: is "
            "the file whole?");
  // A count whose product with the size of an element overflows.
  EXPECT_EQ(read(gguf_type(Type::kArray) +
                 gguf_array(Type::kUInt64, uint64_t{1} << 61, "12345678"))
                .error()
                .line(),
            "x: at byte 16: expected 'k' of at most the 1 elements that fit "
            "into the file, got 2305843009213693952");
  EXPECT_FALSE(
      read(gguf_type(Type::kArray) + gguf_array(Type::kString, 9, "")).ok());
}

}  // namespace
}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/json.h"

#include <gtest/gtest.h>

#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

Result<Json> parse(std::string_view text) {
  return parse_json(bytes_of(text), "x.json");
}

std::string nested(int levels) {
  return std::string(static_cast<size_t>(levels), '[') +
         std::string(static_cast<size_t>(levels), ']');
}

TEST(JsonTest, KeepsTheOrderOfKeys) {
  const auto json = parse(R"({"b": 1, "a": [1e-05, "é", null]})");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json.value().dump(), R"({"b":1,"a":[1e-05,"é",null]})");
}

TEST(JsonTest, RefusesAKeyTwiceWhereItStands) {
  const auto json = parse(R"({"a": {"k": 1}, "b": {"k": 1, "k": 2}})");
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().line(),
            "x.json: at byte 33: expected each key once, got 'k' twice");
}

TEST(JsonTest, RefusesDeepNesting) {
  EXPECT_TRUE(parse(nested(kMaxJsonDepth)).ok());
  const auto json = parse(nested(kMaxJsonDepth + 1));
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().message,
            "expected at most 64 nested levels, got more");
  EXPECT_FALSE(parse(std::string(1'000'000, '[')).ok());
}

TEST(JsonTest, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{\"a\":}", "nul", "[1,]", "{} {}",
                           "\"\xff\"", "[1e999]", "[Infinity]"}) {
    const auto json = parse(text);
    ASSERT_FALSE(json.ok()) << text;
    EXPECT_TRUE(json.error().offset.has_value()) << text;
  }
  EXPECT_EQ(parse("[1, x]").error().offset, 4);
}

TEST(JsonTest, ReadsAFile) {
  const TestFolder folder;
  EXPECT_FALSE(read_json(folder / "none.json").ok());
  const auto json = read_json(write_text(folder / "a.json", "[1]"));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json.value().size(), 1);
}

}  // namespace
}  // namespace quanto::io

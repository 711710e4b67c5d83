// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/module_map.h"

#include <gtest/gtest.h>

#include <string>

#include "quanto/formats/quanto.h"

namespace quanto::formats {
namespace {

using io::Json;

io::Result<ModuleMap> read(const std::string& entry) {
  return read_module_map(Json{{"m", Json::parse(entry)}}, "f");
}

TEST(ModuleMapTest, ReadsTheEntriesItWrites) {
  ModuleMap map;
  map["linear"] = {
      QTypeId::kQInt4, QTypeId::kQInt8, true, 64, false, true, false};
  map["conv"] = {QTypeId::kQInt8, QTypeId::kQInt8, true, {}, true, true, false};
  map["norm"] = {{}, QTypeId::kQFloat8E5M2, true, {}, false, false, true};
  const auto read = read_module_map(map_json(map), "f");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value(), map);
}

TEST(ModuleMapTest, WritesWeightsOnlyAsTheCommandLineDoes) {
  const auto read =
      read_module_map(Json{{"m", map_entry({QTypeId::kQInt4, 32})}}, "f");
  ASSERT_TRUE(read.ok());
  const ModuleEntry expected{QTypeId::kQInt4, {},    true, 32,
                             false,           false, false};
  EXPECT_EQ(read.value().at("m"), expected);
}

TEST(ModuleMapTest, ReadsThePredecessorsEntries) {
  const auto weights = read(R"({"weights": "qint4", "activations": "none"})");
  ASSERT_TRUE(weights.ok());
  EXPECT_FALSE(weights.value().at("m").group_size_known);
  EXPECT_EQ(weights.value().at("m").quantized_input, std::nullopt);
  const auto none = read(R"({"weights": "none", "activations": "qint8"})");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none.value().at("m").weights, std::nullopt);
  EXPECT_EQ(none.value().at("m").activations, QTypeId::kQInt8);
}

TEST(ModuleMapTest, RefusesBadEntries) {
  Json good = map_entry({QTypeId::kQInt4, 32});
  for (const auto& [key, value] :
       {std::pair<const char*, Json>{"weights", "qint3"},
        {"weights", 8},
        {"activations", nullptr},
        {"version", 2},
        {"version", "1"},
        {"group_size", 0},
        {"group_size", "64"},
        {"axis", 1},
        {"dynamic", 1},
        {"quantized_input", "yes"},
        {"quantized_output", nullptr}}) {
    Json bad = good;
    bad[key] = value;
    const auto result = read(bad.dump());
    ASSERT_FALSE(result.ok()) << key;
    EXPECT_EQ(result.error().line().find("f: expected"), 0) << key;
  }
  for (const char* key : {"weights", "activations", "group_size", "axis",
                          "dynamic", "quantized_input", "quantized_output"}) {
    Json bad = good;
    bad.erase(key);
    EXPECT_FALSE(read(bad.dump()).ok()) << key;
  }
  EXPECT_FALSE(read("1").ok());
  EXPECT_FALSE(read_module_map(Json::array(), "f").ok());
}

}  // namespace
}  // namespace quanto::formats

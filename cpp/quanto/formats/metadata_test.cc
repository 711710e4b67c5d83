// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/metadata.h"

#include <gtest/gtest.h>

namespace quanto::formats {
namespace {

using io::Json;

Metadata metadata(const std::string& weights) {
  return {{kVersionKey, "1"}, {kWeightsKey, weights}};
}

TEST(MetadataTest, ReadsTheDescriptionsItWrites) {
  const std::map<std::string, WeightDescription> weights{
      {"a", {{QTypeId::kQInt2, 4}, {3, 8}}},
      {"b", {{QTypeId::kQInt8, {}}, {3, 8}}},
      {"c", {{QTypeId::kQInt4, 9}, {5, 2, 3, 3}}}};
  const auto read = read_descriptions(metadata(weights_text(weights)), "f");
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(read.value(), weights);
  EXPECT_EQ(read.value().at("c").columns(), 18);
}

TEST(MetadataTest, WritesOneLineOfJson) {
  EXPECT_EQ(weights_text({{"b", {{QTypeId::kQInt8, {}}, {3, 8}}},
                          {"a", {{QTypeId::kQInt4, 4}, {3, 8}}}}),
            R"({"a":{"qtype":"qint4","axis":0,"group_size":4,"shape":[3,8],)"
            R"("shift":"float","packing":"rows"},)"
            R"("b":{"qtype":"qint8","axis":0,"group_size":null,"shape":[3,8],)"
            R"("shift":"none","packing":"none"}})");
}

TEST(MetadataTest, RefusesBadDescriptions) {
  EXPECT_TRUE(read_descriptions({}, "f").value().empty());
  EXPECT_TRUE(read_descriptions({{kWeightsKey, "{"}}, "f").value().empty());
  EXPECT_FALSE(read_descriptions({{kVersionKey, "2"}}, "f").ok());
  const std::string good =
      weights_text({{"a", {{QTypeId::kQInt4, 4}, {3, 8}}}});
  ASSERT_TRUE(read_descriptions(metadata(good), "f").ok());
  const auto expect_refused = [&](const char* key, const char* value) {
    Json bad = Json::parse(good);
    bad["a"][key] = Json::parse(value);
    EXPECT_FALSE(read_descriptions(metadata(bad.dump()), "f").ok())
        << bad.dump();
  };
  expect_refused("qtype", "\"int4\"");
  expect_refused("qtype", "\"qint8\"");
  expect_refused("axis", "1");
  expect_refused("group_size", "3");
  expect_refused("group_size", "-4");
  expect_refused("shape", "[3]");
  expect_refused("shape", "[0, 8]");
  expect_refused("shape", "[3, 18446744073709551615]");
  expect_refused("shape", "[4294967296, 2147483648]");
  expect_refused("packing", "\"columns\"");
  expect_refused("shift", "\"none\"");
  for (const char* text : {"{", "[]", R"({"a": 1})", R"({"a": {}})"}) {
    EXPECT_FALSE(read_descriptions(metadata(text), "f").ok()) << text;
  }
}

io::SafetensorsHeader header(const char* tied) {
  io::SafetensorsHeader header;
  header.metadata = {{kVersionKey, "1"}, {kTiedKey, tied}};
  header.tensors = {{"a", &io::file_type(DType::kUInt8), {1}}};
  return header;
}

TEST(MetadataTest, ReadsTiedNames) {
  const std::map<std::string, std::string> tied{{"b", "a"}, {"c", "a"}};
  auto file = header("{}");
  EXPECT_TRUE(read_tied(file, "f").value().empty());
  set_tied(file.metadata, tied);
  EXPECT_EQ(read_tied(file, "f").value(), tied);
  set_tied(file.metadata, {});
  EXPECT_FALSE(file.metadata.contains(kTiedKey));
}

TEST(MetadataTest, RefusesBadTiedNames) {
  for (const char* text :
       {"[]", "{", R"({"b": 1})", R"({"b": "c"})", R"({"a": "a"})",
        R"({"b": "c", "c": "a"})", R"({"b": "a", "b": "a"})"}) {
    EXPECT_FALSE(read_tied(header(text), "f").ok()) << text;
  }
  auto foreign = header("not ours");
  foreign.metadata.erase(kVersionKey);
  EXPECT_TRUE(read_tied(foreign, "f").value().empty());
}

}  // namespace
}  // namespace quanto::formats

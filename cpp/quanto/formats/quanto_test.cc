// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/quanto.h"

#include <gtest/gtest.h>

namespace quanto::formats {
namespace {

using io::Json;

Json entry(const char* text) { return Json::parse(text); }

TEST(QuantoFormatTest, NamesModulesAndTypes) {
  EXPECT_EQ(module_of("a.b.weight"), "a.b");
  EXPECT_EQ(module_of("a.b.bias"), std::nullopt);
  EXPECT_EQ(module_of(".weight"), std::nullopt);
  EXPECT_EQ(module_of("weight"), std::nullopt);
  EXPECT_EQ(find_type("int4"), &qtype(QTypeId::kQInt4));
  EXPECT_EQ(find_type("qint4"), &qtype(QTypeId::kQInt4));
  EXPECT_EQ(find_type("float8"), &qtype(QTypeId::kQFloat8E4M3FN));
  EXPECT_EQ(find_type("int3"), nullptr);
  for (const QType& type : kQTypes) {
    EXPECT_EQ(find_type(short_name(type)), &type);
  }
}

TEST(QuantoFormatTest, StoresBytesByRows) {
  const auto tensors =
      stored_tensors("m", {QTypeId::kQInt8, {}}, DType::kBFloat16, 3, 5);
  ASSERT_EQ(tensors.size(), 4);
  EXPECT_EQ(tensors[0].name, "m.weight._data");
  EXPECT_EQ(tensors[0].type->name, "I8");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(tensors[1].name, "m.weight._scale");
  EXPECT_EQ(tensors[1].shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(tensors[2].name, "m.input_scale");
  EXPECT_EQ(tensors[2].type->name, "BF16");
  EXPECT_TRUE(tensors[2].shape.empty());
  EXPECT_EQ(tensors[3].name, "m.output_scale");
  const auto row =
      stored_tensors("m", {QTypeId::kQInt8, {}}, DType::kFloat32, 1, 5);
  EXPECT_TRUE(row[1].shape.empty());
}

TEST(QuantoFormatTest, StoresPackedGroups) {
  const auto grouped =
      stored_tensors("m", {QTypeId::kQInt4, 32}, DType::kFloat16, 3, 96);
  ASSERT_EQ(grouped.size(), 5);
  EXPECT_EQ(grouped[0].name, "m.weight._data._data");
  EXPECT_EQ(grouped[0].type->name, "U8");
  EXPECT_EQ(grouped[0].shape, (std::vector<int64_t>{5, 32}));
  EXPECT_EQ(grouped[1].shape, (std::vector<int64_t>{9, 1}));
  EXPECT_EQ(grouped[2].name, "m.weight._shift");
  EXPECT_EQ(grouped[2].shape, (std::vector<int64_t>{9, 1}));
  const auto whole =
      stored_tensors("m", {QTypeId::kQInt2, {}}, DType::kFloat16, 5, 7);
  EXPECT_EQ(whole[0].shape, (std::vector<int64_t>{2, 7}));
  EXPECT_EQ(whole[1].shape, (std::vector<int64_t>{5, 1}));
}

TEST(QuantoFormatTest, ReadsAConfig) {
  Json config = entry(
      R"({"quant_method": "quanto", "format_version": 1, "modules": {}})");
  config["modules"]["a"] = map_entry({QTypeId::kQInt4, 32});
  const auto read = read_quantization_config(config, "f");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value().at("a").group_size, 32);
  for (const char* text :
       {"[]", "{}", R"({"quant_method": "gptq"})",
        R"({"quant_method": "quanto"})",
        R"({"quant_method": "quanto", "format_version": 2, "modules": {}})",
        R"({"quant_method": "quanto", "format_version": 1})"}) {
    EXPECT_FALSE(read_quantization_config(entry(text), "f").ok()) << text;
  }
}

}  // namespace
}  // namespace quanto::formats

// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/model.h"

#include <gtest/gtest.h>

#include "quanto/formats/metadata.h"
#include "quanto/io/test_folder.h"

namespace quanto::formats {
namespace {

using io::Json;

/// A folder with one quantized module `q` and one float tensor.
class ModelTest : public testing::Test {
 protected:
  ModelTest() {
    std::vector<float> weight(kRows * kColumns);
    for (size_t i = 0; i < weight.size(); ++i) {
      weight[i] = static_cast<float>(i % 16);  // exact in 4 bits
    }
    SerialExecutor executor;
    quantize_weight("q", {weight.data(), DType::kFloat32, kRows, kColumns},
                    kFacts, Optimizer::kMax, parts_, executor);
    tensors_ = stored_tensors("q", kFacts, DType::kFloat32, kRows, kColumns);
    config_["quant_method"] = "quanto";
    config_["format_version"] = 1;
    config_["modules"]["q"] = map_entry(kFacts);
    described_["q"] = {kFacts, {kRows, kColumns}};
  }

  void write() {
    Json config;
    if (!config_.is_null()) config["quantization_config"] = config_;
    io::write_text(folder_ / "config.json", config.dump());
    auto tensors = tensors_;
    tensors.push_back({"norm.weight", &io::file_type(DType::kFloat32), {1}});
    std::map<std::string, std::string> metadata{{kVersionKey, "1"}};
    if (!described_.empty()) metadata[kWeightsKey] = weights_text(described_);
    set_tied(metadata, tied_);
    auto writer = io::SafetensorsWriter::create(folder_ / "model.safetensors",
                                                metadata, std::move(tensors));
    ASSERT_TRUE(writer.ok());
    for (const auto& [name, buffer] : parts_) {
      // Those that a test took out were not announced.
      (void)writer.value().write(name, buffer.bytes());
    }
    const float one = 1.0F;
    ASSERT_TRUE(writer.value()
                    .write("norm.weight", std::as_bytes(std::span(&one, 1)))
                    .ok());
    ASSERT_TRUE(writer.value().commit().ok());
  }

  std::string error() {
    write();
    const auto checkpoint = io::Checkpoint::open(folder_.path());
    const auto model = describe(checkpoint.value());
    return model.ok() ? "" : model.error().line();
  }

  void expect_error(const char* message) {
    const std::string line = error();
    EXPECT_NE(line.find(message), std::string::npos) << line;
  }

  static constexpr int64_t kRows = 3, kColumns = 64;
  static constexpr WeightFacts kFacts{QTypeId::kQInt4, 32};
  io::TestFolder folder_;
  std::vector<NamedBuffer> parts_;
  std::vector<io::TensorInfo> tensors_;
  Json config_;
  std::map<std::string, WeightDescription> described_;
  std::map<std::string, std::string> tied_;
};

TEST_F(ModelTest, PutsWeightsTogether) {
  write();
  const auto checkpoint = io::Checkpoint::open(folder_.path());
  const auto model = describe(checkpoint.value());
  ASSERT_TRUE(model.ok()) << model.error().line();
  ASSERT_EQ(model.value().tensors.size(), 2);
  EXPECT_EQ(model.value().scales.size(), 2);
  EXPECT_EQ(model.value().tensors[0].name, "norm.weight");
  const ModelTensor& weight = model.value().tensors[1];
  EXPECT_EQ(weight.name, "q.weight");
  EXPECT_EQ(weight.facts, kFacts);
  EXPECT_EQ(weight.shape, (std::vector<int64_t>{kRows, kColumns}));
  EXPECT_EQ(weight.stored_bytes, 3 * 32 + 2 * 6 * 4);

  Buffer room;
  SerialExecutor executor;
  const auto bytes = values(weight, room, executor);
  ASSERT_EQ(bytes.size(), kRows * kColumns * 4);
  const auto* floats = reinterpret_cast<const float*>(bytes.data());
  for (size_t i = 0; i < kRows * kColumns; ++i) {
    EXPECT_EQ(floats[i], static_cast<float>(i % 16));
  }
}

TEST_F(ModelTest, ReadsWeightsOfUnknownShape) {
  described_.clear();
  config_ = nullptr;
  write();
  const auto checkpoint = io::Checkpoint::open(folder_.path());
  const auto model = describe(checkpoint.value());
  ASSERT_TRUE(model.ok()) << model.error().line();
  EXPECT_FALSE(model.value().tensors[1].shape_known);
  EXPECT_EQ(model.value().tensors[1].numel(), kRows * kColumns);
  EXPECT_EQ(model.value().tensors[1].facts, kFacts);
}

TEST_F(ModelTest, RefusesAMapOfAnotherType) {
  config_["modules"]["q"] = map_entry({QTypeId::kQInt8, {}});
  described_.clear();
  expect_error("expected codes of qint8 as 'q.weight._data._data', got qint4");
}

TEST_F(ModelTest, RefusesAMapOfAnotherGroupSize) {
  config_["modules"]["q"] = map_entry({QTypeId::kQInt4, 64});
  expect_error("expected groups of 64");
}

TEST_F(ModelTest, RefusesAMapThatLacksAModule) {
  config_["modules"] = Json::object();
  expect_error("expected 'q' in the quantization map");
}

TEST_F(ModelTest, RefusesAMapOfWhatIsNotThere) {
  config_["modules"]["other"] = map_entry(kFacts);
  expect_error("expected a quantized weight of 'other'");
}

TEST_F(ModelTest, RefusesAnotherShape) {
  described_["q"] = {kFacts, {4, 64}};
  expect_error("expected codes of a weight [4, 64]");
}

TEST_F(ModelTest, RefusesPartsThatAreMissing) {
  tensors_.erase(tensors_.begin() + 2);
  expect_error("expected a shift beside it as 'q.weight._scale', got none");
  tensors_.erase(tensors_.begin());
  expect_error("expected data beside the scale");
}

TEST_F(ModelTest, RefusesPartsThatDoNotFit) {
  const auto good = tensors_;
  tensors_[1].shape = {2, 3};
  expect_error("expected [2, 3] of F32 or bytes as 'q.weight._shift'");
  tensors_ = good;
  tensors_[0].shape = {96, 1};
  expect_error("got 6 for 96 packed rows");
  tensors_ = good;
  tensors_[0].type = &io::file_type(DType::kInt8);
  expect_error("expected a matrix of U8");
}

TEST_F(ModelTest, ReadsWeightsOfMoreDimensions) {
  // 6 rows of 32 as those of a convolution, 3 bytes deep.
  const WeightFacts whole{QTypeId::kQInt4, {}};
  tensors_[0].shape = {3, 2, 4, 4};
  tensors_[1].shape = {6, 1, 1, 1};
  tensors_[2].shape = {6, 1, 1, 1};
  config_["modules"]["q"] = map_entry(whole);
  described_["q"] = {whole, {6, 2, 4, 4}};
  write();
  const auto checkpoint = io::Checkpoint::open(folder_.path());
  const auto model = describe(checkpoint.value());
  ASSERT_TRUE(model.ok()) << model.error().line();
  const ModelTensor& weight = model.value().tensors[1];
  EXPECT_EQ(weight.shape, (std::vector<int64_t>{6, 2, 4, 4}));
  EXPECT_EQ(weight.facts, whole);
  Buffer room;
  SerialExecutor executor;
  const auto bytes = values(weight, room, executor);
  const auto* floats = reinterpret_cast<const float*>(bytes.data());
  for (size_t i = 0; i < kRows * kColumns; ++i) {
    EXPECT_EQ(floats[i], static_cast<float>(i % 16));
  }
  config_["modules"]["q"] = map_entry(kFacts);
  expect_error("expected groups of 32 as 'q.weight._data._data', got one for");
}

TEST_F(ModelTest, KnowsTiedWeights) {
  tied_ = {{"head.weight._data._data", "q.weight._data._data"},
           {"head.weight._scale", "q.weight._scale"},
           {"head.weight._shift", "q.weight._shift"},
           {"head.input_scale", "q.input_scale"},
           {"other.weight", "norm.weight"}};
  write();
  const auto checkpoint = io::Checkpoint::open(folder_.path());
  const auto model = describe(checkpoint.value());
  ASSERT_TRUE(model.ok()) << model.error().line();
  EXPECT_EQ(model.value().scales.size(), 2);
  const auto& tensors = model.value().tensors;
  ASSERT_EQ(tensors.size(), 4);
  EXPECT_EQ(tensors[0].name, "head.weight");
  EXPECT_EQ(tensors[0].tied_to, "q.weight");
  EXPECT_EQ(tensors[0].facts, kFacts);
  EXPECT_EQ(tensors[0].stored_bytes, 0);
  EXPECT_EQ(tensors[2].name, "other.weight");
  EXPECT_EQ(tensors[2].tied_to, "norm.weight");
  EXPECT_EQ(tensors[3].tied_to, std::nullopt);
}

TEST_F(ModelTest, RefusesTiedNamesOfNothing) {
  tied_ = {{"head.weight._data._data", "q.weight._data"}};
  expect_error("expected the name of a stored tensor");
}

TEST_F(ModelTest, TiedCodesWithTheirOwnScaleAreAnotherWeight) {
  tied_ = {{"head.weight._data._data", "q.weight._data._data"},
           {"head.weight._scale", "q.weight._shift"},
           {"head.weight._shift", "q.weight._shift"}};
  config_["modules"]["head"] = map_entry(kFacts);
  write();
  const auto checkpoint = io::Checkpoint::open(folder_.path());
  const auto model = describe(checkpoint.value());
  ASSERT_TRUE(model.ok()) << model.error().line();
  EXPECT_EQ(model.value().tensors[0].tied_to, std::nullopt);
}

}  // namespace
}  // namespace quanto::formats

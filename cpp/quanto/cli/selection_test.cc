// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/selection.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>

#include "quanto/cli/failure.h"
#include "quanto/io/test_folder.h"

namespace quanto::cli {
namespace {

using io::Json;

/// A file with matrices 2 x 64 of these modules, and a vector.
class SelectionTest : public testing::Test {
 protected:
  void write(std::initializer_list<const char*> modules,
             const char* type = "BF16") {
    const io::FileType* file_type = io::find_file_type(type);
    std::vector<io::TensorInfo> tensors{{"norm.weight", file_type, {4}}};
    for (const char* module : modules) {
      tensors.push_back({fmt::format("{}.weight", module), file_type, {2, 64}});
    }
    const auto path = folder_ / "a.safetensors";
    auto writer = unwrap(io::SafetensorsWriter::create(path, {}, tensors));
    for (const auto& tensor : tensors) {
      const std::vector<std::byte> zeros(
          io::tensor_bytes(*tensor.type, tensor.shape).value());
      check(writer.write(tensor.name, zeros));
    }
    check(writer.commit());
    checkpoint_ = unwrap(io::Checkpoint::open(path));
  }

  std::string chosen() {
    std::string names;
    for (const auto& [module, choice] :
         select(*checkpoint_, config_, wanted_).chosen) {
      names += (names.empty() ? "" : " ") + module;
    }
    return names;
  }

  void expect_failure(const char* message) {
    try {
      select(*checkpoint_, config_, wanted_);
      ADD_FAILURE() << "expected a failure";
    } catch (const Failure& failure) {
      const std::string line = failure.what();
      EXPECT_NE(line.find(message), std::string::npos) << line;
    }
  }

  void policy(std::string_view text) {
    wanted_.policy = read_policy(io::write_text(folder_ / "p.json", text));
  }

  io::TestFolder folder_;
  std::optional<io::Checkpoint> checkpoint_;
  Json config_;
  Wanted wanted_{.weights = QTypeId::kQInt4};
};

TEST_F(SelectionTest, TakesLinearModulesByTheirNames) {
  write({"model.layers.0.q_proj", "model.embed_tokens", "lm_head",
         "h.0.mlp.gate_proj", "transformer.wte", "bert.embeddings.position",
         "layers.0.mlp.gate", "layers.0.mlp.experts.3.w1", "encoder.fc1"});
  EXPECT_EQ(chosen(), "encoder.fc1 h.0.mlp.gate_proj model.layers.0.q_proj");
  const auto selection = select(*checkpoint_, config_, wanted_);
  EXPECT_EQ(selection.left_float,
            (std::vector<std::string>{"layers.0.mlp.experts.3.w1",
                                      "layers.0.mlp.gate", "lm_head"}));
}

TEST_F(SelectionTest, TakesSpecialModulesWhereTheyAreNamed) {
  write({"a.fc", "lm_head", "a.embed_tokens", "a.experts.0.w1"});
  wanted_.include = {"*"};
  EXPECT_EQ(chosen(), "a.fc");
  wanted_.include = {"*", "lm_head"};
  EXPECT_EQ(chosen(), "a.fc lm_head");
  wanted_.include = {"*embed*"};
  EXPECT_EQ(chosen(), "a.embed_tokens");
  wanted_.include = {"*.experts.*.w1"};
  EXPECT_EQ(chosen(), "a.experts.0.w1");
}

TEST_F(SelectionTest, LeavesOutWhatIsExcluded) {
  write({"a.fc", "b.fc"});
  wanted_.exclude = {"b"};  // a module, which holds no matrix itself
  EXPECT_EQ(chosen(), "a.fc b.fc");
  wanted_.exclude = {"b.*"};
  EXPECT_EQ(chosen(), "a.fc");
}

TEST_F(SelectionTest, FollowsThePolicy) {
  write({"a.fc", "b.fc", "c.fc", "lm_head"});
  policy(R"([{"match": "^a", "weights": "int8"}, {"match": "^b", "skip": true},
             {"match": "lm_head", "weights": "int8"}])");
  wanted_.group_size = 32;
  const auto selection = select(*checkpoint_, config_, wanted_);
  ASSERT_EQ(selection.chosen.size(), 3);
  EXPECT_EQ(selection.chosen.at("a.fc").facts,
            (formats::WeightFacts{QTypeId::kQInt8, {}}));
  EXPECT_EQ(selection.chosen.at("c.fc").facts,
            (formats::WeightFacts{QTypeId::kQInt4, 32}));
  EXPECT_EQ(selection.chosen.at("lm_head").facts.qtype, QTypeId::kQInt8);
  wanted_.weights.reset();
  wanted_.group_size.reset();
  EXPECT_EQ(chosen(), "a.fc lm_head");
}

TEST_F(SelectionTest, SaysWhichPatternMatchesNothing) {
  write({"a.fc", "lm_head"});
  wanted_.include = {"a.*", "head"};
  expect_failure(
      "expected --include to match modules that can be quantized, "
      "got none for head");
  wanted_.include = {};
  wanted_.exclude = {"none"};
  expect_failure("expected --exclude to match modules, got none for none");
  wanted_.exclude = {};
  policy(R"([{"match": "x", "skip": true}])");
  expect_failure("got none for x");
}

TEST_F(SelectionTest, RefusesWhatDoesNotFit) {
  write({"a.fc"});
  wanted_.group_size = 48;
  expect_failure(
      "expected the group size to divide the 64 columns of "
      "'a.fc.weight', got 48");
  wanted_ = {.weights = QTypeId::kQInt8};
  wanted_.group_size = 32;
  expect_failure("expected no group size for int8, got 32");
  wanted_ = {.weights = QTypeId::kQInt8};
  wanted_.optimizer = formats::Optimizer::kHqq;
  expect_failure("expected the optimizer absmax for int8");
  wanted_ = {.weights = QTypeId::kQInt4};
  wanted_.exclude = {"a.fc"};
  expect_failure("expected a matrix to quantize, got none");
}

TEST_F(SelectionTest, RefusesOtherModels) {
  write({"a.fc"}, "F64");
  expect_failure("expected 'a.fc.weight' of F32, F16 or BF16, got F64");
  write({"a.fc"});
  config_["model_type"] = "gpt2";
  expect_failure("transposed (Conv1D)");
}

TEST_F(SelectionTest, TakesAnEmbeddingWithItsTiedHead) {
  write({"a.fc", "a.embed_tokens"});
  config_["tie_word_embeddings"] = true;
  config_["architectures"] = Json::array({"LlamaForCausalLM"});
  EXPECT_EQ(chosen(), "a.fc");
  for (const char* named : {"lm_head", "*.embed_tokens"}) {
    wanted_.include = {"*", named};
    EXPECT_EQ(chosen(), "a.embed_tokens a.fc lm_head");
  }
  EXPECT_EQ(select(*checkpoint_, config_, wanted_).heads.at("a.embed_tokens"),
            "lm_head");
  wanted_.exclude = {"*.embed_tokens"};
  expect_failure("'a.embed_tokens' and 'lm_head', which share a weight");
  wanted_.exclude = {"*.embed_tokens", "lm_head"};
  EXPECT_EQ(chosen(), "a.fc");
}

TEST_F(SelectionTest, RefusesTiedHeadsWhoseNameItCannotKnow) {
  write({"a.fc", "a.embed_tokens"});
  config_["tie_word_embeddings"] = true;
  config_["architectures"] = Json::array({"T5ForConditionalGeneration"});
  wanted_.include = {"*.embed_tokens"};
  expect_failure("tie_word_embeddings");
  config_["architectures"] = Json::array({"LlamaForCausalLM"});
  write({"a.fc", "a.embed_in"});
  wanted_.include = {"*.embed_in"};
  expect_failure("tie_word_embeddings");
}

}  // namespace
}  // namespace quanto::cli

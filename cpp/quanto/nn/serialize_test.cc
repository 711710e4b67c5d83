// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/serialize.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "quanto/nn/nn.h"
#include "quanto/nn/stored_tensor.h"

namespace quanto {
namespace {

namespace fs = std::filesystem;

/// Every kind of layer, a torch::nn one in a Sequential, and tensors of its
/// own.
struct NetImpl : torch::nn::Module {
  NetImpl()
      : conv(register_module("conv",
                             nn::Conv2d(torch::nn::Conv2dOptions(2, 64, 3)))),
        norm(register_module("norm", nn::LayerNorm(std::vector<int64_t>{64}))),
        row(register_module("row", nn::Linear(64, 1))),
        head(register_module(
            "head",
            torch::nn::Sequential(torch::nn::Linear(64, 32), torch::nn::ReLU(),
                                  nn::Linear(32, 4)))),
        scale(register_parameter("scale", torch::ones({64}))),
        steps(register_buffer("steps", torch::tensor(int64_t{3}))) {}

  torch::Tensor forward(const torch::Tensor& images) {
    const auto features = conv->forward(images).mean({2, 3}) * scale;
    const auto normed = norm->forward(features);
    return head->forward(normed) + row->forward(normed) + steps;
  }

  nn::Conv2d conv;
  nn::LayerNorm norm;
  nn::Linear row;
  torch::nn::Sequential head;
  torch::Tensor scale, steps;
};
TORCH_MODULE(Net);

torch::Tensor images() { return torch::randn({3, 2, 6, 6}); }

struct Types {
  std::string weights;
  std::optional<std::string> activations;
  bool dynamic = false;
  at::ScalarType dtype = at::kFloat;
};

Net quantized(const Types& types) {
  Net net;
  net->scale.set_data(torch::rand({64}));
  // Not to(), which makes the step count a float too.
  for (torch::Tensor& parameter : net->parameters()) {
    parameter.set_data(parameter.to(types.dtype));
  }
  QuantizeOptions options;
  options.weights = types.weights;
  options.activations = types.activations;
  options.dynamic = types.dynamic;
  quantize(*net, options);
  {
    const Calibration calibration;
    net->forward(images().to(types.dtype));
  }
  freeze(*net);
  net->eval();
  return net;
}

class SerializeTest : public testing::Test {
 protected:
  SerializeTest() {
    torch::manual_seed(7);
    std::string name = (fs::temp_directory_path() / "quanto_nn_XXXXXX");
    folder_ = ::mkdtemp(name.data());
    path_ = folder_ / "model.safetensors";
  }
  ~SerializeTest() override { fs::remove_all(folder_); }

  static std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  /// What a call throws, or "".
  template <typename Error, typename Call>
  static std::string thrown(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

  fs::path folder_, path_;
  const torch::NoGradGuard no_grad_;
};

class SerializeTypesTest : public SerializeTest,
                           public testing::WithParamInterface<Types> {};

TEST_P(SerializeTypesTest, AReloadedModelComputesTheSame) {
  Net net = quantized(GetParam());
  save(*net, path_);
  Net other;
  requantize(*other, path_);
  other->eval();
  const auto input = images().to(GetParam().dtype);
  const auto expected = net->forward(input);
  EXPECT_TRUE(torch::equal(other->forward(input), expected));
  // And writes the same file.
  save(*other, folder_ / "again.safetensors");
  EXPECT_EQ(content(folder_ / "again.safetensors"), content(path_));

  // load() replaces the tensors of a model that is quantized alike.
  Net third = quantized(GetParam());
  EXPECT_FALSE(torch::equal(third->forward(input), expected));
  load(*third, path_);
  EXPECT_TRUE(torch::equal(third->forward(input), expected));
}

std::string name_of(const testing::TestParamInfo<Types>& info) {
  const Types& types = info.param;
  return types.weights + "_" + types.activations.value_or("none") +
         (types.dynamic ? "_dynamic_" : "_") + c10::toString(types.dtype);
}

INSTANTIATE_TEST_SUITE_P(
    Types, SerializeTypesTest,
    testing::Values(Types{"int8", {}}, Types{"int4", {}}, Types{"int2", {}},
                    Types{"float8", {}}, Types{"int8", "int8"},
                    Types{"int4", "int8"}, Types{"int8", "int8", true},
                    Types{"float8", "float8"},
                    Types{"int4", {}, false, at::kBFloat16},
                    Types{"int8", {}, false, at::kHalf}),
    name_of);

/// Whether an address lies in the mapping of a file.
bool is_mapped(const void* address, const fs::path& path) {
  std::ifstream maps("/proc/self/maps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with(fs::canonical(path).string())) continue;
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    if (begin <= wanted && wanted < end) return true;
  }
  return false;
}

TEST_F(SerializeTest, TensorsShareTheMapping) {
  Net net = quantized({"int4", {}});
  save(*net, path_);
  const std::string before = content(path_);
  torch::Tensor scale;
  {
    Net other;
    requantize(*other, path_);
    for (const auto& item : other->named_parameters()) {
      EXPECT_TRUE(is_mapped(item.value().const_data_ptr(), path_))
          << item.key();
    }
    for (const auto& item : other->named_buffers()) {
      EXPECT_TRUE(is_mapped(item.value().const_data_ptr(), path_))
          << item.key();
    }
    scale = other->scale;
    // What is written stays here: parameters can be trained.
    other->scale.mul_(2);
    EXPECT_TRUE(torch::equal(other->scale, net->scale * 2));
    // A model can be saved to the file that it is mapped from.
    other->scale.div_(2);
    save(*other, path_);
  }
  EXPECT_EQ(content(path_), before);
  // A tensor outlives its model.
  EXPECT_TRUE(torch::equal(scale, net->scale));
}

struct TiedImpl : torch::nn::Module {
  TiedImpl()
      : embed(register_module("embed", nn::Embedding(8, 16))),
        head(register_module("head", nn::Linear(tied_head(embed)))) {}

  static torch::nn::LinearImpl tied_head(const nn::Embedding& embed) {
    torch::nn::LinearImpl head(torch::nn::LinearOptions(16, 8).bias(false));
    head.weight = embed->weight;
    return head;
  }

  torch::Tensor forward(const torch::Tensor& tokens) {
    return head->forward(embed->forward(tokens));
  }

  nn::Embedding embed;
  nn::Linear head;
};
TORCH_MODULE(Tied);

TEST_F(SerializeTest, TiedWeightsAreStoredOnce) {
  const auto tokens = torch::tensor({1, 5}, torch::kInt64);
  for (const bool quantized : {false, true}) {
    Tied net;
    if (quantized) {
      QuantizeOptions options;
      options.weights = "int8";
      options.include = {"embed", "head"};
      quantize(*net, options);
      freeze(*net);
    }
    save(*net, path_);
    EXPECT_NE(content(path_).find("tied"), std::string::npos);
    Tied other;
    requantize(*other, path_);
    EXPECT_TRUE(torch::equal(other->forward(tokens), net->forward(tokens)));
    if (quantized) {
      EXPECT_EQ(other->embed->frozen_weight(), other->head->frozen_weight());
    } else {
      EXPECT_TRUE(other->embed->weight.is_same(other->head->weight));
    }
  }
}

TEST_F(SerializeTest, ReadsShards) {
  Net net = quantized({"int8", {}});
  save(*net, folder_ / "whole.safetensors");
  formats::StoredCheckpoint whole =
      formats::open_checkpoint(folder_ / "whole.safetensors");
  std::array<std::vector<formats::NewTensor>, 2> shards;
  std::string index;
  for (const auto& [name, stored] : whole.tensors) {
    const size_t shard = shards[0].size() > shards[1].size() ? 1 : 0;
    shards[shard].push_back(
        nn::new_tensor(name, nn::mapped_tensor(name, stored, whole.owner)));
    index += (index.empty() ? "" : ",") + ("\"" + name + "\":\"") +
             std::to_string(shard) + ".safetensors\"";
  }
  formats::NewSayings sayings;
  sayings.modules = whole.modules;
  for (size_t i = 0; i < shards.size(); ++i) {
    formats::write_checkpoint(folder_ / (std::to_string(i) + ".safetensors"),
                              shards[i], sayings);
  }
  std::ofstream(folder_ / "model.safetensors.index.json")
      << R"({"weight_map": {)" << index << "}}";
  Net other;
  requantize(*other, folder_);
  const auto input = images();
  EXPECT_TRUE(torch::equal(other->forward(input), net->forward(input)));
  fs::remove(folder_ / "1.safetensors");
  EXPECT_NE(thrown<std::runtime_error>([&] {
              load(*other, folder_);
            }).find("1.safetensors: expected"),
            std::string::npos);
}

TEST_F(SerializeTest, FloatModelsAreSavedToo) {
  Net net, other;
  net->scale.fill_(3);
  save(*net, path_);
  load(*other, path_);
  const auto input = images();
  EXPECT_TRUE(torch::equal(other->forward(input), net->forward(input)));
  EXPECT_TRUE(other->scale.requires_grad());
}

TEST_F(SerializeTest, MisfitsAreOneErrorAndChangeNothing) {
  Net net = quantized({"int8", {}});
  save(*net, path_);
  struct OtherImpl : torch::nn::Module {
    OtherImpl()
        : conv(register_module("conv",
                               nn::Conv2d(torch::nn::Conv2dOptions(2, 64, 5)))),
          row(register_module("row", nn::Linear(64, 1))) {
      register_module("norm", nn::LayerNorm(std::vector<int64_t>{64}));
      register_module(
          "head", torch::nn::Sequential(torch::nn::Linear(64, 32),
                                        torch::nn::ReLU(), nn::Linear(32, 4)));
      register_parameter("more", torch::ones({1}));
      register_buffer("steps", torch::ones({2}, torch::kInt64));
    }
    nn::Conv2d conv;
    nn::Linear row;
  } other;
  const auto before = other.row->weight.clone();
  const std::string line =
      thrown<std::invalid_argument>([&] { requantize(other, path_); });
  EXPECT_EQ(line.find("requantize: missing keys: more; unexpected keys: "
                      "scale; "),
            0)
      << line;
  EXPECT_NE(line.find("conv.weight"), std::string::npos) << line;
  EXPECT_NE(line.find("as steps, got"), std::string::npos) << line;
  EXPECT_FALSE(other.row->quantized());
  EXPECT_TRUE(torch::equal(other.row->weight, before));
}

TEST_F(SerializeTest, LayersThatCannotBeQuantizedAreNamed) {
  Net net = quantized({"int8", {}});
  save(*net, path_);
  struct MemberImpl : torch::nn::Module {
    MemberImpl() { register_module("row", torch::nn::Linear(64, 1)); }
  } member;
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              requantize(member, path_);
            }).find("expected a layer conv in the model"),
            std::string::npos);
  struct OnlyImpl : torch::nn::Module {
    OnlyImpl() { register_module("conv", torch::nn::Conv2d(2, 64, 3)); }
  } only;
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              requantize(only, path_);
            }).find("expected conv to be quantizable, got: "),
            std::string::npos);
}

TEST_F(SerializeTest, LoadWantsTheSameScheme) {
  Net net = quantized({"int8", {}});
  save(*net, path_);
  Net plain;
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              load(*plain, path_);
            }).find("to be quantized as the checkpoint says, got float"),
            std::string::npos);
  Net four = quantized({"int4", {}});
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              load(*four, path_);
            }).find("another scheme"),
            std::string::npos);
}

TEST_F(SerializeTest, RefusesWhatCannotBeSaved) {
  Net net;
  QuantizeOptions options;
  options.weights = "int8";
  quantize(*net, options);
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              save(*net, path_);
            }).find("save: expected a frozen model"),
            std::string::npos);
  nn::Linear layer(4, 4);
  EXPECT_NE(thrown<std::invalid_argument>([&] {
              save(*layer, path_);
            }).find("got a layer"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(path_));
  freeze(*net);
  EXPECT_NE(thrown<std::runtime_error>([&] {
              save(*net, folder_ / "no" / "file");
            }).find("no/file: expected"),
            std::string::npos);
  EXPECT_NE(thrown<std::runtime_error>([&] {
              load(*net, path_);
            }).find("model.safetensors: expected a readable file"),
            std::string::npos);
}

}  // namespace
}  // namespace quanto

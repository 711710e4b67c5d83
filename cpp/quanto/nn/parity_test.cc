// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/torch.h>

#include <fstream>
#include <iterator>

#include "quanto/nn/nn.h"

// What Python computes, repeated bit for bit: the table is written by
// tests/nn/make_cases.py, with the same operators on the same machine.

namespace quanto {
namespace {

using Dict = c10::Dict<c10::IValue, c10::IValue>;

const c10::IValue& table() {
  static const c10::IValue value = [] {
    const char* path = std::getenv("QUANTO_NN_CASES");
    if (path == nullptr) throw std::runtime_error("QUANTO_NN_CASES is not set");
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    return torch::pickle_load(bytes);
  }();
  return value;
}

/// A dictionary of the table, with its values by type.
class Entry {
 public:
  explicit Entry(const c10::IValue& value) : dict_(value.toGenericDict()) {}

  [[nodiscard]] const Dict& dict() const { return dict_; }
  [[nodiscard]] bool has(const std::string& key) const {
    return dict_.contains(key);
  }
  [[nodiscard]] c10::IValue at(const std::string& key) const {
    return dict_.at(key);
  }
  [[nodiscard]] Entry in(const std::string& key) const {
    return Entry(at(key));
  }
  [[nodiscard]] at::Tensor tensor(const std::string& key) const {
    return at(key).toTensor();
  }
  [[nodiscard]] std::optional<std::string> name(const std::string& key) const {
    const std::string value = at(key).toStringRef();
    return value.empty() ? std::nullopt : std::optional<std::string>(value);
  }
  [[nodiscard]] std::vector<at::Tensor> tensors(const std::string& key) const {
    std::vector<at::Tensor> result;
    for (const c10::IValue& each : at(key).toListRef()) {
      result.push_back(each.toTensor());
    }
    return result;
  }

 private:
  Dict dict_;
};

std::vector<Entry> cases() {
  std::vector<Entry> entries;
  for (const c10::IValue& each : Entry(table()).at("layers").toListRef()) {
    entries.emplace_back(each);
  }
  return entries;
}

void expect_equal(const at::Tensor& mine, const at::Tensor& theirs,
                  const std::string& what) {
  ASSERT_TRUE(mine.defined()) << what;
  const at::Tensor values = mine.is_floating_point() && mine.element_size() > 1
                                ? mine.to(at::kFloat)
                                : mine;
  EXPECT_TRUE(at::equal(values.detach(), theirs))
      << what << ": at most "
      << (values.sizes() == theirs.sizes()
              ? c10::str((values.to(at::kFloat) - theirs.to(at::kFloat))
                             .abs()
                             .max()
                             .item<float>())
              : c10::str("shape ", values.sizes(), " for ", theirs.sizes()))
      << " away";
}

/// The layers of _layers() in the script: of torch::nn, so that quantize() has
/// to replace them, or of quanto::nn.
torch::nn::Sequential make_layer(const std::string& kind, bool plain) {
  namespace tnn = torch::nn;
  const auto conv = tnn::Conv2dOptions(16, 6, 3).stride(2).padding(1);
  const auto embedding = tnn::EmbeddingOptions(10, 96).padding_idx(3);
  if (kind == "Linear") {
    return plain ? tnn::Sequential(tnn::Linear(96, 12))
                 : tnn::Sequential(nn::Linear(96, 12));
  }
  if (kind == "Conv2d") {
    return plain ? tnn::Sequential(tnn::Conv2d(conv))
                 : tnn::Sequential(nn::Conv2d(conv));
  }
  if (kind == "LayerNorm") {
    const tnn::LayerNormOptions options({32});
    return plain ? tnn::Sequential(tnn::LayerNorm(options))
                 : tnn::Sequential(nn::LayerNorm(options));
  }
  return plain ? tnn::Sequential(tnn::Embedding(embedding))
               : tnn::Sequential(nn::Embedding(embedding));
}

void fill(torch::nn::Module& model, const Entry& parameters,
          const std::string& prefix) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model.named_parameters()) {
    parameter.value().copy_(
        parameters.tensor(parameter.key().substr(prefix.size())));
  }
}

QuantizeOptions options_of(const Entry& entry) {
  QuantizeOptions options{.weights = entry.name("weights"),
                          .activations = entry.name("activations"),
                          .dynamic = entry.at("dynamic").toBool(),
                          .include = {{"0"}}};
  const int64_t group_size = entry.at("group_size").toInt();
  if (group_size != 0) options.group_size = group_size;
  return options;
}

nn::QModule& layer_of(torch::nn::Sequential& model) {
  return dynamic_cast<nn::QModule&>(*model->ptr(0));
}

void expect_training(torch::nn::Sequential& model, const Entry& entry,
                     const at::Tensor& input) {
  const Entry expected = entry.in("trained");
  at::Tensor x = input.clone();
  if (x.is_floating_point()) x.requires_grad_();
  const at::Tensor result = model->forward(x);
  expect_equal(result, expected.tensor("result"), "trained result");
  result.backward(expected.tensor("gradient").to(result.scalar_type()));
  const Entry gradients = expected.in("gradients");
  size_t seen = 0;
  for (const auto& parameter : model->named_parameters()) {
    if (!parameter.value().grad().defined()) continue;
    expect_equal(parameter.value().grad(), gradients.tensor(parameter.key()),
                 "gradient of " + parameter.key());
    ++seen;
  }
  if (gradients.has("input")) {
    expect_equal(x.grad(), gradients.tensor("input"), "gradient of the input");
    ++seen;
  }
  EXPECT_EQ(seen, gradients.dict().size());
}

void expect_frozen(torch::nn::Sequential& model, const Entry& entry,
                   const at::Tensor& x) {
  const Entry expected = entry.in("frozen");
  freeze(*model);
  const torch::NoGradGuard no_grad;
  expect_equal(model->forward(x), expected.tensor("result"), "frozen result");
  const auto buffers = model->named_buffers();
  for (const auto& item : expected.in("state").dict()) {
    const std::string name = item.key().toStringRef();
    const at::Tensor* mine = buffers.find("0." + name);
    // Without codes a weight stays a parameter.
    if (mine == nullptr) mine = model->named_parameters().find("0." + name);
    ASSERT_NE(mine, nullptr) << name;
    const bool codes = name.find("_data") != std::string::npos;
    expect_equal(codes ? mine->contiguous().view(at::kByte) : *mine,
                 item.value().toTensor(), name);
  }
}

void run(const Entry& entry, bool plain) {
  SCOPED_TRACE(entry.at("name").toStringRef() + (plain ? " (torch::nn)" : ""));
  const auto dtype = entry.at("bfloat16").toBool() ? at::kBFloat16 : at::kFloat;
  auto model = make_layer(entry.at("kind").toStringRef(), plain);
  fill(*model, entry.in("parameters"), "0.");
  model->to(dtype);
  const auto cast = [&](const at::Tensor& tensor) {
    return tensor.is_floating_point() ? tensor.to(dtype) : tensor;
  };
  const QuantizeOptions options = options_of(entry);
  quantize(*model, options);
  if (options.activations && !options.dynamic) {
    const Calibration calibration(0.9, /*streamline=*/false);
    for (const at::Tensor& batch : entry.tensors("batches")) {
      model->forward(cast(batch));
    }
  }
  nn::QModule& layer = layer_of(model);
  expect_equal(layer.input_scale, entry.tensor("input_scale"), "input_scale");
  expect_equal(layer.output_scale, entry.tensor("output_scale"),
               "output_scale");
  expect_training(model, entry, cast(entry.tensor("x")));
  expect_frozen(model, entry, cast(entry.tensor("x")));
}

TEST(ParityTest, LayersOfQuanto) {
  const auto entries = cases();
  ASSERT_GT(entries.size(), 80);
  for (const Entry& entry : entries) run(entry, /*plain=*/false);
}

TEST(ParityTest, LayersOfTorchInASequential) {
  for (const Entry& entry : cases()) run(entry, /*plain=*/true);
}

TEST(ParityTest, AModelThatHandsOverItsCodes) {
  const Entry entry = Entry(table()).in("model");
  torch::nn::Sequential model(nn::Linear(64, 48), torch::nn::GELU(),
                              nn::LayerNorm(torch::nn::LayerNormOptions({48})),
                              nn::Linear(48, 8));
  fill(*model, entry.in("parameters"), "");
  quantize(*model, {.weights = "qint8", .activations = "qint8"});
  {
    const Calibration calibration;
    for (const at::Tensor& batch : entry.tensors("batches")) {
      model->forward(batch);
    }
  }
  freeze(*model);
  const auto buffers = model->named_buffers();
  for (const auto& item : entry.in("scales").dict()) {
    const std::string name = item.key().toStringRef();
    expect_equal(buffers[name], item.value().toTensor(), name);
  }
  const torch::NoGradGuard no_grad;
  expect_equal(model->forward(entry.tensor("x")), entry.tensor("result"),
               "result");
}

}  // namespace
}  // namespace quanto

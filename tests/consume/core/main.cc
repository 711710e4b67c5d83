// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "quanto/core/executor.h"
#include "quanto/formats/metadata.h"
#include "quanto/formats/model.h"
#include "quanto/formats/quanto.h"
#include "quanto/formats/weight.h"
#include "quanto/io/checkpoint.h"
#include "quanto/io/safetensors.h"

// consumer FILE: quantizes a matrix to int4, writes it as a checkpoint of one
// file, and reads its values back from the file alone.

namespace {

using namespace quanto;

constexpr int64_t kRows = 64;
constexpr int64_t kColumns = 256;
constexpr int64_t kGroup = 64;

template <typename T>
T unwrap(io::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().line());
  return std::move(result).value();
}

std::vector<float> make_weight() {
  std::vector<float> weight(kRows * kColumns);
  for (size_t i = 0; i < weight.size(); ++i) {
    weight[i] = std::sin(static_cast<float>(i) * 0.37F);
  }
  return weight;
}

void save(const std::string& path, const std::vector<float>& weight,
          Executor& executor) {
  const formats::WeightFacts facts{QTypeId::kQInt4, kGroup};
  std::vector<formats::NamedBuffer> tensors;
  formats::quantize_weight("layer",
                           {weight.data(), DType::kFloat32, kRows, kColumns},
                           facts, formats::Optimizer::kMax, tensors, executor);
  const std::string described =
      formats::weights_text({{"layer", {facts, {kRows, kColumns}, false}}});
  auto writer = unwrap(io::SafetensorsWriter::create(
      path,
      {{formats::kVersionKey, std::to_string(formats::kFormatVersion)},
       {formats::kWeightsKey, described}},
      formats::stored_tensors("layer", facts, DType::kFloat32, kRows,
                              kColumns)));
  for (const formats::NamedBuffer& tensor : tensors) {
    unwrap(writer.write(tensor.name, tensor.buffer.bytes()));
  }
  unwrap(writer.commit());
}

/// The largest difference between the weight and what the file says of it.
double largest_error(const std::string& path, const std::vector<float>& weight,
                     Executor& executor) {
  const auto checkpoint = unwrap(io::Checkpoint::open(path));
  const auto model = unwrap(formats::describe(checkpoint));
  if (model.tensors.size() != 1 || model.tensors[0].name != "layer.weight") {
    throw std::runtime_error("expected layer.weight alone in " + path);
  }
  formats::Buffer room;
  const auto bytes = formats::values(model.tensors[0], room, executor);
  if (bytes.size() != weight.size() * sizeof(float)) {
    throw std::runtime_error("expected as many values as were written");
  }
  const auto* values = reinterpret_cast<const float*>(bytes.data());
  double error = 0;
  for (size_t i = 0; i < weight.size(); ++i) {
    error = std::max(error, std::abs(double{values[i]} - weight[i]));
  }
  return error;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::runtime_error("expected the name of a file");
    ThreadPool executor(2);
    const auto weight = make_weight();
    save(argv[1], weight, executor);
    const double error = largest_error(argv[1], weight, executor);
    // A group spans at most 2 in 15 steps: half a step, and its rounding.
    const double bound = 0.5 * 2.0 / 15 * 1.001;
    fmt::print("largest error {:.4f}, bound {:.4f}\n", error, bound);
    return error <= bound ? 0 : 1;
  } catch (const std::exception& failure) {
    fmt::print(stderr, "consumer: {}\n", failure.what());
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/cli/progress.h"
#include "quanto/formats/model.h"

namespace quanto::cli {
namespace {

using formats::Model;
using formats::ModelTensor;
using io::Json;

std::string type_of(const ModelTensor& tensor) {
  return std::string(tensor.facts ? qtype(tensor.facts->qtype).name
                                  : tensor.type->name);
}

double bits_per_weight(uint64_t bytes, int64_t numel) {
  return numel == 0
             ? 0.0
             : 8.0 * static_cast<double>(bytes) / static_cast<double>(numel);
}

struct Sum {
  int64_t tensors = 0;
  int64_t numel = 0;
  uint64_t bytes = 0;

  /// What is stored: a tied weight counts under its stored name.
  void add(const ModelTensor& tensor) {
    if (tensor.tied_to) return;
    ++tensors;
    numel += tensor.numel();
    bytes += tensor.stored_bytes;
  }
};

std::map<std::string, Sum> sums_by_type(const Model& model) {
  std::map<std::string, Sum> sums;
  for (const ModelTensor& tensor : model.tensors) {
    sums[type_of(tensor)].add(tensor);
  }
  return sums;
}

/// Of all tensors; `bytes` counts the scales of activations too.
Sum total_of(const Model& model) {
  Sum total;
  for (const ModelTensor& tensor : model.tensors) total.add(tensor);
  for (const auto& scale : model.scales) total.bytes += scale.tensor->bytes();
  return total;
}

Json json_of(const ModelTensor& tensor) {
  Json json;
  json["name"] = tensor.name;
  json["type"] = type_of(tensor);
  json["shape"] = tensor.shape_known ? Json(tensor.shape) : Json(nullptr);
  json["elements"] = tensor.numel();
  json["bytes"] = tensor.stored_bytes;
  json["bits_per_weight"] =
      bits_per_weight(tensor.stored_bytes, tensor.numel());
  if (tensor.facts) {
    json["group_size"] = tensor.facts->group_size
                             ? Json(*tensor.facts->group_size)
                             : Json(nullptr);
    json["scale"] = tensor.type->name;
  }
  if (tensor.tied_to) json["tied_to"] = *tensor.tied_to;
  return json;
}

void print_json(const Model& model) {
  const Sum total = total_of(model);
  Json json;
  json["quantized"] = model.quantized;
  json["elements"] = total.numel;
  json["bytes"] = total.bytes;
  json["bits_per_weight"] = bits_per_weight(total.bytes, total.numel);
  json["tensors"] = Json::array();
  for (const ModelTensor& tensor : model.tensors) {
    json["tensors"].push_back(json_of(tensor));
  }
  fmt::print("{}", io::json_text(json));
}

std::string shape_text(const ModelTensor& tensor) {
  if (!tensor.shape_known) return fmt::format("{} in all", tensor.numel());
  std::string text;
  for (const int64_t size : tensor.shape) {
    text += fmt::format("{}{}", text.empty() ? "" : " x ", size);
  }
  return text.empty() ? "scalar" : text;
}

std::string bytes_or_owner(const ModelTensor& tensor) {
  return tensor.tied_to ? "is " + *tensor.tied_to
                        : bytes_text(tensor.stored_bytes);
}

std::string group_text(const ModelTensor& tensor) {
  if (!tensor.facts || !tensor.facts->group_size) return "";
  return std::to_string(*tensor.facts->group_size);
}

void print_table(const Model& model) {
  size_t width = 6;
  for (const ModelTensor& tensor : model.tensors) {
    width = std::max(width, tensor.name.size());
  }
  fmt::print("{:<{}}  {:<16} {:>5} {:>18} {:>6} {:>10}\n", "tensor", width,
             "type", "group", "shape", "bits", "bytes");
  for (const ModelTensor& tensor : model.tensors) {
    fmt::print("{:<{}}  {:<16} {:>5} {:>18} {:>6.2f} {:>10}\n", tensor.name,
               width, type_of(tensor), group_text(tensor), shape_text(tensor),
               bits_per_weight(tensor.stored_bytes, tensor.numel()),
               bytes_or_owner(tensor));
  }
  fmt::print("\n");
  for (const auto& [type, sum] : sums_by_type(model)) {
    fmt::print("{:<16} {:>6} tensors {:>14} elements {:>10}  {:.2f} bits\n",
               type, sum.tensors, sum.numel, bytes_text(sum.bytes),
               bits_per_weight(sum.bytes, sum.numel));
  }
  const Sum total = total_of(model);
  fmt::print("{:<16} {:>6} tensors {:>14} elements {:>10}  {:.2f} bits\n",
             "in all", total.tensors, total.numel, bytes_text(total.bytes),
             bits_per_weight(total.bytes, total.numel));
}

void run(const std::string& path, bool as_json) {
  const auto checkpoint = unwrap(io::Checkpoint::open(path));
  const Model model = unwrap(formats::describe(checkpoint));
  if (as_json) {
    print_json(model);
  } else {
    print_table(model);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  struct Options {
    std::string path;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Show the tensors of a checkpoint: types, groups, bits per "
      "weight, bytes");
  command->add_option("PATH", options->path, "Folder or .safetensors file")
      ->required();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(options->path, options->json); });
}

}  // namespace quanto::cli

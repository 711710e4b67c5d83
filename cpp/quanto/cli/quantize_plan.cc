// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/quantize_plan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "quanto/cli/failure.h"
#include "quanto/formats/metadata.h"

namespace quanto::cli {
namespace {

using io::Checkpoint;
using io::Json;

/// Adds the data of these tensors, scales of activations, to that of a module
/// that has the same.
void repeat_scales(const std::vector<io::TensorInfo>& scales,
                   std::vector<formats::NamedBuffer>& made) {
  const size_t first = made.size() - scales.size();
  for (size_t i = 0; i < scales.size(); ++i) {
    const auto bytes = made[first + i].buffer.bytes();
    formats::NamedBuffer again{scales[i].name, formats::Buffer(bytes.size())};
    std::ranges::copy(bytes, again.buffer.data());
    made.push_back(std::move(again));
  }
}

/// `head`: of the module that shares the weight, which has scales of its own;
/// else empty.
Step quantize_step(const Checkpoint::Found& input, const std::string& module,
                   const std::string& head, const Choice& choice,
                   Executor& executor) {
  const io::TensorInfo& tensor = *input.tensor;
  const formats::Matrix weight{input.file->data(tensor).data(),
                               io::core_type(*tensor.type), tensor.shape[0],
                               tensor.shape[1]};
  Step step;
  step.inputs = {input};
  step.outputs = formats::stored_tensors(module, choice.facts, weight.dtype,
                                         weight.rows, weight.columns);
  std::vector<io::TensorInfo> scales;
  if (!head.empty()) {
    scales = formats::stored_tensors(head, choice.facts, weight.dtype,
                                     weight.rows, weight.columns);
    scales.erase(scales.begin(), scales.end() - 2);
    step.outputs.insert(step.outputs.end(), scales.begin(), scales.end());
  }
  step.make = [weight, module, scales, choice, &executor,
               input](std::vector<formats::NamedBuffer>& made) {
    try {
      formats::quantize_weight(module, weight, choice.facts, choice.optimizer,
                               made, executor);
      repeat_scales(scales, made);
    } catch (const std::invalid_argument& error) {
      fail("{}: '{}': {}", input.file->path(), input.tensor->name,
           error.what());
    }
  };
  return step;
}

FilePlan plan_file(const io::SafetensorsFile& file, const Selection& selection,
                   Executor& executor) {
  FilePlan plan;
  plan.name = std::filesystem::path(file.path()).filename();
  plan.metadata = file.header().metadata;
  plan.metadata.emplace("format", "pt");
  // Not of our format, in which the key means something.
  if (!plan.metadata.contains(formats::kVersionKey)) {
    plan.metadata.erase(formats::kTiedKey);
  }
  plan.metadata[formats::kVersionKey] = std::to_string(formats::kFormatVersion);
  std::map<std::string, formats::WeightDescription> weights;
  for (const io::TensorInfo& tensor : file.header().tensors) {
    const auto module = formats::module_of(tensor.name);
    const auto found = selection.chosen.find(module.value_or(""));
    if (found == selection.chosen.end()) {
      plan.steps.push_back(copy_step({&file, &tensor}));
      continue;
    }
    const auto& [name, choice] = *found;
    const auto tied = selection.heads.find(name);
    const std::string head = tied == selection.heads.end() ? "" : tied->second;
    plan.steps.push_back(
        quantize_step({&file, &tensor}, name, head, choice, executor));
    weights[name] = {choice.facts, tensor.shape};
    if (!head.empty()) weights[head] = weights[name];
  }
  plan.metadata[formats::kWeightsKey] = formats::weights_text(weights);
  return plan;
}

/// The group size of all weights of 4 and 2 bits, or null if they differ.
Json common_group_size(const Selection& selection) {
  std::set<int64_t> sizes;
  for (const auto& [module, choice] : selection.chosen) {
    if (qtype(choice.facts.qtype).bits == 8) continue;
    if (!choice.facts.group_size) return nullptr;
    sizes.insert(*choice.facts.group_size);
  }
  if (sizes.size() != 1) return nullptr;
  return *sizes.begin();
}

Json quantization_config(const Selection& selection,
                         std::optional<QTypeId> wanted) {
  const QTypeId first = selection.chosen.begin()->second.facts.qtype;
  Json config;
  config["quant_method"] = "quanto";
  config["format_version"] = formats::kFormatVersion;
  config["weights"] = formats::short_name(qtype(wanted.value_or(first)));
  config["activations"] = nullptr;
  config["dynamic"] = false;
  config["group_size"] = common_group_size(selection);
  config["modules_to_not_convert"] = selection.left_float;
  for (const auto& [module, choice] : selection.chosen) {
    config["modules"][module] = formats::map_entry(choice.facts);
  }
  return config;
}

/// What two runs that write the same files have in common.
Json settings_of(const Checkpoint& checkpoint, const Selection& selection) {
  Json settings;
  settings["version"] = QUANTO_VERSION;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    const std::string name = std::filesystem::path(file.path()).filename();
    settings["files"][name] = file.file().bytes().size();
  }
  for (const auto& [module, choice] : selection.chosen) {
    Json entry = formats::map_entry(choice.facts);
    entry["optimizer"] = static_cast<int>(choice.optimizer);
    settings["modules"][module] = entry;
  }
  return settings;
}

}  // namespace

Output quantized_output(const Checkpoint& checkpoint, const Json& config,
                        const Selection& selection,
                        std::optional<QTypeId> wanted, Executor& executor) {
  Output output;
  output.settings = settings_of(checkpoint, selection);
  if (!config.is_null()) {
    output.config = config;
    output.config["quantization_config"] =
        quantization_config(selection, wanted);
  }
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    output.files.push_back(plan_file(file, selection, executor));
  }
  return output;
}

}  // namespace quanto::cli

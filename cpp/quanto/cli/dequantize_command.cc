// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/cli/output.h"
#include "quanto/core/executor.h"
#include "quanto/formats/metadata.h"
#include "quanto/formats/model.h"

namespace quanto::cli {
namespace {

using formats::ModelTensor;
using io::Json;

Step dequantize_step(const ModelTensor& tensor, Executor& executor) {
  if (!tensor.shape_known) {
    fail("{}: expected the shape of '{}' in the metadata ({}), got none",
         tensor.data.file->path(), tensor.name, formats::kWeightsKey);
  }
  Step step;
  step.inputs = {tensor.data, tensor.scale};
  if (tensor.shift.tensor != nullptr) step.inputs.push_back(tensor.shift);
  step.outputs = {{tensor.name, tensor.type, tensor.shape}};
  step.make = [&tensor, &executor](std::vector<formats::NamedBuffer>& made) {
    made.resize(1);
    made[0].name = tensor.name;
    formats::values(tensor, made[0].buffer, executor);
  };
  return step;
}

FilePlan plan_file(const io::SafetensorsFile& file, const formats::Model& model,
                   Executor& executor) {
  FilePlan plan;
  plan.name = std::filesystem::path(file.path()).filename();
  plan.metadata = file.header().metadata;
  plan.metadata.erase(formats::kWeightsKey);
  plan.metadata.erase(formats::kModulesKey);
  std::map<std::string, std::string> tied;
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.data.file != &file) continue;
    if (tensor.tied_to) {
      tied.emplace(tensor.name, *tensor.tied_to);
      continue;
    }
    plan.steps.push_back(tensor.facts ? dequantize_step(tensor, executor)
                                      : copy_step(tensor.data));
  }
  if (!tied.empty()) {  // the version says what the key means
    formats::set_tied(plan.metadata, tied);
  } else if (plan.metadata.erase(formats::kVersionKey) > 0) {
    plan.metadata.erase(formats::kTiedKey);
  }
  return plan;
}

void run(const std::string& input, const std::string& path, int threads) {
  const auto checkpoint = unwrap(io::Checkpoint::open(input));
  const formats::Model model = unwrap(formats::describe(checkpoint));
  if (!model.quantized) {
    fail("{}: expected quantized weights, got none", input);
  }
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  ThreadPool executor(threads > 0 ? threads : std::max(1, all));
  Output output;
  for (const auto& file : checkpoint.files()) {
    output.files.push_back(plan_file(file, model, executor));
  }
  output.settings["version"] = QUANTO_VERSION;
  output.settings["dequantize"] = true;
  if (const auto config = checkpoint.config_path()) {
    output.config = unwrap(io::read_json(*config));
    output.config.erase("quantization_config");
  }
  write_output(checkpoint, output, path, {});
}

}  // namespace

void add_dequantize(CLI::App& app) {
  struct Options {
    std::string input, output;
    int threads = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "dequantize",
      "Write the float checkpoint that a quantized one stands "
      "for");
  command->add_option("IN", options->input, "Folder or .safetensors file")
      ->required();
  command
      ->add_option("OUT", options->output,
                   "Folder or file that is to be written")
      ->required();
  command
      ->add_option("-j,--threads", options->threads,
                   "Threads; default: one for each CPU")
      ->check(CLI::Range(1, 1024));
  command->callback(
      [options] { run(options->input, options->output, options->threads); });
}

}  // namespace quanto::cli

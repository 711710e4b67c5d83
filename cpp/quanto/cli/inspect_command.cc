// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/cli/gguf.h"
#include "quanto/cli/inspect_report.h"
#include "quanto/formats/model.h"
#include "quanto/io/gguf.h"

namespace quanto::cli {
namespace {

using formats::Model;
using formats::ModelTensor;
using io::Json;

InspectRow row_of(const ModelTensor& tensor) {
  InspectRow row;
  row.name = tensor.name;
  row.type = tensor.facts ? qtype(tensor.facts->qtype).name : tensor.type->name;
  if (tensor.shape_known) row.shape = tensor.shape;
  row.numel = tensor.numel();
  row.bytes = tensor.stored_bytes;
  if (tensor.facts) {
    row.group_size = tensor.facts->group_size ? Json(*tensor.facts->group_size)
                                              : Json(nullptr);
    row.scale = tensor.type->name;
  }
  row.tied_to = tensor.tied_to;
  return row;
}

InspectReport report_of(const Model& model) {
  InspectReport report;
  report.head["quantized"] = model.quantized;
  for (const ModelTensor& tensor : model.tensors) {
    report.rows.push_back(row_of(tensor));
  }
  for (const auto& scale : model.scales) {
    report.other_bytes += scale.tensor->bytes();
  }
  return report;
}

void run(const std::string& path, bool as_json) {
  if (io::is_gguf(path)) return inspect_gguf(path, as_json);
  const auto checkpoint = unwrap(io::Checkpoint::open(path));
  const auto report = report_of(unwrap(formats::describe(checkpoint)));
  if (as_json) {
    print_json(report);
  } else {
    print_table(report);
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
  command
      ->add_option("PATH", options->path,
                   "Folder, .safetensors file or .gguf file")
      ->required();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(options->path, options->json); });
}

}  // namespace quanto::cli

// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>

#include "quanto/cli/commands.h"
#include "quanto/cli/elements.h"
#include "quanto/cli/failure.h"
#include "quanto/core/executor.h"
#include "quanto/formats/model.h"

namespace quanto::cli {
namespace {

using formats::ModelTensor;

constexpr int64_t kGrain = 1 << 16;

bool is_finite(std::span<const std::byte> values, DType dtype,
               Executor& executor) {
  const auto count = static_cast<int64_t>(values.size()) / size_of(dtype);
  std::atomic<bool> finite = true;
  executor.parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && finite; ++i) {
      if (!std::isfinite(element(values, dtype, i))) finite = false;
    }
  });
  return finite;
}

void run(const std::string& path) {
  const auto checkpoint = unwrap(io::Checkpoint::open(path));
  const formats::Model model = unwrap(formats::describe(checkpoint));
  ThreadPool executor(
      std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  formats::Buffer room;
  int64_t quantized = 0;
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.facts) ++quantized;
    // Other tensors may hold an infinity, as masks do.
    if (tensor.tied_to || !tensor.name.ends_with(".weight")) continue;
    const auto values = formats::values(tensor, room, executor);
    if (!values.empty() &&
        !is_finite(values, io::core_type(*tensor.type), executor)) {
      fail("{}: expected finite values of '{}', got inf or nan",
           tensor.data.file->path(), tensor.name);
    }
    tensor.data.file->file().release(
        tensor.data.file->data(*tensor.data.tensor));
  }
  fmt::print(
      "{}: {} tensors, {} of them quantized: files whole, types and shapes as "
      "described, weights finite\n",
      path, model.tensors.size(), quantized);
}

}  // namespace

void add_verify(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "verify", "Check a checkpoint: that its files are whole and agree");
  command->footer(
      "Checks that\n"
      "  - every file is whole: a well-formed header, and tensors that cover\n"
      "    the data without holes and overlaps;\n"
      "  - the index and the shards name the same tensors;\n"
      "  - each quantized weight has its codes, scales and shifts, of types\n"
      "    and shapes that fit together;\n"
      "  - they are what config.json (or quanto_qmap.json) and the metadata\n"
      "    of the files say, and tied names lead to stored tensors;\n"
      "  - all weights are finite, the dequantized values of quantized ones.\n"
      "Files have no checksums: a changed value that is finite is not seen\n"
      "(quanto compare shows how far two checkpoints are apart).");
  command->add_option("PATH", *path, "Folder or .safetensors file")->required();
  command->callback([path] { run(*path); });
}

}  // namespace quanto::cli

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
#include "quanto/cli/gguf.h"
#include "quanto/core/executor.h"
#include "quanto/formats/model.h"
#include "quanto/io/checksums.h"
#include "quanto/io/gguf.h"

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

/// Compares all checksums that there are; what they cover, for the report.
std::string check_checksums(const io::Checkpoint& checkpoint,
                            Executor& executor) {
  size_t tensors = 0;
  int64_t covered = 0, headers = 0;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    const io::Covered of = unwrap(io::check_checksums(file, executor));
    tensors += file.header().tensors.size();
    covered += of.tensors;
    headers += of.header ? 1 : 0;
  }
  if (covered == 0 && headers == 0) return "no checksums";
  return fmt::format(
      "checksums right: {} of {} stored tensors, {} of {} headers", covered,
      tensors, headers, checkpoint.files().size());
}

/// All weights, the dequantized values of quantized ones. Other tensors may
/// hold an infinity, as masks do.
void check_finite(const formats::Model& model, Executor& executor) {
  formats::Buffer room;
  for (const ModelTensor& tensor : model.tensors) {
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
}

void run(const std::string& path) {
  if (io::is_gguf(path)) return verify_gguf(path);
  const auto checkpoint = unwrap(io::Checkpoint::open(path));
  ThreadPool executor(
      std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  // First: what was damaged is named as such, not by what it leads to.
  const std::string checksums = check_checksums(checkpoint, executor);
  const formats::Model model = unwrap(formats::describe(checkpoint));
  check_finite(model, executor);
  const auto quantized = std::ranges::count_if(
      model.tensors,
      [](const auto& tensor) { return tensor.facts.has_value(); });
  fmt::print(
      "{}: {} tensors, {} of them quantized: files whole, types and shapes as "
      "described, weights finite; {}\n",
      path, model.tensors.size(), quantized, checksums);
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
      "  - headers and data have the checksums that the files hold, if they\n"
      "    hold any: what this program writes has them;\n"
      "  - the index and the shards name the same tensors;\n"
      "  - each quantized weight has its codes, scales and shifts, of types\n"
      "    and shapes that fit together;\n"
      "  - they are what config.json (or quanto_qmap.json) and the metadata\n"
      "    of the files say, and tied names lead to stored tensors;\n"
      "  - all weights are finite, the dequantized values of quantized ones.\n"
      "Of a GGUF file: that its metadata, types and shapes are well-formed, "
      "and\n"
      "that its tensors cover the data.");
  command->add_option("PATH", *path, "Folder, .safetensors file or .gguf file")
      ->required();
  command->callback([path] { run(*path); });
}

}  // namespace quanto::cli

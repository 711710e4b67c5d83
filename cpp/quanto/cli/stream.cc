// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/stream.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "quanto/cli/background.h"
#include "quanto/cli/failure.h"

namespace quanto::cli {
namespace {

using io::Checkpoint;

std::span<const std::byte> bytes_of(const Checkpoint::Found& input) {
  return input.file->data(*input.tensor);
}

void prefetch(const Step& step) {
  for (const auto& input : step.inputs) {
    input.file->file().prefetch(bytes_of(input));
  }
}

void release(const Step& step) {
  for (const auto& input : step.inputs) {
    input.file->file().release(bytes_of(input));
  }
}

std::vector<io::TensorInfo> outputs_of(const FilePlan& plan) {
  std::vector<io::TensorInfo> outputs;
  for (const Step& step : plan.steps) {
    outputs.insert(outputs.end(), step.outputs.begin(), step.outputs.end());
  }
  return outputs;
}

}  // namespace

uint64_t Step::input_bytes() const {
  uint64_t bytes = 0;
  for (const auto& input : inputs) bytes += input.tensor->bytes();
  return bytes;
}

Step copy_step(const Checkpoint::Found& input) {
  io::TensorInfo output = *input.tensor;
  return {{input}, {std::move(output)}, {}};
}

uint64_t FilePlan::input_bytes() const {
  uint64_t bytes = 0;
  for (const Step& step : steps) bytes += step.input_bytes();
  return bytes;
}

uint64_t FilePlan::output_bytes() const {
  uint64_t bytes = 0;
  for (const io::TensorInfo& output : outputs_of(*this)) {
    // Outputs are smaller than what memory can hold.
    bytes += io::tensor_bytes(*output.type, output.shape).value_or(0);
  }
  return bytes;
}

void write_plan(const FilePlan& plan, const std::string& path,
                Progress& progress) {
  auto writer = unwrap(
      io::SafetensorsWriter::create(path, plan.metadata, outputs_of(plan)));
  Background background;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (i + 1 < plan.steps.size()) prefetch(plan.steps[i + 1]);
    if (step.make) {
      auto buffers = step.make();
      release(step);
      background.run([&writer, made = std::move(buffers)] {
        for (const auto& [name, buffer] : made) {
          check(writer.write(name, buffer.bytes()));
        }
      });
    } else {
      background.run([&writer, &step] {
        check(writer.write(step.outputs[0].name, bytes_of(step.inputs[0])));
        release(step);
      });
    }
    progress.add(step.input_bytes());
  }
  background.wait();
  check(writer.commit());
}

bool is_written(const FilePlan& plan, const std::string& path) {
  if (std::error_code ignored; !std::filesystem::exists(path, ignored)) {
    return false;
  }
  const auto file = io::SafetensorsFile::open(path);
  if (!file.ok() || file.value().header().metadata != plan.metadata) {
    return false;
  }
  const auto outputs = outputs_of(plan);
  return outputs.size() == file.value().header().tensors.size() &&
         std::ranges::all_of(outputs, [&](const auto& output) {
           const io::TensorInfo* tensor = file.value().find(output.name);
           return tensor != nullptr && tensor->type == output.type &&
                  tensor->shape == output.shape;
         });
}

}  // namespace quanto::cli

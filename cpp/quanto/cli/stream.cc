// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/stream.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
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

/// Asks for what the next steps read, beside the calling thread: a system whose
/// queue is full lets who asks wait.
class ReadAhead {
 public:
  explicit ReadAhead(const std::vector<Target>& targets) {
    uint64_t bytes = 0;
    for (const Target& target : targets) {
      for (const Step& step : target.plan->steps) {
        steps_.push_back(&step);
        ends_.push_back(bytes += step.input_bytes());
      }
    }
  }

  /// To be called before each step is worked on.
  void advance() {
    const uint64_t until = ends_[next_++] + kBytesAhead;
    const size_t first = asked_;
    while (asked_ < steps_.size() &&
           (asked_ <= next_ || ends_[asked_ - 1] < until)) {
      ++asked_;
    }
    if (first == asked_) return;
    asking_.run([this, first, end = asked_] {
      for (size_t i = first; i < end; ++i) prefetch(*steps_[i]);
    });
  }

 private:
  /// Enough to keep a disk busy; the next step is asked for in any case.
  static constexpr uint64_t kBytesAhead = uint64_t{128} << 20;

  std::vector<const Step*> steps_;
  std::vector<uint64_t> ends_;  ///< of each, in bytes of all inputs
  size_t next_ = 0;             ///< the step after the one worked on
  size_t asked_ = 0;            ///< how many were asked for
  Background asking_;
};

/// The steps of all files, and the work that goes on beside the calling thread.
class Stream {
 public:
  Stream(const std::vector<Target>& targets, Progress& progress)
      : ahead_(targets), progress_(progress) {}

  void write(const Target& target) {
    const FilePlan& plan = *target.plan;
    const auto file = std::make_shared<Writer>(
        unwrap(Writer::create(target.path, plan.metadata, outputs_of(plan))));
    if (plan.steps.empty()) check(file->commit());
    for (const Step& step : plan.steps) {
      ahead_.advance();
      write(step, file, &step == &plan.steps.back());
      progress_.add(step.input_bytes());
    }
  }

  void finish() {
    writing_.wait();
    closing_.wait();
  }

 private:
  using Writer = io::SafetensorsWriter;

  void write(const Step& step, const std::shared_ptr<Writer>& file, bool last) {
    std::vector<formats::NamedBuffer>* made = nullptr;
    if (step.make) {
      made = &made_[turn_++ % made_.size()];
      step.make(*made);
      release(step);
    }
    writing_.run([this, &step, made, file, last] {
      if (made != nullptr) {
        for (const auto& [name, buffer] : *made) {
          check(file->write(name, buffer.bytes()));
        }
      } else {
        check(file->write(step.outputs[0].name, bytes_of(step.inputs[0])));
        release(step);
      }
      if (last) closing_.run([file] { check(file->commit()); });
    });
  }

  ReadAhead ahead_;
  Progress& progress_;
  /// One is made while the other is written.
  std::array<std::vector<formats::NamedBuffer>, 2> made_;
  size_t turn_ = 0;
  Background closing_;  ///< of the file before; run by writing_ only
  Background writing_;
};

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

void write_files(const std::vector<Target>& targets, Progress& progress) {
  Stream stream(targets, progress);
  for (const Target& target : targets) stream.write(target);
  stream.finish();
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

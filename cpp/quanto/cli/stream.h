// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "quanto/cli/progress.h"
#include "quanto/formats/weight.h"
#include "quanto/io/checkpoint.h"

namespace quanto::cli {

/// Where the tensors of an output file come from: some of the input are
/// carried over as they are, others turned into new ones.
struct Step {
  std::vector<io::Checkpoint::Found> inputs;
  std::vector<io::TensorInfo> outputs;
  /// Makes the data of `outputs`; empty: the input is copied.
  std::function<std::vector<formats::NamedBuffer>()> make;

  [[nodiscard]] uint64_t input_bytes() const;
};

Step copy_step(const io::Checkpoint::Found& input);

/// The plan of one output file.
struct FilePlan {
  std::string name;  ///< in the output folder
  std::map<std::string, std::string> metadata;
  std::vector<Step> steps;

  [[nodiscard]] uint64_t input_bytes() const;
  [[nodiscard]] uint64_t output_bytes() const;
};

/// Writes the file: one step after the other, the data of each on its way to
/// the disk while the next is made and the one after that is read. Memory is
/// that of two steps' results, whatever the size of the file.
void write_plan(const FilePlan& plan, const std::string& path,
                Progress& progress);

/// Whether the file is there and holds exactly what the plan says.
bool is_written(const FilePlan& plan, const std::string& path);

}  // namespace quanto::cli

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
  /// Turns its argument, whose memory may be used again, into the data of
  /// `outputs`; empty: the input is copied.
  std::function<void(std::vector<formats::NamedBuffer>&)> make;

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

/// An output file and where it goes.
struct Target {
  const FilePlan* plan;
  std::string path;
};

/// Writes the files, one step after the other: while a step's data is made,
/// that of the one before is on its way to the file, that of the next ones is
/// read, and the file before is brought to the disk. A file appears when it is
/// whole. Memory is that of two steps' results, whatever the size of the files.
void write_files(const std::vector<Target>& targets, Progress& progress);

/// Whether the file is there and holds exactly what the plan says.
bool is_written(const FilePlan& plan, const std::string& path);

}  // namespace quanto::cli

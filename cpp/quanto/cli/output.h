// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quanto/cli/stream.h"
#include "quanto/io/checkpoint.h"
#include "quanto/io/json.h"

namespace quanto::cli {

/// Part `index` (from 1) of `count` of a checkpoint's files.
struct Part {
  size_t index = 1;
  size_t count = 1;
};

struct OutputOptions {
  bool resume = false;
  std::optional<Part> part;
};

/// Everything that is to be written.
struct Output {
  std::vector<FilePlan> files;
  /// Of the new folder; null: the input has none.
  io::Json config;
  /// What must be equal in a run that goes on with another's files.
  io::Json settings;
};

/// Writes a checkpoint: a file for a file, which appears whole, or a folder for
/// a folder, whose files come to be in `OUT.partial`; when all are there, with
/// index, config.json and the input's other files (tokenizer and the like), it
/// becomes OUT in one step. A part of a checkpoint writes its files into
/// `OUT.partial` only; a run with `resume` then takes what is there and writes
/// the rest.
///
/// Throws Failure: OUT exists (for a folder: and is not empty) or is the input,
/// OUT.partial exists without `resume` or is of other settings, a file cannot
/// be written.
void write_output(const io::Checkpoint& input, const Output& output,
                  const std::string& path, const OutputOptions& options);

/// The same checks without writing anything.
void check_output(const io::Checkpoint& input, const std::string& path,
                  const OutputOptions& options);

}  // namespace quanto::cli

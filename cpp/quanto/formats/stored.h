// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/formats/facts.h"

// Checkpoint files for code that includes torch, whose include path has an fmt
// of its own: reading and writing without the headers of io/. Errors of files
// are std::runtime_error, `file: expected X, got Y`.

namespace quanto::formats {

/// A tensor where it lies in a mapped file, aligned to one byte. `type` is the
/// name that the file has for it, "BF16".
struct StoredTensor {
  std::string_view type;
  std::vector<int64_t> shape;
  void* data = nullptr;
};

/// A checkpoint in memory of its own: written to, the file does not change.
struct StoredCheckpoint {
  /// By every name, tied ones too.
  std::map<std::string, StoredTensor> tensors;
  /// The quantization map, or what follows from the tensors. Where it does not
  /// say a group size, that is the one that the tensors show, which may be all
  /// of an output.
  ModuleMap modules;
  /// Holds the mapping.
  std::shared_ptr<const void> owner;
};

/// Maps a file or a folder and checks that it is a checkpoint.
StoredCheckpoint open_checkpoint(const std::string& path);

/// A tensor to write: `data` gives its bytes, in rows, when it is its turn.
struct NewTensor {
  std::string name;
  std::string_view type;
  std::vector<int64_t> shape;
  std::function<std::shared_ptr<const void>()> data;
};

/// What a new file says beside its tensors.
struct NewSayings {
  ModuleMap modules;
  std::map<std::string, WeightDescription> weights;
  std::map<std::string, std::string> tied;  ///< stored name by the other
};

/// Writes a file of one's own format beside `path` and renames it there.
void write_checkpoint(const std::string& path,
                      const std::vector<NewTensor>& tensors,
                      const NewSayings& sayings);

}  // namespace quanto::formats

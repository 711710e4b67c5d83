// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/io/result.h"
#include "quanto/io/safetensors.h"

namespace quanto::io {

/// Names of files by the tensors they hold, from the `weight_map` of an
/// index. Errors: not such JSON, a file that is not a plain name ending in
/// .safetensors, which could lead out of the folder.
Result<std::map<std::string, std::string>> parse_index(
    std::span<const std::byte> bytes, const std::string& file);

/// The JSON text of an index.
std::string index_text(const std::map<std::string, std::string>& weight_map,
                       uint64_t total_bytes);

/// One safetensors file, or a folder of them as transformers and diffusers
/// write it: `STEM.safetensors`, or shards named by
/// `STEM.safetensors.index.json`, where STEM is model or
/// diffusion_pytorch_model.
class Checkpoint {
 public:
  /// Maps every file. Errors: those of the files; no checkpoint there; a shard
  /// is missing; index and shards do not say the same.
  static Result<Checkpoint> open(const std::string& path,
                                 Mapping mapping = Mapping::kRead);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool is_folder() const { return is_folder_; }
  /// STEM of a folder.
  [[nodiscard]] const std::string& stem() const { return stem_; }
  /// True if there is an index, even of one shard.
  [[nodiscard]] bool sharded() const { return sharded_; }
  /// Sorted by name.
  [[nodiscard]] const std::vector<SafetensorsFile>& files() const {
    return files_;
  }

  /// A tensor and the file that holds it, or nullptrs.
  struct Found {
    const SafetensorsFile* file = nullptr;
    const TensorInfo* tensor = nullptr;
  };
  [[nodiscard]] Found find(std::string_view name) const;

  /// The folder's config.json, or nullopt where there is none.
  [[nodiscard]] std::optional<std::string> config_path() const;

 private:
  std::string path_;
  bool is_folder_ = false;
  bool sharded_ = false;
  std::string stem_ = "model";
  std::vector<SafetensorsFile> files_;
};

}  // namespace quanto::io

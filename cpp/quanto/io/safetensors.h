// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quanto/io/atomic_file.h"
#include "quanto/io/mapped_file.h"
#include "quanto/io/result.h"
#include "quanto/io/safetensors_header.h"

namespace quanto::io {

/// A safetensors file, mapped; its header was checked.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path,
                                      Mapping mapping = Mapping::kRead);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const SafetensorsHeader& header() const { return header_; }
  [[nodiscard]] const MappedFile& file() const { return file_; }

  /// The tensor of that name, or nullptr.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;

  /// The bytes of one of its tensors, aligned to one byte only.
  [[nodiscard]] std::span<const std::byte> data(const TensorInfo& tensor) const;

 private:
  SafetensorsFile(MappedFile file, SafetensorsHeader header);

  MappedFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string, size_t> places_;
};

/// Writes a safetensors file whose header, but for its checksums, is known
/// before the data. The file appears at commit(), whole.
class SafetensorsWriter {
 public:
  /// Names, types and shapes of what will be written; offsets are set here.
  static Result<SafetensorsWriter> create(
      const std::string& path, std::map<std::string, std::string> metadata,
      std::vector<TensorInfo> tensors);

  /// The data of one tensor, in any order. Errors: a name that was not
  /// announced or was written before, another number of bytes, the disk.
  Status write(const std::string& name, std::span<const std::byte> bytes);

  /// Errors: a tensor was not written, the disk.
  Status commit();

 private:
  SafetensorsWriter(AtomicFile file, SafetensorsHeader header);

  AtomicFile file_;
  SafetensorsHeader header_;
  std::map<std::string, TensorInfo> missing_;
  std::map<std::string, std::string> checksums_;  ///< by name
};

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quanto/io/result.h"

namespace quanto::io {

/// What a mapping is for: bytes that are read once and in order, or memory that
/// a program keeps, reads anywhere and may write to. What it writes stays its
/// own: the file does not change.
enum class Mapping : uint8_t { kRead, kKeep };

/// A regular file mapped into memory. Its pages belong to the page cache: they
/// are read when they are used and cost no anonymous memory.
class MappedFile {
 public:
  /// Errors: no such file, not a regular file, not readable.
  static Result<MappedFile> open(const std::string& path,
                                 Mapping mapping = Mapping::kRead);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  /// Asks the system to read this part of bytes() soon, or says that it will
  /// not be used again. Hints: nothing depends on them.
  void prefetch(std::span<const std::byte> part) const;
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace quanto::io

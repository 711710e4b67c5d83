// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "quanto/io/gguf_header.h"
#include "quanto/io/mapped_file.h"
#include "quanto/io/result.h"

namespace quanto::io {

/// A GGUF file, mapped; its head was checked (gguf_header.h).
class GgufFile {
 public:
  static Result<GgufFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const GgufHeader& header() const { return header_; }

  /// The bytes of one of its tensors, blocks and all.
  [[nodiscard]] std::span<const std::byte> data(const GgufTensor& tensor) const;

 private:
  GgufFile(MappedFile file, GgufHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  MappedFile file_;
  GgufHeader header_;
};

/// Whether it is meant as a GGUF file: a file whose name ends in .gguf or that
/// begins with the magic.
bool is_gguf(const std::string& path);

}  // namespace quanto::io

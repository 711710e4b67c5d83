// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "quanto/core/executor.h"
#include "quanto/io/result.h"
#include "quanto/io/safetensors.h"
#include "quanto/io/safetensors_header.h"

// Checksums of a safetensors file, under kChecksumsKey in its metadata: see
// docs/formats.md. Each is XXH3 of 64 bits, 16 hexadecimal digits.

namespace quanto::io {

/// By the name of a tensor, the checksum of its data.
using Checksums = std::map<std::string, std::string>;

/// The bytes of `header` (make_safetensors_header) with these checksums and
/// that of the header itself. Their length depends on the names alone.
Result<std::string> make_sealed_header(SafetensorsHeader& header,
                                       Checksums checksums,
                                       const std::string& file);

/// The text under kChecksumsKey, that of the header under `__metadata__`.
/// Errors: not a JSON object of 16 digits for each name.
Result<Checksums> parse_checksums(const std::string& text,
                                  const std::string& file);

/// What a file's checksums cover.
struct Covered {
  bool header = false;
  int64_t tensors = 0;
};

/// Compares every checksum that the file has with its bytes, which are read
/// and released. Errors: the first that differs, with the tensor's name and
/// place; checksums that are not written as they should.
Result<Covered> check_checksums(const SafetensorsFile& file,
                                Executor& executor);

}  // namespace quanto::io

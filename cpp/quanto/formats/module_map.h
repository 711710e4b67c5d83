// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "quanto/formats/facts.h"
#include "quanto/io/json.h"
#include "quanto/io/result.h"

// The quantization map: for each quantized module, what a reload needs beside
// the tensors. docs/formats.md is its specification.

namespace quanto::formats {

/// The JSON of an entry and of a map; the predecessor's rules are not written.
io::Json entry_json(const ModuleEntry& entry);
io::Json map_json(const ModuleMap& map);

/// Read back. Errors: not an object of entries; types that are not known; a
/// version that is not; a key of ours that is missing or of the wrong kind.
io::Result<ModuleMap> read_module_map(const io::Json& json,
                                      const std::string& file);

}  // namespace quanto::formats

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quanto/formats/facts.h"
#include "quanto/formats/module_map.h"
#include "quanto/formats/quanto.h"
#include "quanto/io/json.h"
#include "quanto/io/result.h"
#include "quanto/io/safetensors_header.h"

// What a safetensors file says of itself in its metadata; docs/formats.md is
// the specification.

namespace quanto::formats {

/// Keys: the version, without which the others mean nothing to us; the JSON of
/// what describes each quantized weight; the JSON of the names whose tensor is
/// stored under another name; the quantization map of a model whose file alone
/// must suffice.
constexpr const char* kVersionKey = "quanto_format_version";
constexpr const char* kWeightsKey = "quanto_weights";
constexpr const char* kTiedKey = "tied";
constexpr const char* kModulesKey = "quanto_modules";

using Metadata = std::map<std::string, std::string>;

/// The metadata of the file that holds these weights, by module.
std::string weights_text(
    const std::map<std::string, WeightDescription>& weights);

/// Read back. Empty where a key is missing. Errors: not such JSON, a version
/// that is not known, a shape of more than 2^63 - 1 elements.
io::Result<std::map<std::string, WeightDescription>> read_descriptions(
    const Metadata& metadata, const std::string& file);

/// The quantization map of kModulesKey, or nullopt where a key is missing.
/// Errors: not such JSON, a version that is not known.
io::Result<std::optional<ModuleMap>> read_modules(const Metadata& metadata,
                                                  const std::string& file);

/// The stored name by the other one, from kTiedKey. Empty where a key is
/// missing. Errors: not such JSON, a version that is not known, a name that the
/// header does not have, or that stands for two tensors.
io::Result<std::map<std::string, std::string>> read_tied(
    const io::SafetensorsHeader& header, const std::string& file);

/// Sets or removes kTiedKey.
void set_tied(Metadata& metadata,
              const std::map<std::string, std::string>& tied);

}  // namespace quanto::formats

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "quanto/io/result.h"

namespace quanto::io {

/// Keys keep the order of the file.
using Json = nlohmann::ordered_json;

/// Largest JSON text that is read, the limit of the safetensors format for its
/// header, and how deep its objects and arrays may nest.
constexpr size_t kMaxJsonBytes = 100'000'000;
constexpr int kMaxJsonDepth = 64;

/// JSON of untrusted bytes. Errors, with the byte where they show: not JSON,
/// not UTF-8, too large, nested too deep, a key twice in one object.
/// `file` is what errors are about.
Result<Json> parse_json(std::span<const std::byte> bytes,
                        const std::string& file);

/// The same of a whole file.
Result<Json> read_json(const std::string& path);

/// The JSON of a value on indented lines, with a newline at its end.
std::string json_text(const Json& value);

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "quanto/core/qtype.h"
#include "quanto/io/json.h"
#include "quanto/io/result.h"

// Fields of the JSON that describes weights. `of` is what has the field and
// `file` where it stands, for the error.

namespace quanto::formats {

/// `expected WHAT of OF, got GOT`; a null `got` is a field that is not there.
io::Error expected(const std::string& file, const std::string& what,
                   const std::string& of, const io::Json* got);

/// The field of an object, or nullptr.
const io::Json* member(const io::Json& object, const char* key);

/// A group size: a number of 1 or more, or null.
io::Result<std::optional<int64_t>> read_group_size(const io::Json* value,
                                                   const std::string& of,
                                                   const std::string& file);

/// The quantized type of that name.
io::Result<const QType*> read_type(const io::Json* value, const char* key,
                                   const std::string& of,
                                   const std::string& file);

/// Whether it is the version of the format that is known here.
io::Status check_version(const std::string& version, const std::string& file);

}  // namespace quanto::formats

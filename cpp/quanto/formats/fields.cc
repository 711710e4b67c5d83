// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/fields.h"

#include "quanto/formats/quanto.h"

namespace quanto::formats {

using io::Error;
using io::Json;
using io::Result;

Error expected(const std::string& file, const std::string& what,
               const std::string& of, const Json* got) {
  return {file,
          {},
          fmt::format("expected {} of {}, got {}", what, of,
                      got == nullptr ? "none" : got->dump())};
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

Result<std::optional<int64_t>> read_group_size(const Json* value,
                                               const std::string& of,
                                               const std::string& file) {
  if (value != nullptr && value->is_null()) return std::optional<int64_t>();
  if (value == nullptr || !value->is_number_integer() ||
      value->get<int64_t>() < 1) {
    return expected(file, "a number or null as group_size", of, value);
  }
  return std::optional(value->get<int64_t>());
}

Result<const QType*> read_type(const Json* value, const char* key,
                               const std::string& of, const std::string& file) {
  const QType* type = value != nullptr && value->is_string()
                          ? find_qtype(value->get_ref<const std::string&>())
                          : nullptr;
  if (type == nullptr) {
    return expected(file, fmt::format("a type as {}", key), of, value);
  }
  return type;
}

io::Status check_version(const std::string& version, const std::string& file) {
  if (version == std::to_string(kFormatVersion)) return io::Done{};
  return Error{file,
               {},
               fmt::format("expected format version {}, got {}: is it of a "
                           "newer quanto?",
                           kFormatVersion, version)};
}

}  // namespace quanto::formats

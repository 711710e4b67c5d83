// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quanto/io/gguf_cursor.h"
#include "quanto/io/gguf_types.h"
#include "quanto/io/result.h"

namespace quanto::io {

/// How deep arrays may nest.
constexpr int kMaxGgufDepth = 8;

/// A value of the metadata where it lies in the file; it was checked.
struct GgufValue {
  GgufValueType type{};
  /// As stored: the bytes of a number, the text of a string, the elements of an
  /// array one after the other.
  std::span<const std::byte> bytes;
  GgufValueType element{};  ///< of an array
  uint64_t count = 0;       ///< of an array

  /// The value if it is of that kind and fits, of whatever width, else nullopt.
  [[nodiscard]] std::optional<uint64_t> as_unsigned() const;
  [[nodiscard]] std::optional<int64_t> as_signed() const;
  [[nodiscard]] std::optional<double> as_float() const;
  [[nodiscard]] std::optional<bool> as_bool() const;
  [[nodiscard]] std::optional<std::string_view> as_string() const;
};

/// The value at the cursor. Errors: a type that is not known, a bool that is
/// neither 0 nor 1, text that is not UTF-8, arrays too deep, the file's end.
/// `key` names it in them.
Result<GgufValue> read_gguf_value(GgufCursor& cursor, std::string_view key);

/// The elements of an array; of another value, none.
std::vector<GgufValue> elements_of(const GgufValue& array);

}  // namespace quanto::io

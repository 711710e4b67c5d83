// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "quanto/io/result.h"

namespace quanto::io {

/// Reads the little-endian fields of a file one after the other and never past
/// its end. `what` names the field in errors, which carry its first byte.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(file) {}

  [[nodiscard]] uint64_t at() const { return at_; }
  [[nodiscard]] uint64_t left() const { return bytes_.size() - at_; }

  template <typename T>
  Result<T> number(std::string_view what) {
    static_assert(std::endian::native == std::endian::little);
    QUANTO_ASSIGN_OR_RETURN(const auto field, take(sizeof(T), what));
    T value;
    std::memcpy(&value, field.data(), sizeof(T));
    return value;
  }

  /// The next `count` bytes.
  Result<std::span<const std::byte>> take(uint64_t count,
                                          std::string_view what);

  /// A length of 8 bytes and so many bytes of UTF-8. Views the file.
  Result<std::string_view> string(std::string_view what);

  /// A string of 1 to 65535 bytes: the key of an entry, the name of a tensor.
  Result<std::string> name(std::string_view what);

  /// An error at a byte of the file.
  [[nodiscard]] Error error(uint64_t offset, std::string message) const {
    return {file_, offset, std::move(message)};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t at_ = 0;
};

}  // namespace quanto::io

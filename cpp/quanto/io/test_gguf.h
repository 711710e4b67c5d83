// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/io/gguf_types.h"

namespace quanto::io {

/// The bytes of a number as the file has them.
template <typename T>
std::string le(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

inline std::string gguf_string(std::string_view text) {
  return le<uint64_t>(text.size()) + std::string(text);
}

inline std::string gguf_type(GgufValueType type) {
  return le(static_cast<uint32_t>(type));
}

/// An entry: the value is its bytes.
inline std::string gguf_entry(std::string_view key, GgufValueType type,
                              std::string_view value) {
  return gguf_string(key) + gguf_type(type) + std::string(value);
}

/// An array: the elements are their bytes.
inline std::string gguf_array(GgufValueType element, uint64_t count,
                              std::string_view elements) {
  return gguf_type(element) + le(count) + std::string(elements);
}

/// `sizes` innermost first.
inline std::string gguf_tensor(std::string_view name,
                               const std::vector<uint64_t>& sizes,
                               uint32_t type, uint64_t offset) {
  std::string bytes = gguf_string(name) + le<uint32_t>(sizes.size());
  for (const uint64_t size : sizes) bytes += le(size);
  return bytes + le(type) + le(offset);
}

inline std::string gguf_head(uint32_t version, uint64_t tensors,
                             uint64_t entries) {
  return "GGUF" + le(version) + le(tensors) + le(entries);
}

/// A whole file: the head padded to `alignment`, then `data` bytes.
inline std::string gguf_bytes(const std::vector<std::string>& entries,
                              const std::vector<std::string>& tensors,
                              size_t data, size_t alignment = 32) {
  std::string bytes = gguf_head(3, tensors.size(), entries.size());
  for (const std::string& entry : entries) bytes += entry;
  for (const std::string& tensor : tensors) bytes += tensor;
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment + data);
  return bytes;
}

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "quanto/core/dtype.h"

namespace quanto::io {

/// A tensor type of GGUF. Elements stand in blocks along the innermost
/// dimension, each with its scales; plain types have blocks of one element.
struct GgufType {
  uint32_t id;
  std::string_view name;
  int64_t block_elements;
  uint64_t block_bytes;
  std::optional<DType> dtype;  ///< the core's type, if it has it

  [[nodiscard]] bool is_plain() const { return block_elements == 1; }
};

/// The type of that number in the file, or nullptr.
const GgufType* find_gguf_type(uint32_t id);

/// Types of metadata, by their numbers in the file.
enum class GgufValueType : uint32_t {
  kUInt8 = 0,
  kInt8 = 1,
  kUInt16 = 2,
  kInt16 = 3,
  kUInt32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUInt64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// "uint8"; of a number that stands for no type, an empty name.
std::string_view name_of(GgufValueType type);

/// Bytes of a value; 0 of strings and arrays, which say theirs.
uint64_t size_of(GgufValueType type);

}  // namespace quanto::io

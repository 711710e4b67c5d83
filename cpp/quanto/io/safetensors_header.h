// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/core/dtype.h"
#include "quanto/io/result.h"

// The header of a safetensors file: 8 bytes, little endian, the length N of the
// JSON; N bytes of JSON (at most 100 MB, begins with '{', may end in spaces):
//   {"__metadata__": {"k": "v"}, "name": {"dtype": "BF16", "shape": [2, 3],
//    "data_offsets": [0, 12]}, ...}
// then the data. Offsets count from the end of the header; together the tensors
// cover the data without holes and overlaps.

namespace quanto::io {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kLengthBytes = 8;

/// Key of the metadata that holds checksums (checksums.h).
constexpr const char* kChecksumsKey = "quanto_xxh3_64";

/// An element type of the format. `dtype` is the core's type, if it has it.
struct FileType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};

/// The type of that name, or nullptr.
const FileType* find_file_type(std::string_view name);

/// The type in which files store the core's one.
const FileType& file_type(DType dtype);

/// Whether it is F32, F16 or BF16.
inline bool is_float(const FileType& type) {
  return type.dtype && is_activation(*type.dtype);
}

/// The core's type; only of one that the core has.
inline DType core_type(const FileType& type) {
  if (!type.dtype) __builtin_unreachable();
  return *type.dtype;
}

/// One tensor: `begin` and `end` are its data_offsets.
struct TensorInfo {
  std::string name;
  const FileType* type = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;

  [[nodiscard]] uint64_t bytes() const { return end - begin; }
};

/// Bytes of a tensor, or nullopt if they overflow or are no whole bytes.
std::optional<uint64_t> tensor_bytes(const FileType& type,
                                     std::span<const int64_t> shape);

struct SafetensorsHeader {
  /// All but kChecksumsKey.
  std::map<std::string, std::string> metadata;
  std::vector<TensorInfo> tensors;       ///< in the order of their data
  uint64_t data_begin = 0;               ///< in the file
  std::optional<std::string> checksums;  ///< what stands under kChecksumsKey
};

/// The header of a whole file, checked against the file's size. Errors carry
/// the byte of the file where they show; `file` names it in them.
Result<SafetensorsHeader> parse_safetensors_header(
    std::span<const std::byte> bytes, const std::string& file);

/// The bytes of a header, length and padding included, so that the data begins
/// at a multiple of 8. Sets the tensors' offsets: wider elements come first,
/// then by name, so that every tensor is aligned to its elements. Errors: a
/// name twice, a tensor too large, a header longer than the format allows.
Result<std::string> make_safetensors_header(SafetensorsHeader& header,
                                            const std::string& file);

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_tensor.h"

#include <algorithm>
#include <limits>

namespace quanto::io {
namespace {

Result<std::vector<int64_t>> read_shape(GgufCursor& cursor,
                                        const std::string& name) {
  const uint64_t at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto rank, cursor.number<uint32_t>("a rank"));
  if (rank > kMaxGgufRank) {
    return cursor.error(at,
                        fmt::format("expected '{}' of at most {} dimensions, "
                                    "got {}",
                                    name, kMaxGgufRank, rank));
  }
  std::vector<int64_t> shape(rank);
  uint64_t numel = 1;
  for (int64_t& size : shape) {
    const uint64_t size_at = cursor.at();
    QUANTO_ASSIGN_OR_RETURN(const auto value,
                            cursor.number<uint64_t>("a size"));
    // A size of 0 counts as 1: the others may not overflow behind it.
    const uint64_t factor = std::max<uint64_t>(value, 1);
    if (factor > std::numeric_limits<int64_t>::max() / numel) {
      return cursor.error(size_at,
                          fmt::format("expected '{}' of fewer than 2^63 "
                                      "elements, got a size of {}",
                                      name, value));
    }
    numel *= factor;
    size = static_cast<int64_t>(value);
  }
  std::ranges::reverse(shape);
  return shape;
}

/// Type, shape and bytes agree.
Status set_type(const GgufCursor& cursor, uint64_t at, uint32_t id,
                GgufTensor& tensor) {
  tensor.type = find_gguf_type(id);
  if (tensor.type == nullptr) {
    return cursor.error(at, fmt::format("expected '{}' of a known type, got "
                                        "number {}",
                                        tensor.name, id));
  }
  const int64_t inner = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (inner % tensor.type->block_elements != 0) {
    return cursor.error(
        at, fmt::format("expected rows of '{}' in blocks of {} elements, as {} "
                        "has them, got rows of {}",
                        tensor.name, tensor.type->block_elements,
                        tensor.type->name, inner));
  }
  const auto blocks =
      static_cast<uint64_t>(tensor.numel() / tensor.type->block_elements);
  if (blocks >
      std::numeric_limits<uint64_t>::max() / tensor.type->block_bytes) {
    return cursor.error(
        at, fmt::format("expected '{}' of fewer than 2^64 "
                        "bytes, got {} blocks of {}",
                        tensor.name, blocks, tensor.type->block_bytes));
  }
  tensor.bytes = blocks * tensor.type->block_bytes;
  return Done{};
}

}  // namespace

int64_t GgufTensor::numel() const {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  return numel;
}

Result<GgufTensor> read_gguf_tensor(GgufCursor& cursor, uint64_t alignment) {
  GgufTensor tensor;
  QUANTO_ASSIGN_OR_RETURN(tensor.name, cursor.name("a tensor's name"));
  QUANTO_ASSIGN_OR_RETURN(tensor.shape, read_shape(cursor, tensor.name));
  const uint64_t type_at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto id,
                          cursor.number<uint32_t>("a tensor's type"));
  QUANTO_RETURN_IF_ERROR(set_type(cursor, type_at, id, tensor));
  const uint64_t offset_at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(tensor.begin, cursor.number<uint64_t>("an offset"));
  if (tensor.begin % alignment != 0) {
    return cursor.error(offset_at,
                        fmt::format("expected the offset of '{}' to be a "
                                    "multiple of {}, got {}",
                                    tensor.name, alignment, tensor.begin));
  }
  return tensor;
}

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_header.h"

#include <algorithm>
#include <bit>
#include <set>

#include "quanto/io/gguf_cursor.h"

namespace quanto::io {
namespace {

constexpr const char* kAlignmentKey = "general.alignment";
constexpr uint64_t kMinAlignment = 8;

/// The next multiple. No overflow: values are places in a file, alignments have
/// 32 bits.
uint64_t align(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// Magic and version.
Result<uint32_t> read_version(GgufCursor& cursor) {
  QUANTO_ASSIGN_OR_RETURN(const auto magic,
                          cursor.take(kGgufMagic.size(), "the word GGUF"));
  if (std::string_view(reinterpret_cast<const char*>(magic.data()),
                       magic.size()) != kGgufMagic) {
    return cursor.error(0, "expected the word GGUF, got other bytes");
  }
  const uint64_t at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto version,
                          cursor.number<uint32_t>("the version"));
  if (version == 2 || version == 3) return version;
  // A version of a file in the other byte order.
  if (version != 0 && (version & 0xffffff) == 0) {
    return cursor.error(at,
                        "expected a little-endian file, got a big-endian one");
  }
  return cursor.error(at,
                      fmt::format("expected version 2 or 3, got {}", version));
}

Result<uint64_t> read_count(GgufCursor& cursor, std::string_view what,
                            uint64_t min_bytes) {
  const uint64_t at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto count, cursor.number<uint64_t>(what));
  if (count > cursor.left() / min_bytes) {
    return cursor.error(
        at, fmt::format("expected {} of at most {}, what fits into the file, "
                        "got {}",
                        what, cursor.left() / min_bytes, count));
  }
  return count;
}

/// `at` is where its entry begins.
Status set_alignment(const GgufCursor& cursor, uint64_t at,
                     const GgufValue& value, GgufHeader& header) {
  const auto number =
      value.type == GgufValueType::kUInt32 ? value.as_unsigned() : std::nullopt;
  if (!number || *number < kMinAlignment || !std::has_single_bit(*number)) {
    return cursor.error(
        at, fmt::format("expected {} to be a uint32, a power of two from {} "
                        "on, got {}",
                        kAlignmentKey, kMinAlignment,
                        number ? std::to_string(*number) : "another type"));
  }
  header.alignment = *number;
  return Done{};
}

Status read_metadata(GgufCursor& cursor, uint64_t count, GgufHeader& header) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = cursor.at();
    QUANTO_ASSIGN_OR_RETURN(std::string key, cursor.name("a key"));
    if (std::ranges::any_of(key, [](char c) { return c < ' ' || c > '~'; })) {
      return cursor.error(
          at, fmt::format("expected a key of ASCII, got '{}'", key));
    }
    if (header.metadata.contains(key)) {
      return cursor.error(
          at, fmt::format("expected each key once, got '{}' again", key));
    }
    QUANTO_ASSIGN_OR_RETURN(const auto value, read_gguf_value(cursor, key));
    if (key == kAlignmentKey) {
      QUANTO_RETURN_IF_ERROR(set_alignment(cursor, at, value, header));
    }
    header.metadata.emplace(std::move(key), value);
  }
  return Done{};
}

Status read_tensors(GgufCursor& cursor, uint64_t count, GgufHeader& header) {
  std::set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = cursor.at();
    QUANTO_ASSIGN_OR_RETURN(GgufTensor tensor,
                            read_gguf_tensor(cursor, header.alignment));
    if (!names.insert(tensor.name).second) {
      return cursor.error(at, fmt::format("expected each tensor once, got '{}' "
                                          "again",
                                          tensor.name));
    }
    header.tensors.push_back(std::move(tensor));
  }
  std::ranges::stable_sort(header.tensors, {}, &GgufTensor::begin);
  return Done{};
}

/// Tensors lie one after the other to the end of the file, with no more than
/// the padding between them; that of the last may be missing.
Status check_cover(const GgufCursor& cursor, const GgufHeader& header,
                   uint64_t data_bytes) {
  uint64_t expected = 0;
  for (const GgufTensor& tensor : header.tensors) {
    if (tensor.begin != expected) {
      return cursor.error(
          header.data_begin + std::min(expected, data_bytes),
          fmt::format("expected '{}' at data offset {}, where the one before "
                      "it ends, got {}",
                      tensor.name, expected, tensor.begin));
    }
    if (tensor.begin > data_bytes || tensor.bytes > data_bytes - tensor.begin) {
      return cursor.error(
          header.data_begin + std::min(tensor.begin, data_bytes),
          fmt::format("expected '{}' of {} bytes at data offset {} inside {} "
                      "bytes of data: is the file whole?",
                      tensor.name, tensor.bytes, tensor.begin, data_bytes));
    }
    expected = align(tensor.begin + tensor.bytes, header.alignment);
  }
  if (data_bytes > expected) {
    return cursor.error(header.data_begin + expected,
                        fmt::format("expected the tensors to end the file, got "
                                    "{} bytes after them",
                                    data_bytes - expected));
  }
  return Done{};
}

}  // namespace

Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes,
                                     const std::string& file) {
  // The least that a tensor and an entry take.
  constexpr uint64_t kTensorBytes = 25;
  constexpr uint64_t kEntryBytes = 14;
  GgufHeader header;
  GgufCursor cursor(bytes, file);
  QUANTO_ASSIGN_OR_RETURN(header.version, read_version(cursor));
  QUANTO_ASSIGN_OR_RETURN(
      const auto tensors,
      read_count(cursor, "a number of tensors", kTensorBytes));
  QUANTO_ASSIGN_OR_RETURN(
      const auto entries,
      read_count(cursor, "a number of metadata entries", kEntryBytes));
  QUANTO_RETURN_IF_ERROR(read_metadata(cursor, entries, header));
  QUANTO_RETURN_IF_ERROR(read_tensors(cursor, tensors, header));
  // Without tensors a file may end before the data would begin.
  header.data_begin =
      std::min<uint64_t>(align(cursor.at(), header.alignment), bytes.size());
  QUANTO_RETURN_IF_ERROR(
      check_cover(cursor, header, bytes.size() - header.data_begin));
  return header;
}

}  // namespace quanto::io

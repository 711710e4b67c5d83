// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_value.h"

#include <cstring>
#include <limits>

namespace quanto::io {
namespace {

template <typename T>
T number_of(const GgufValue& value) {
  T number;
  std::memcpy(&number, value.bytes.data(), sizeof(T));
  return number;
}

std::optional<uint64_t> stored_unsigned(const GgufValue& value) {
  switch (value.type) {
    case GgufValueType::kUInt8:
      return number_of<uint8_t>(value);
    case GgufValueType::kUInt16:
      return number_of<uint16_t>(value);
    case GgufValueType::kUInt32:
      return number_of<uint32_t>(value);
    case GgufValueType::kUInt64:
      return number_of<uint64_t>(value);
    default:
      return {};
  }
}

std::optional<int64_t> stored_signed(const GgufValue& value) {
  switch (value.type) {
    case GgufValueType::kInt8:
      return number_of<int8_t>(value);
    case GgufValueType::kInt16:
      return number_of<int16_t>(value);
    case GgufValueType::kInt32:
      return number_of<int32_t>(value);
    case GgufValueType::kInt64:
      return number_of<int64_t>(value);
    default:
      return {};
  }
}

Result<GgufValueType> read_type(GgufCursor& cursor, std::string_view key) {
  const uint64_t at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto number,
                          cursor.number<uint32_t>("a type of value"));
  const auto type = static_cast<GgufValueType>(number);
  if (name_of(type).empty()) {
    return cursor.error(
        at, fmt::format("expected '{}' of a type from 0 to 12, got {}", key,
                        number));
  }
  return type;
}

Result<GgufValue> read_value(GgufCursor& cursor, std::string_view key,
                             GgufValueType type, int depth);

/// `count` elements one after the other.
Status pass_elements(GgufCursor& cursor, std::string_view key,
                     GgufValueType type, uint64_t count, int depth) {
  const uint64_t size = size_of(type);
  if (size != 0 && type != GgufValueType::kBool) {
    if (count > cursor.left() / size) {
      return cursor.error(
          cursor.at(),
          fmt::format("expected '{}' of at most the {} elements that fit into "
                      "the file, got {}",
                      key, cursor.left() / size, count));
    }
    QUANTO_RETURN_IF_ERROR(cursor.take(count * size, key));
    return Done{};
  }
  for (uint64_t i = 0; i < count; ++i) {
    QUANTO_RETURN_IF_ERROR(read_value(cursor, key, type, depth));
  }
  return Done{};
}

Result<GgufValue> read_array(GgufCursor& cursor, std::string_view key,
                             int depth) {
  const uint64_t at = cursor.at();
  if (depth == kMaxGgufDepth) {
    return cursor.error(at, fmt::format("expected arrays nested at most {} "
                                        "deep in '{}', got more",
                                        kMaxGgufDepth, key));
  }
  GgufValue value{GgufValueType::kArray, {}, {}, 0};
  QUANTO_ASSIGN_OR_RETURN(value.element, read_type(cursor, key));
  QUANTO_ASSIGN_OR_RETURN(value.count,
                          cursor.number<uint64_t>("a count of elements"));
  GgufCursor begin = cursor;
  QUANTO_RETURN_IF_ERROR(
      pass_elements(cursor, key, value.element, value.count, depth + 1));
  QUANTO_ASSIGN_OR_RETURN(value.bytes,
                          begin.take(cursor.at() - begin.at(), key));
  return value;
}

Result<GgufValue> read_value(GgufCursor& cursor, std::string_view key,
                             GgufValueType type, int depth) {
  if (type == GgufValueType::kArray) return read_array(cursor, key, depth);
  if (type == GgufValueType::kString) {
    QUANTO_ASSIGN_OR_RETURN(const auto text, cursor.string(key));
    return GgufValue{
        type, std::as_bytes(std::span(text.data(), text.size())), {}, 0};
  }
  const uint64_t at = cursor.at();
  QUANTO_ASSIGN_OR_RETURN(const auto bytes, cursor.take(size_of(type), key));
  if (type == GgufValueType::kBool && bytes[0] > std::byte{1}) {
    return cursor.error(at, fmt::format("expected '{}' to be 0 or 1, got {}",
                                        key, static_cast<int>(bytes[0])));
  }
  return GgufValue{type, bytes, {}, 0};
}

}  // namespace

Result<GgufValue> read_gguf_value(GgufCursor& cursor, std::string_view key) {
  QUANTO_ASSIGN_OR_RETURN(const auto type, read_type(cursor, key));
  return read_value(cursor, key, type, 0);
}

std::vector<GgufValue> elements_of(const GgufValue& array) {
  std::vector<GgufValue> elements;
  const std::string checked_before;
  GgufCursor cursor(array.bytes, checked_before);
  elements.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    elements.push_back(
        read_value(cursor, "an element", array.element, 0).value());
  }
  return elements;
}

std::optional<uint64_t> GgufValue::as_unsigned() const {
  if (const auto number = stored_unsigned(*this)) return number;
  const auto number = stored_signed(*this);
  if (!number || *number < 0) return {};
  return static_cast<uint64_t>(*number);
}

std::optional<int64_t> GgufValue::as_signed() const {
  if (const auto number = stored_signed(*this)) return number;
  const auto number = stored_unsigned(*this);
  if (!number || *number > std::numeric_limits<int64_t>::max()) return {};
  return static_cast<int64_t>(*number);
}

std::optional<double> GgufValue::as_float() const {
  if (type == GgufValueType::kFloat32) return number_of<float>(*this);
  if (type == GgufValueType::kFloat64) return number_of<double>(*this);
  return {};
}

std::optional<bool> GgufValue::as_bool() const {
  if (type != GgufValueType::kBool) return {};
  return bytes[0] != std::byte{0};
}

std::optional<std::string_view> GgufValue::as_string() const {
  if (type != GgufValueType::kString) return {};
  return std::string_view(reinterpret_cast<const char*>(bytes.data()),
                          bytes.size());
}

}  // namespace quanto::io

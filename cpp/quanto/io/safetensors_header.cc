// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "quanto/io/json.h"
#include "quanto/io/safetensors_sax.h"

namespace quanto::io {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::array<FileType, 21> kFileTypes = {{
    {"F32", 32, DType::kFloat32},
    {"F16", 16, DType::kFloat16},
    {"BF16", 16, DType::kBFloat16},
    {"I8", 8, DType::kInt8},
    {"U8", 8, DType::kUInt8},
    {"F8_E4M3", 8, DType::kFloat8E4M3FN},
    {"F8_E5M2", 8, DType::kFloat8E5M2},
    {"F8_E4M3FNUZ", 8, DType::kFloat8E4M3FNUZ},
    {"F8_E5M2FNUZ", 8, {}},
    {"F8_E8M0", 8, {}},
    {"BOOL", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"I32", 32, {}},
    {"U32", 32, {}},
    {"I64", 64, {}},
    {"U64", 64, {}},
    {"F64", 64, {}},
    {"C64", 64, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
}};

/// The bytes of the JSON, or what is wrong with the length before it.
Result<std::span<const std::byte>> json_of(std::span<const std::byte> bytes,
                                           const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    return Error{
        file, 0,
        fmt::format("expected a length of 8 bytes, got {}", bytes.size())};
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    return Error{file, 0,
                 fmt::format("expected a header of at most {} bytes, got {}",
                             kMaxHeaderBytes, length)};
  }
  if (length > bytes.size() - kLengthBytes) {
    return Error{
        file, 0,
        fmt::format("expected a header of at most the {} bytes that follow, "
                    "got {}",
                    bytes.size() - kLengthBytes, length)};
  }
  if (length == 0 || bytes[kLengthBytes] != std::byte{'{'}) {
    return Error{file, kLengthBytes,
                 "expected a header that begins with '{', got another byte"};
  }
  return bytes.subspan(kLengthBytes, length);
}

Error data_error(const SafetensorsHeader& header, const std::string& file,
                 uint64_t at, std::string message) {
  return {file, header.data_begin + at, std::move(message)};
}

/// Tensors in the order of their data cover it without holes or overlaps.
Status check_cover(const SafetensorsHeader& header, uint64_t data_bytes,
                   const std::string& file) {
  uint64_t at = 0;
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.begin != at) {
      return data_error(header, file, at,
                        fmt::format("expected '{}' to begin at data offset {}, "
                                    "where the one before it ends, got {}",
                                    tensor.name, at, tensor.begin));
    }
    if (tensor.end > data_bytes) {
      return data_error(header, file, tensor.begin,
                        fmt::format("expected '{}' inside {} bytes of data, "
                                    "got an end at {}: is the file whole?",
                                    tensor.name, data_bytes, tensor.end));
    }
    at = tensor.end;
  }
  if (at != data_bytes) {
    return data_error(
        header, file, at,
        fmt::format("expected the tensors to cover {} bytes of data, got {}",
                    data_bytes, at));
  }
  return Done{};
}

Status check_names(const std::vector<TensorInfo>& tensors,
                   const std::string& file) {
  std::set<std::string_view> names{"__metadata__"};
  for (const TensorInfo& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return Error{file,
                   {},
                   fmt::format("expected each tensor once, got '{}' again",
                               tensor.name)};
    }
  }
  return Done{};
}

Status set_offsets(SafetensorsHeader& header, const std::string& file) {
  std::ranges::sort(
      header.tensors, [](const TensorInfo& a, const TensorInfo& b) {
        return a.type->bits != b.type->bits ? a.type->bits > b.type->bits
                                            : a.name < b.name;
      });
  uint64_t at = 0;
  for (TensorInfo& tensor : header.tensors) {
    const auto bytes = tensor_bytes(*tensor.type, tensor.shape);
    tensor.begin = at;
    if (!bytes || __builtin_add_overflow(at, *bytes, &at)) {
      return Error{
          file,
          {},
          fmt::format("expected '{}' to be smaller than 2^64 bytes, got more",
                      tensor.name)};
    }
    tensor.end = at;
  }
  return Done{};
}

}  // namespace

const FileType* find_file_type(std::string_view name) {
  // Two six-bit types differ in nothing that matters here but the name.
  static constexpr FileType kOther{"F6_E3M2", 6, {}};
  if (name == kOther.name) return &kOther;
  for (const FileType& type : kFileTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

const FileType& file_type(DType dtype) {
  for (const FileType& type : kFileTypes) {
    if (type.dtype == dtype) return type;
  }
  __builtin_unreachable();  // the table has every core type
}

std::optional<uint64_t> tensor_bytes(const FileType& type,
                                     std::span<const int64_t> shape) {
  auto bits = static_cast<uint64_t>(type.bits);
  for (const int64_t size : shape) {
    if (size < 0 ||
        __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits)) {
      return std::nullopt;
    }
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

Result<SafetensorsHeader> parse_safetensors_header(
    std::span<const std::byte> bytes, const std::string& file) {
  QUANTO_ASSIGN_OR_RETURN(const auto json, json_of(bytes, file));
  QUANTO_ASSIGN_OR_RETURN(SafetensorsHeader header,
                          read_header_json(json, file));
  header.data_begin = kLengthBytes + json.size();
  if (auto node = header.metadata.extract(kChecksumsKey)) {
    header.checksums = std::move(node.mapped());
  }
  std::ranges::sort(
      header.tensors, [](const TensorInfo& a, const TensorInfo& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
      });
  QUANTO_RETURN_IF_ERROR(
      check_cover(header, bytes.size() - header.data_begin, file));
  return header;
}

Result<std::string> make_safetensors_header(SafetensorsHeader& header,
                                            const std::string& file) {
  QUANTO_RETURN_IF_ERROR(check_names(header.tensors, file));
  QUANTO_RETURN_IF_ERROR(set_offsets(header, file));
  Json json = Json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  if (header.checksums) json["__metadata__"][kChecksumsKey] = *header.checksums;
  std::string text = json.dump();
  text.pop_back();
  for (const TensorInfo& tensor : header.tensors) {
    text += fmt::format(
        R"({}{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
        text.size() > 1 ? "," : "", Json(tensor.name).dump(), tensor.type->name,
        Json(tensor.shape).dump(), tensor.begin, tensor.end);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeaderBytes) {
    return Error{file,
                 {},
                 fmt::format("expected a header of at most {} bytes, got {}",
                             kMaxHeaderBytes, text.size())};
  }
  header.data_begin = kLengthBytes + text.size();
  const uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  return bytes + text;
}

}  // namespace quanto::io

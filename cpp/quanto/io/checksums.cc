// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/checksums.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "quanto/core/checksum.h"
#include "quanto/io/json.h"

namespace quanto::io {
namespace {

/// Stands for the header, as no tensor can have this name.
constexpr const char* kHeaderEntry = "__metadata__";
constexpr std::string_view kZeros = "0000000000000000";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool is_checksum(const Json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() == kZeros.size() &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// That of the header, in which its own digits count as zeros.
Status check_header(const SafetensorsFile& file, const std::string& expected) {
  const auto bytes =
      file.file().bytes().first(static_cast<size_t>(file.header().data_begin));
  std::string header(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (size_t at = header.find(expected); at != std::string::npos;
       at = header.find(expected, at + kZeros.size())) {
    header.replace(at, kZeros.size(), kZeros);
  }
  const std::string got = checksum(bytes_of(header));
  if (got == expected) return Done{};
  return Error{
      file.path(), 0,
      fmt::format("expected checksum {} of the header, got {}", expected, got)};
}

/// The first tensor whose data differ, of those that have a checksum.
Status check_data(
    const SafetensorsFile& file,
    const std::vector<std::pair<const TensorInfo*, std::string>>& tensors,
    Executor& executor) {
  std::vector<std::string> got(tensors.size());
  const auto count = static_cast<int64_t>(tensors.size());
  executor.parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      const auto i = static_cast<size_t>(begin);
      const auto data = file.data(*tensors[i].first);
      got[i] = checksum(data);
      file.file().release(data);
    }
  });
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [tensor, expected] = tensors[i];
    if (got[i] == expected) continue;
    return Error{file.path(), file.header().data_begin + tensor->begin,
                 fmt::format("expected checksum {} of the data of '{}', got {}",
                             expected, tensor->name, got[i])};
  }
  return Done{};
}

}  // namespace

Result<std::string> make_sealed_header(SafetensorsHeader& header,
                                       Checksums checksums,
                                       const std::string& file) {
  checksums[kHeaderEntry] = kZeros;
  header.checksums = Json(checksums).dump();
  QUANTO_ASSIGN_OR_RETURN(const std::string unsealed,
                          make_safetensors_header(header, file));
  checksums[kHeaderEntry] = checksum(bytes_of(unsealed));
  header.checksums = Json(checksums).dump();
  return make_safetensors_header(header, file);
}

Result<Checksums> parse_checksums(const std::string& text,
                                  const std::string& file) {
  const std::string where = fmt::format("{}: {}", file, kChecksumsKey);
  QUANTO_ASSIGN_OR_RETURN(const Json json, parse_json(bytes_of(text), where));
  if (!json.is_object()) {
    return Error{where, {}, "expected an object of checksums, got none"};
  }
  Checksums checksums;
  for (const auto& [name, value] : json.items()) {
    if (!is_checksum(value)) {
      return Error{where,
                   {},
                   fmt::format("expected 16 hexadecimal digits for '{}', got "
                               "something else",
                               name)};
    }
    checksums.emplace(name, value.get<std::string>());
  }
  return checksums;
}

Result<Covered> check_checksums(const SafetensorsFile& file,
                                Executor& executor) {
  Covered covered;
  if (!file.header().checksums) return covered;
  QUANTO_ASSIGN_OR_RETURN(
      const Checksums checksums,
      parse_checksums(*file.header().checksums, file.path()));
  if (const auto own = checksums.find(kHeaderEntry); own != checksums.end()) {
    QUANTO_RETURN_IF_ERROR(check_header(file, own->second));
    covered.header = true;
  }
  std::vector<std::pair<const TensorInfo*, std::string>> tensors;
  for (const TensorInfo& tensor : file.header().tensors) {
    const auto found = checksums.find(tensor.name);
    if (found != checksums.end()) tensors.emplace_back(&tensor, found->second);
  }
  covered.tensors = static_cast<int64_t>(tensors.size());
  QUANTO_RETURN_IF_ERROR(check_data(file, tensors, executor));
  return covered;
}

}  // namespace quanto::io

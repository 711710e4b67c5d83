// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/gguf.h"

#include <algorithm>

#include "quanto/cli/failure.h"
#include "quanto/cli/inspect_report.h"
#include "quanto/io/gguf.h"

namespace quanto::cli {
namespace {

using io::GgufHeader;
using io::GgufTensor;
using io::GgufValue;
using io::Json;

/// Arrays by their type and length only: a vocabulary is one of them.
Json json_of(const GgufValue& value) {
  if (const auto number = value.as_unsigned()) return *number;
  if (const auto number = value.as_signed()) return *number;
  if (const auto number = value.as_float()) return *number;
  if (const auto truth = value.as_bool()) return *truth;
  if (const auto text = value.as_string()) return *text;
  return {{"array", io::name_of(value.element)}, {"count", value.count}};
}

Json metadata_json(const GgufHeader& header) {
  Json json = Json::object();
  for (const auto& [key, value] : header.metadata) json[key] = json_of(value);
  return json;
}

/// On one line, which a chat template is not.
std::string value_text(const GgufValue& value) {
  constexpr size_t kLongest = 60;
  if (value.type == io::GgufValueType::kArray) {
    return fmt::format("{} of {}", value.count, io::name_of(value.element));
  }
  std::string text = json_of(value).dump();
  if (text.size() <= kLongest) return text;
  size_t end = kLongest;
  while ((static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;  // UTF-8
  return fmt::format("{}... ({} bytes)", text.substr(0, end),
                     value.bytes.size());
}

InspectRow row_of(const GgufTensor& tensor) {
  InspectRow row;
  row.name = tensor.name;
  row.type = tensor.type->name;
  row.shape = tensor.shape;
  row.numel = tensor.numel();
  row.bytes = tensor.bytes;
  if (!tensor.type->is_plain()) row.group_size = tensor.type->block_elements;
  return row;
}

InspectReport report_of(const GgufHeader& header) {
  InspectReport report;
  report.head["format"] = "gguf";
  report.head["version"] = header.version;
  report.head["alignment"] = header.alignment;
  report.head["metadata"] = metadata_json(header);
  report.head["quantized"] = std::ranges::any_of(
      header.tensors,
      [](const GgufTensor& tensor) { return !tensor.type->is_plain(); });
  for (const GgufTensor& tensor : header.tensors) {
    report.rows.push_back(row_of(tensor));
  }
  std::ranges::sort(report.rows, {}, &InspectRow::name);
  return report;
}

}  // namespace

void inspect_gguf(const std::string& path, bool as_json) {
  const auto file = unwrap(io::GgufFile::open(path));
  const InspectReport report = report_of(file.header());
  if (as_json) return print_json(report);
  fmt::print("GGUF version {}\n", file.header().version);
  for (const auto& [key, value] : file.header().metadata) {
    fmt::print("{} = {}\n", key, value_text(value));
  }
  fmt::print("\n");
  print_table(report);
}

void verify_gguf(const std::string& path) {
  const auto file = unwrap(io::GgufFile::open(path));
  fmt::print(
      "{}: GGUF version {}, {} tensors: file whole, metadata, types and shapes "
      "well-formed\n",
      path, file.header().version, file.header().tensors.size());
}

}  // namespace quanto::cli

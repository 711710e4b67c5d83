// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/inspect_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "quanto/cli/progress.h"

namespace quanto::cli {
namespace {

using io::Json;

double bits_per_weight(uint64_t bytes, int64_t numel) {
  return numel == 0
             ? 0.0
             : 8.0 * static_cast<double>(bytes) / static_cast<double>(numel);
}

struct Sum {
  int64_t tensors = 0;
  int64_t numel = 0;
  uint64_t bytes = 0;

  /// What is stored: a tied weight counts under its stored name.
  void add(const InspectRow& row) {
    if (row.tied_to) return;
    ++tensors;
    numel += row.numel;
    bytes += row.bytes;
  }
};

std::map<std::string, Sum> sums_by_type(const InspectReport& report) {
  std::map<std::string, Sum> sums;
  for (const InspectRow& row : report.rows) sums[row.type].add(row);
  return sums;
}

/// Of all tensors and what else is stored.
Sum total_of(const InspectReport& report) {
  Sum total;
  for (const InspectRow& row : report.rows) total.add(row);
  total.bytes += report.other_bytes;
  return total;
}

Json json_of(const InspectRow& row) {
  Json json;
  json["name"] = row.name;
  json["type"] = row.type;
  json["shape"] = row.shape ? Json(*row.shape) : Json(nullptr);
  json["elements"] = row.numel;
  json["bytes"] = row.bytes;
  json["bits_per_weight"] = bits_per_weight(row.bytes, row.numel);
  if (row.group_size) json["group_size"] = *row.group_size;
  if (row.scale) json["scale"] = *row.scale;
  if (row.tied_to) json["tied_to"] = *row.tied_to;
  return json;
}

std::string shape_text(const InspectRow& row) {
  if (!row.shape) return fmt::format("{} in all", row.numel);
  std::string text;
  for (const int64_t size : *row.shape) {
    text += fmt::format("{}{}", text.empty() ? "" : " x ", size);
  }
  return text.empty() ? "scalar" : text;
}

std::string bytes_or_owner(const InspectRow& row) {
  return row.tied_to ? "is " + *row.tied_to : bytes_text(row.bytes);
}

std::string group_text(const InspectRow& row) {
  return row.group_size && !row.group_size->is_null() ? row.group_size->dump()
                                                      : "";
}

void print_sum(const std::string& name, const Sum& sum) {
  fmt::print("{:<16} {:>6} tensors {:>14} elements {:>10}  {:.2f} bits\n", name,
             sum.tensors, sum.numel, bytes_text(sum.bytes),
             bits_per_weight(sum.bytes, sum.numel));
}

}  // namespace

void print_json(const InspectReport& report) {
  const Sum total = total_of(report);
  Json json = report.head;
  json["elements"] = total.numel;
  json["bytes"] = total.bytes;
  json["bits_per_weight"] = bits_per_weight(total.bytes, total.numel);
  json["tensors"] = Json::array();
  for (const InspectRow& row : report.rows) {
    json["tensors"].push_back(json_of(row));
  }
  fmt::print("{}", io::json_text(json));
}

void print_table(const InspectReport& report) {
  size_t width = 6;
  for (const InspectRow& row : report.rows) {
    width = std::max(width, row.name.size());
  }
  fmt::print("{:<{}}  {:<16} {:>5} {:>18} {:>6} {:>10}\n", "tensor", width,
             "type", "group", "shape", "bits", "bytes");
  for (const InspectRow& row : report.rows) {
    fmt::print("{:<{}}  {:<16} {:>5} {:>18} {:>6.2f} {:>10}\n", row.name, width,
               row.type, group_text(row), shape_text(row),
               bits_per_weight(row.bytes, row.numel), bytes_or_owner(row));
  }
  fmt::print("\n");
  for (const auto& [type, sum] : sums_by_type(report)) print_sum(type, sum);
  print_sum("in all", total_of(report));
}

}  // namespace quanto::cli

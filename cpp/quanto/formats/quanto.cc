// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/quanto.h"

#include <utility>

#include "quanto/core/packing.h"
#include "quanto/formats/fields.h"

namespace quanto::formats {
namespace {

using io::Error;
using io::Json;
using io::Result;

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kFloat8 = "float8";

}  // namespace

std::optional<std::string> module_of(std::string_view tensor) {
  if (!tensor.ends_with(kWeight) || tensor.size() == kWeight.size()) {
    return std::nullopt;
  }
  return std::string(tensor.substr(0, tensor.size() - kWeight.size()));
}

const QType* find_type(std::string_view name) {
  const QType* type = find_qtype(name);
  return type != nullptr ? type : find_qtype("q" + std::string(name));
}

std::string_view short_name(const QType& type) {
  return type.id == QTypeId::kQFloat8E4M3FN ? kFloat8 : type.name.substr(1);
}

std::vector<io::TensorInfo> stored_tensors(const std::string& module,
                                           WeightFacts facts, DType dtype,
                                           int64_t rows, int64_t columns) {
  const QType& type = qtype(facts.qtype);
  const io::FileType* floats = &io::file_type(dtype);
  const auto named = [&](std::string_view end) {
    return module + std::string(end);
  };
  std::vector<io::TensorInfo> tensors;
  if (type.bits == 8) {
    std::vector<int64_t> scale;
    if (rows != 1) scale = {rows, 1};
    tensors.push_back(
        {named(kData), &io::file_type(type.storage), {rows, columns}});
    tensors.push_back({named(kScale), floats, std::move(scale)});
  } else {
    const int64_t width = facts.group_size.value_or(columns);
    const int64_t groups = rows * (columns / width);
    tensors.push_back({named(kPackedData),
                       &io::file_type(DType::kUInt8),
                       {packed_rows(groups, type.bits), width}});
    tensors.push_back({named(kScale), floats, {groups, 1}});
    tensors.push_back({named(kShift), floats, {groups, 1}});
  }
  tensors.push_back({named(kInputScale), floats, {}});
  tensors.push_back({named(kOutputScale), floats, {}});
  return tensors;
}

Json map_entry(WeightFacts facts) {
  Json entry;
  entry["weights"] = qtype(facts.qtype).name;
  entry["activations"] = "none";
  entry["version"] = 1;
  entry["group_size"] =
      facts.group_size ? Json(*facts.group_size) : Json(nullptr);
  entry["axis"] = 0;
  entry["dynamic"] = false;
  entry["quantized_input"] = false;
  entry["quantized_output"] = false;
  return entry;
}

Result<std::optional<MapEntry>> read_map_entry(const Json& entry,
                                               const std::string& module,
                                               const std::string& file) {
  if (!entry.is_object()) return expected(file, "an entry", module, &entry);
  const Json* weights = member(entry, "weights");
  if (weights != nullptr && *weights == "none") {
    return std::optional<MapEntry>();
  }
  QUANTO_ASSIGN_OR_RETURN(const QType* type,
                          read_type(weights, "weights", module, file));
  const Json* version = member(entry, "version");
  if (version == nullptr) {
    return std::optional(MapEntry{type->id, false, {}});
  }
  if (*version != 1) return expected(file, "version 1", module, version);
  QUANTO_ASSIGN_OR_RETURN(
      const auto group_size,
      read_group_size(member(entry, "group_size"), module, file));
  return std::optional(MapEntry{type->id, true, group_size});
}

Result<std::map<std::string, MapEntry>> read_quantization_config(
    const Json& config, const std::string& file) {
  const std::string of = "quantization_config";
  const Json* method =
      config.is_object() ? member(config, "quant_method") : nullptr;
  if (method == nullptr || *method != "quanto") {
    return expected(file, "quant_method \"quanto\"", of, method);
  }
  const Json* version = member(config, "format_version");
  if (version == nullptr)
    return expected(file, "a format_version", of, nullptr);
  QUANTO_RETURN_IF_ERROR(check_version(version->dump(), file));
  const Json* modules = member(config, "modules");
  if (modules == nullptr || !modules->is_object()) {
    return expected(file, "a quantization map as modules", of, modules);
  }
  std::map<std::string, MapEntry> map;
  for (const auto& [module, json] : modules->items()) {
    QUANTO_ASSIGN_OR_RETURN(const auto entry,
                            read_map_entry(json, module, file));
    if (entry) map.emplace(module, *entry);
  }
  return map;
}

}  // namespace quanto::formats

// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/quanto.h"

#include <utility>

#include "quanto/core/packing.h"
#include "quanto/formats/fields.h"

namespace quanto::formats {
namespace {

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
  ModuleEntry entry;
  entry.weights = facts.qtype;
  entry.group_size = facts.group_size;
  return entry_json(entry);
}

Result<ModuleMap> read_quantization_config(const Json& config,
                                           const std::string& file) {
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
  return read_module_map(*modules, file);
}

}  // namespace quanto::formats

// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/module_map.h"

#include "quanto/formats/fields.h"

namespace quanto::formats {
namespace {

using io::Json;
using io::Result;

constexpr int kMapVersion = 1;
constexpr const char* kNone = "none";

Json type_json(std::optional<QTypeId> type) {
  return type ? Json(qtype(*type).name) : Json(kNone);
}

/// One entry, and where it stands for the errors about its fields.
class EntryReader {
 public:
  EntryReader(const Json& entry, const std::string& module,
              const std::string& file)
      : entry_(entry), module_(module), file_(file) {}

  Result<ModuleEntry> read() {
    if (!entry_.is_object()) {
      return expected(file_, "an entry", module_, &entry_);
    }
    ModuleEntry out;
    QUANTO_ASSIGN_OR_RETURN(out.weights, type("weights"));
    QUANTO_ASSIGN_OR_RETURN(out.activations, type("activations"));
    const Json* version = member(entry_, "version");
    if (version == nullptr) {
      out.group_size_known = false;
      return out;
    }
    if (*version != kMapVersion) {
      return expected(file_, "version 1", module_, version);
    }
    const Json* axis = member(entry_, "axis");
    if (axis == nullptr || *axis != 0) {
      return expected(file_, "axis 0", module_, axis);
    }
    QUANTO_ASSIGN_OR_RETURN(
        out.group_size,
        read_group_size(member(entry_, "group_size"), module_, file_));
    QUANTO_ASSIGN_OR_RETURN(out.dynamic, flag("dynamic"));
    QUANTO_ASSIGN_OR_RETURN(out.quantized_input, flag("quantized_input"));
    QUANTO_ASSIGN_OR_RETURN(out.quantized_output, flag("quantized_output"));
    return out;
  }

 private:
  Result<std::optional<QTypeId>> type(const char* key) {
    const Json* value = member(entry_, key);
    if (value != nullptr && *value == kNone) return std::optional<QTypeId>();
    QUANTO_ASSIGN_OR_RETURN(const QType* type,
                            read_type(value, key, module_, file_));
    return std::optional(type->id);
  }

  Result<bool> flag(const char* key) {
    const Json* value = member(entry_, key);
    if (value != nullptr && value->is_boolean()) return value->get<bool>();
    return expected(file_, fmt::format("true or false as {}", key), module_,
                    value);
  }

  const Json& entry_;
  const std::string& module_;
  const std::string& file_;
};

}  // namespace

Json entry_json(const ModuleEntry& entry) {
  Json json;
  json["weights"] = type_json(entry.weights);
  json["activations"] = type_json(entry.activations);
  json["version"] = kMapVersion;
  json["group_size"] =
      entry.group_size ? Json(*entry.group_size) : Json(nullptr);
  json["axis"] = 0;
  json["dynamic"] = entry.dynamic;
  json["quantized_input"] = entry.quantized_input.value_or(false);
  json["quantized_output"] = entry.quantized_output.value_or(false);
  return json;
}

Json map_json(const ModuleMap& map) {
  Json json = Json::object();
  for (const auto& [module, entry] : map) json[module] = entry_json(entry);
  return json;
}

Result<ModuleMap> read_module_map(const Json& json, const std::string& file) {
  if (!json.is_object()) {
    return io::Error{
        file, {}, "expected a quantization map, got something else"};
  }
  ModuleMap map;
  for (const auto& [module, value] : json.items()) {
    QUANTO_ASSIGN_OR_RETURN(map[module],
                            EntryReader(value, module, file).read());
  }
  return map;
}

}  // namespace quanto::formats

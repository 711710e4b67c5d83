// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/sayings.h"

#include <filesystem>

#include "quanto/io/json.h"

namespace quanto::formats {
namespace {

using io::Checkpoint;
using io::Error;
using io::Json;
using io::Result;

Result<std::map<std::string, MapEntry>> read_predecessor_map(
    const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(const Json json, io::read_json(path));
  if (!json.is_object()) {
    return Error{path, {}, "expected a quantization map, got something else"};
  }
  std::map<std::string, MapEntry> map;
  for (const auto& [module, value] : json.items()) {
    QUANTO_ASSIGN_OR_RETURN(const auto entry,
                            read_map_entry(value, module, path));
    if (entry) map.emplace(module, *entry);
  }
  return map;
}

}  // namespace

Result<Sayings> read_sayings(const Checkpoint& checkpoint) {
  Sayings sayings;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    QUANTO_ASSIGN_OR_RETURN(
        auto described, read_descriptions(file.header().metadata, file.path()));
    sayings.described.merge(described);
  }
  if (const auto config_path = checkpoint.config_path()) {
    QUANTO_ASSIGN_OR_RETURN(const Json config, io::read_json(*config_path));
    const auto found = config.find("quantization_config");
    if (found != config.end() && !found->is_null()) {
      QUANTO_ASSIGN_OR_RETURN(sayings.map,
                              read_quantization_config(*found, *config_path));
      sayings.has_map = true;
      sayings.map_file = *config_path;
      return sayings;
    }
  }
  const auto qmap =
      std::filesystem::path(checkpoint.path()) / "quanto_qmap.json";
  if (std::error_code ignored; std::filesystem::exists(qmap, ignored)) {
    QUANTO_ASSIGN_OR_RETURN(sayings.map, read_predecessor_map(qmap));
    sayings.has_map = true;
    sayings.map_file = qmap;
  }
  return sayings;
}

}  // namespace quanto::formats

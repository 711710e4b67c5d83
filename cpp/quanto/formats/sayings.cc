// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/sayings.h"

#include <filesystem>

#include "quanto/io/json.h"

namespace quanto::formats {
namespace {

using io::Checkpoint;
using io::Json;
using io::Result;

io::Status take_map(Sayings& sayings, Result<ModuleMap> map,
                    const std::string& file) {
  QUANTO_ASSIGN_OR_RETURN(sayings.map, std::move(map));
  sayings.has_map = true;
  sayings.map_file = file;
  return io::Done{};
}

io::Status find_map(Sayings& sayings, const Checkpoint& checkpoint) {
  if (const auto config_path = checkpoint.config_path()) {
    QUANTO_ASSIGN_OR_RETURN(const Json config, io::read_json(*config_path));
    const auto tie = config.find("tie_word_embeddings");
    sayings.ties_embeddings = tie != config.end() && *tie == true;
    const auto found = config.find("quantization_config");
    if (found != config.end() && !found->is_null()) {
      return take_map(sayings, read_quantization_config(*found, *config_path),
                      *config_path);
    }
  }
  const auto qmap =
      std::filesystem::path(checkpoint.path()) / "quanto_qmap.json";
  if (std::error_code ignored; std::filesystem::exists(qmap, ignored)) {
    QUANTO_ASSIGN_OR_RETURN(const Json json, io::read_json(qmap));
    return take_map(sayings, read_module_map(json, qmap), qmap);
  }
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    QUANTO_ASSIGN_OR_RETURN(auto map,
                            read_modules(file.header().metadata, file.path()));
    if (!map) continue;
    sayings.has_map = true;
    sayings.map_file = file.path();
    sayings.map.merge(*map);
  }
  return io::Done{};
}

}  // namespace

Result<Sayings> read_sayings(const Checkpoint& checkpoint) {
  Sayings sayings;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    QUANTO_ASSIGN_OR_RETURN(
        auto described, read_descriptions(file.header().metadata, file.path()));
    sayings.described.merge(described);
  }
  QUANTO_RETURN_IF_ERROR(find_map(sayings, checkpoint));
  return sayings;
}

}  // namespace quanto::formats

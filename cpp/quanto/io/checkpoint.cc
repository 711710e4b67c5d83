// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "quanto/io/gguf.h"
#include "quanto/io/json.h"
#include "quanto/io/mapped_file.h"

namespace quanto::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStems[] = {"model", "diffusion_pytorch_model"};
constexpr std::string_view kExtension = ".safetensors";

bool is_plain_name(const std::string& name) {
  return name.size() > kExtension.size() && name.ends_with(kExtension) &&
         name.front() != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Every tensor of the index stands in its file, and every one of the files in
/// the index.
Status check_index(const std::map<std::string, std::string>& index,
                   const std::vector<SafetensorsFile>& files,
                   const std::string& index_path) {
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const SafetensorsFile& file : files) {
    by_name[fs::path(file.path()).filename()] = &file;
  }
  for (const auto& [tensor, file] : index) {
    if (by_name.at(file)->find(tensor) == nullptr) {
      return Error{
          index_path,
          {},
          fmt::format("expected '{}' in {}, got none there", tensor, file)};
    }
  }
  for (const auto& [name, file] : by_name) {
    for (const TensorInfo& tensor : file->header().tensors) {
      const auto found = index.find(tensor.name);
      if (found == index.end() || found->second != name) {
        return Error{
            index_path,
            {},
            fmt::format("expected an entry for '{}', which {} holds, got {}",
                        tensor.name, name,
                        found == index.end() ? "none" : found->second)};
      }
    }
  }
  return Done{};
}

Result<std::vector<SafetensorsFile>> open_shards(
    const fs::path& folder, const std::map<std::string, std::string>& index,
    Mapping mapping) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : index) names.insert(file);
  std::vector<SafetensorsFile> files;
  for (const std::string& name : names) {
    QUANTO_ASSIGN_OR_RETURN(SafetensorsFile file,
                            SafetensorsFile::open(folder / name, mapping));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_index(
    std::span<const std::byte> bytes, const std::string& file) {
  QUANTO_ASSIGN_OR_RETURN(const Json json, parse_json(bytes, file));
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object()) {
    return Error{file, {}, "expected an object weight_map, got none"};
  }
  std::map<std::string, std::string> index;
  for (const auto& [tensor, name] : map->items()) {
    if (!name.is_string() ||
        !is_plain_name(name.get_ref<const std::string&>())) {
      return Error{
          file,
          {},
          fmt::format("expected the name of a .safetensors file in the same "
                      "folder for '{}', got {}",
                      tensor, name.dump())};
    }
    index.emplace(tensor, name.get<std::string>());
  }
  return index;
}

std::string index_text(const std::map<std::string, std::string>& weight_map,
                       uint64_t total_bytes) {
  Json json;
  json["metadata"]["total_size"] = total_bytes;
  json["weight_map"] = weight_map;
  return json_text(json);
}

Result<Checkpoint> Checkpoint::open(const std::string& path, Mapping mapping) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (is_gguf(path)) {
      return Error{path,
                   {},
                   "expected a folder or a safetensors file, got a GGUF file, "
                   "of which this quanto reads the structure only (quanto "
                   "inspect, quanto verify)"};
    }
    QUANTO_ASSIGN_OR_RETURN(SafetensorsFile file,
                            SafetensorsFile::open(path, mapping));
    checkpoint.files_.push_back(std::move(file));
    return checkpoint;
  }
  checkpoint.is_folder_ = true;
  for (const std::string_view stem : kStems) {
    const fs::path file = fs::path(path) / fmt::format("{}.safetensors", stem);
    const std::string index_path = file.string() + ".index.json";
    checkpoint.stem_ = stem;
    if (is_there(index_path)) {
      checkpoint.sharded_ = true;
      QUANTO_ASSIGN_OR_RETURN(const MappedFile text,
                              MappedFile::open(index_path));
      QUANTO_ASSIGN_OR_RETURN(const auto index,
                              parse_index(text.bytes(), index_path));
      QUANTO_ASSIGN_OR_RETURN(checkpoint.files_,
                              open_shards(path, index, mapping));
      QUANTO_RETURN_IF_ERROR(check_index(index, checkpoint.files_, index_path));
      return checkpoint;
    }
    if (is_there(file)) {
      QUANTO_ASSIGN_OR_RETURN(SafetensorsFile one,
                              SafetensorsFile::open(file, mapping));
      checkpoint.files_.push_back(std::move(one));
      return checkpoint;
    }
  }
  return Error{path,
               {},
               "expected model.safetensors or model.safetensors.index.json in "
               "the folder, got neither"};
}

Checkpoint::Found Checkpoint::find(std::string_view name) const {
  for (const SafetensorsFile& file : files_) {
    if (const TensorInfo* tensor = file.find(name)) return {&file, tensor};
  }
  return {};
}

std::optional<std::string> Checkpoint::config_path() const {
  if (!is_folder_) return std::nullopt;
  std::string config = fs::path(path_) / "config.json";
  if (!is_there(config)) return std::nullopt;
  return config;
}

}  // namespace quanto::io

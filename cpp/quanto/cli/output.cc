// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/output.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <string_view>
#include <thread>

#include "quanto/cli/failure.h"
#include "quanto/io/atomic_file.h"

namespace quanto::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSettings = ".quanto-run.json";

/// Weights in other formats, and what belongs to the shards.
constexpr std::array<std::string_view, 14> kNotCarried = {"quanto_qmap.json",
                                                          ".safetensors",
                                                          ".index.json",
                                                          ".bin",
                                                          ".pt",
                                                          ".pth",
                                                          ".ckpt",
                                                          ".h5",
                                                          ".msgpack",
                                                          ".gguf",
                                                          ".onnx",
                                                          ".ot",
                                                          ".tflite",
                                                          ".npz"};

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string partial_of(const std::string& path) { return path + ".partial"; }

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

bool is_carried(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename();
  return entry.is_regular_file() && name.front() != '.' &&
         name != "config.json" &&
         std::ranges::none_of(kNotCarried, [&](std::string_view end) {
           return name.ends_with(end);
         });
}

void carry_over(const std::string& input, const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(input)) {
    if (!is_carried(entry)) continue;
    const auto file = unwrap(io::MappedFile::open(entry.path()));
    const auto bytes = file.bytes();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                                bytes.size());
    check(io::write_file(fs::path(folder) / entry.path().filename(), text));
  }
}

void write_index(const io::Checkpoint& input, const Output& output,
                 const std::string& folder) {
  std::map<std::string, std::string> weight_map;
  uint64_t total = 0;
  for (const FilePlan& file : output.files) {
    total += file.output_bytes();
    for (const Step& step : file.steps) {
      for (const auto& tensor : step.outputs) {
        weight_map[tensor.name] = file.name;
      }
    }
  }
  const std::string name = input.stem() + ".safetensors.index.json";
  check(io::write_file(fs::path(folder) / name,
                       io::index_text(weight_map, total)));
}

/// Whether a run ended before it wrote more there than a part of its settings.
bool holds_nothing(const std::string& partial) {
  return std::ranges::all_of(
      fs::directory_iterator(partial), [](const auto& entry) {
        const std::string name = entry.path().filename();
        return name.starts_with(std::string(".") + kSettings);
      });
}

/// Makes OUT.partial, or makes sure that it is of a run like this one.
void open_partial(const std::string& partial, const io::Json& settings) {
  const std::string path = fs::path(partial) / kSettings;
  const bool made = fs::create_directory(partial);
  // Another part may have made the folder just now.
  for (int wait = 0; !made && wait < 20 && !fs::exists(path); ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  if (!fs::exists(path) && holds_nothing(partial)) {
    check(io::write_file(path, io::json_text(settings)));
    return;
  }
  if (!fs::exists(path)) {
    fail("{}: expected what an unfinished run left, got another folder",
         partial);
  }
  const io::Json there = unwrap(io::read_json(path));
  if (there != settings) {
    fail(
        "{}: expected an unfinished run of the same checkpoint and options, "
        "got another: remove the folder to start anew",
        partial);
  }
}

std::vector<const FilePlan*> files_to_write(const Output& output,
                                            const std::string& partial,
                                            const OutputOptions& options) {
  std::vector<const FilePlan*> files;
  const Part part = options.part.value_or(Part{});
  for (size_t i = 0; i < output.files.size(); ++i) {
    const FilePlan& file = output.files[i];
    if (i % part.count != part.index - 1) continue;
    if (!is_written(file, fs::path(partial) / file.name)) {
      files.push_back(&file);
    }
  }
  return files;
}

uint64_t input_bytes(const std::vector<const FilePlan*>& files) {
  uint64_t bytes = 0;
  for (const FilePlan* file : files) bytes += file->input_bytes();
  return bytes;
}

void write_folder(const io::Checkpoint& input, const Output& output,
                  const std::string& path, const OutputOptions& options) {
  const std::string partial = partial_of(path);
  open_partial(partial, output.settings);
  const auto files = files_to_write(output, partial, options);
  Progress progress(input_bytes(files));
  std::vector<Target> targets;
  targets.reserve(files.size());
  for (const FilePlan* file : files) {
    targets.push_back({file, fs::path(partial) / file->name});
  }
  write_files(targets, progress);
  progress.finish();
  if (options.part) {
    fmt::print(
        "part {} of {} is in {}; when all are there, the same command "
        "with --resume in the place of --shard completes {}\n",
        options.part->index, options.part->count, partial, path);
    return;
  }
  if (input.sharded()) write_index(input, output, partial);
  carry_over(input.path(), partial);
  if (!output.config.is_null()) {
    check(io::write_file(fs::path(partial) / "config.json",
                         io::json_text(output.config)));
  }
  check(io::sync_folder(partial));
  std::error_code error;
  fs::rename(partial, path, error);
  if (error) {
    fail("{}: expected to rename {} to it, got: {}", path, partial,
         error.message());
  }
  fs::remove(fs::path(path) / kSettings, error);
  check(io::sync_folder(parent_of(path)));
}

void check_folder(const std::string& path, const OutputOptions& options) {
  if (fs::exists(path) && !(fs::is_directory(path) && fs::is_empty(path))) {
    fail("{}: expected no such folder or an empty one, got one with files",
         path);
  }
  const bool may_exist = options.resume || options.part;
  if (fs::exists(partial_of(path)) && !may_exist) {
    fail(
        "{}: expected no unfinished run, got one: continue it with --resume "
        "or remove the folder",
        partial_of(path));
  }
}

}  // namespace

void check_output(const io::Checkpoint& input, const std::string& given,
                  const OutputOptions& options) {
  const std::string path = without_slash(given);
  std::error_code ignored;
  if (fs::equivalent(input.path(), path, ignored)) {
    fail("{}: expected another path for the output than for the input", path);
  }
  if (!fs::is_directory(parent_of(path), ignored)) {
    fail("{}: expected an existing folder to write in, got none",
         parent_of(path));
  }
  if (input.is_folder()) {
    check_folder(path, options);
  } else if (options.resume || options.part) {
    fail_usage("expected a folder of files with --resume or --shard, got {}",
               input.path());
  } else if (fs::is_directory(path, ignored)) {
    fail("{}: expected a file, as the input is one, got a folder", path);
  }
}

void write_output(const io::Checkpoint& input, const Output& output,
                  const std::string& given, const OutputOptions& options) {
  check_output(input, given, options);
  const std::string path = without_slash(given);
  if (input.is_folder()) {
    write_folder(input, output, path, options);
    return;
  }
  Progress progress(output.files[0].input_bytes());
  write_files({{output.files.data(), path}}, progress);
  progress.finish();
}

}  // namespace quanto::cli

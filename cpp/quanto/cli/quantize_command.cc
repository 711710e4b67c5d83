// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/cli/output.h"
#include "quanto/cli/quantize_plan.h"
#include "quanto/cli/selection.h"
#include "quanto/core/executor.h"
#include "quanto/formats/quanto.h"

namespace quanto::cli {
namespace {

using io::Checkpoint;
using io::Json;

struct Options {
  std::string input;
  std::string output;
  std::string weights;
  std::string optimizer;
  std::string policy;
  std::string shard;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  int64_t group_size = 0;
  int threads = 0;
  bool resume = false;
  bool dry_run = false;
};

Wanted wanted_of(const Options& options) {
  Wanted wanted;
  if (!options.weights.empty()) {
    const QType* type = formats::find_type(options.weights);
    if (type == nullptr) {
      fail_usage("expected int2, int4, int8 or float8 as --weights, got {}",
                 options.weights);
    }
    wanted.weights = type->id;
  } else if (options.policy.empty()) {
    fail_usage("expected --weights or --policy, got neither");
  }
  if (options.group_size > 0) wanted.group_size = options.group_size;
  if (!options.optimizer.empty()) {
    wanted.optimizer = find_optimizer(options.optimizer);
  }
  wanted.include = options.include;
  wanted.exclude = options.exclude;
  if (!options.policy.empty()) wanted.policy = read_policy(options.policy);
  return wanted;
}

Part part_of(const std::string& text) {
  Part part;
  const char* const end = text.data() + text.size();
  const auto index = std::from_chars(text.data(), end, part.index);
  if (index.ec == std::errc() && index.ptr != end && *index.ptr == '/') {
    const auto count = std::from_chars(index.ptr + 1, end, part.count);
    if (count.ec == std::errc() && count.ptr == end && part.index >= 1 &&
        part.index <= part.count) {
      return part;
    }
  }
  fail_usage("expected --shard i/n with i from 1 to n, got {}", text);
}

/// config.json, or null where there is none. Throws if it says that the
/// checkpoint is quantized already.
Json config_of(const Checkpoint& checkpoint) {
  const auto path = checkpoint.config_path();
  if (!path) return nullptr;
  Json config = unwrap(io::read_json(*path));
  if (!config.is_object()) fail("{}: expected an object", *path);
  const auto found = config.find("quantization_config");
  if (found != config.end() && !found->is_null()) {
    fail("{}: expected a float model, got one with a quantization_config",
         *path);
  }
  return config;
}

void report(const Output& output, const Selection& selection) {
  uint64_t before = 0, after = 0;
  for (const FilePlan& file : output.files) {
    before += file.input_bytes();
    after += file.output_bytes();
  }
  fmt::print("{} weights to quantize, {} left float; {} to {}\n",
             selection.chosen.size(), selection.left_float.size(),
             bytes_text(before), bytes_text(after));
  std::fflush(stdout);  // before the progress on stderr
}

void report_choices(const Selection& selection) {
  for (const auto& [module, choice] : selection.chosen) {
    const auto group = choice.facts.group_size;
    fmt::print("{:<8} {}{}\n", formats::short_name(qtype(choice.facts.qtype)),
               module, group ? fmt::format(" (groups of {})", *group) : "");
  }
  for (const std::string& module : selection.left_float) {
    fmt::print("{:<8} {}\n", "float", module);
  }
}

void run(const Options& options) {
  const Wanted wanted = wanted_of(options);
  OutputOptions output_options{options.resume, {}};
  if (!options.shard.empty()) output_options.part = part_of(options.shard);
  const Checkpoint checkpoint = unwrap(Checkpoint::open(options.input));
  const Json config = config_of(checkpoint);
  const Selection selection = select(checkpoint, config, wanted);
  check_output(checkpoint, options.output, output_options);

  const int all = static_cast<int>(std::thread::hardware_concurrency());
  ThreadPool executor(options.threads > 0 ? options.threads : std::max(1, all));
  const Output output =
      quantized_output(checkpoint, config, selection, wanted.weights, executor);
  if (options.dry_run) report_choices(selection);
  report(output, selection);
  if (options.dry_run) return;
  write_output(checkpoint, output, options.output, output_options);
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("quantize",
                                         "Quantize a checkpoint: a folder as "
                                         "transformers writes it, or one file");
  command->add_option("IN", options->input, "Folder or .safetensors file")
      ->required();
  command
      ->add_option("OUT", options->output,
                   "Folder or file that is to be written")
      ->required();
  command->add_option("-w,--weights", options->weights,
                      "int8, int4, int2, float8 (also float8_e5m2, "
                      "float8_e4m3fnuz)");
  command
      ->add_option("-g,--group-size", options->group_size,
                   "Elements that share a scale, for 4 and 2 bits; default: "
                   "the first of 128, 96, 64, 32 that divides")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--optimizer", options->optimizer,
                   "How scales are chosen: max (default) or hqq for 4 and 2 "
                   "bits, absmax for 8")
      ->check(CLI::IsMember({"absmax", "max", "hqq"}));
  command
      ->add_option("--include", options->include,
                   "Shell pattern of the modules to quantize (repeatable)")
      ->allow_extra_args(false);
  command
      ->add_option("--exclude", options->exclude,
                   "Shell pattern of modules to leave float (repeatable)")
      ->allow_extra_args(false);
  command->add_option("--policy", options->policy,
                      "JSON file of rules: regular expression to type, group "
                      "size, optimizer, or skip");
  command
      ->add_option("-j,--threads", options->threads,
                   "Threads; default: one for each CPU")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--dry-run", options->dry_run,
                    "Say what would be done, and do nothing");
  command->add_flag("--resume", options->resume,
                    "Go on where a run was stopped, or complete --shard runs");
  command->add_option("--shard", options->shard,
                      "i/n: only every n-th file, beginning with the i-th");
  command->callback([options] { run(*options); });
}

}  // namespace quanto::cli

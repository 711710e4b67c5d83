// SPDX-License-Identifier: Apache-2.0
// Continues a prompt with a Llama model that `quanto quantize` wrote, greedily:
//
//   generate CHECKPOINT --tokens 1,2,3 [--new 32] [--threads N]
//
// Tokens go in and out as numbers: tokenizers are another library's matter.

#include <quanto/nn/serialize.h>
#include <torch/utils.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "config.h"
#include "llama.h"

namespace {

struct Options {
  std::string checkpoint, logits;
  std::vector<int64_t> tokens;
  int64_t count = 32;
  int threads = 0;
};

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

Llama load(const Options& options, const Config& config) {
  const Stopwatch watch;
  Llama llama(config);
  quanto::requantize(*llama, options.checkpoint);
  llama->eval();
  std::fprintf(stderr, "loaded in %.2f s\n", watch.seconds());
  return llama;
}

/// As plain float32, row by row.
void write(const torch::Tensor& values, const std::string& path) {
  const torch::Tensor rows = values.to(torch::kFloat32).contiguous();
  std::ofstream file(path, std::ios::binary | std::ios::app);
  file.write(static_cast<const char*>(rows.const_data_ptr()),
             static_cast<std::streamsize>(rows.nbytes()));
  if (!file.flush()) throw std::runtime_error(path + ": expected to write it");
}

void check(const Options& options, const Config& config) {
  for (const int64_t token : options.tokens) {
    if (token >= 0 && token < config.vocab_size) continue;
    throw std::invalid_argument("generate: expected tokens below " +
                                std::to_string(config.vocab_size) + ", got " +
                                std::to_string(token));
  }
}

void run(const Options& options) {
  const torch::NoGradGuard no_grad;
  if (options.threads > 0) torch::set_num_threads(options.threads);
  const Config config = read_config(options.checkpoint);
  check(options, config);
  Llama llama = load(options, config);
  auto caches = llama->make_caches(static_cast<int64_t>(options.tokens.size()) +
                                   options.count);
  torch::Tensor next = torch::tensor(options.tokens);
  const Stopwatch prefill;
  Stopwatch decode;
  int64_t made = 0;
  while (made < options.count) {
    const torch::Tensor logits = llama->forward(next, caches);
    if (!options.logits.empty()) write(logits, options.logits);
    next = logits[-1].argmax().view({1});
    const auto token = next.item<int64_t>();
    std::printf("%s%lld", made == 0 ? "" : " ", static_cast<long long>(token));
    std::fflush(stdout);
    if (made++ == 0) {
      std::fprintf(stderr, "%zu tokens read in %.3f s\n", options.tokens.size(),
                   prefill.seconds());
      decode = Stopwatch();
    }
    if (std::ranges::count(config.eos_token_id, token) > 0) break;
  }
  std::printf("\n");
  const double seconds = decode.seconds();
  std::fprintf(stderr, "%.1f tokens/s after the first\n",
               static_cast<double>(made - 1) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Continues a prompt with a quantized Llama model");
  app.add_option("checkpoint", options.checkpoint,
                 "Folder that quanto quantize wrote")
      ->required();
  app.add_option("--tokens", options.tokens, "The prompt, numbers")
      ->delimiter(',')
      ->required();
  app.add_option("--new", options.count, "Tokens to make at most")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "Default: all cores");
  app.add_option("--logits", options.logits,
                 "File to add the logits of every token to, plain float32");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

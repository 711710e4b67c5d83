// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "quanto/cli/commands.h"
#include "quanto/cli/failure.h"
#include "quanto/io/atomic_file.h"
#include "quanto/kernels/cpu/dispatch.h"

namespace {

using namespace quanto::cli;

/// One line, whatever bytes of a file stand in it.
int print_error(std::string line, int code) {
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  std::fprintf(stderr, "quanto: %s\n", line.c_str());
  return code;
}

std::string version() {
  return fmt::format("quanto {} ({})", QUANTO_VERSION,
                     quanto::kernels::kernels().isa);
}

int run(int argc, char** argv) {
  CLI::App app(
      "Quantize safetensors checkpoints of PyTorch models, tensor by tensor, "
      "without loading the model.",
      "quanto");
  app.set_version_flag("--version", version,
                       "Print the version and the instruction set in use");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string(error.what());
  });
  add_quantize(app);
  add_inspect(app);
  add_dequantize(app);
  add_verify(app);
  add_compare(app);
  add_bench(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return print_error(
        fmt::format("{}; see quanto --help", std::string(error.what())),
        kUsage);
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  quanto::io::remove_temporaries_on_signals();
  try {
    return run(argc, argv);
  } catch (const Failure& failure) {
    return print_error(failure.what(), failure.code());
  } catch (const std::exception& error) {
    return print_error(error.what(), kFailed);
  }
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace quanto::cli {

// Each adds a subcommand, which runs when the command line is parsed.
void add_quantize(CLI::App& app);
void add_dequantize(CLI::App& app);
void add_inspect(CLI::App& app);
void add_verify(CLI::App& app);
void add_compare(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace quanto::cli

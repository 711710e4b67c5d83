// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string_view>

#include "quanto/kernels/cpu/dispatch.h"

// main() of the tests that run kernels on emulated instructions. Where the CPU
// has the instructions, the same tests run all cases on them, and one in seven
// here: in step with none of the ways in which the cases are enumerated.

namespace {

bool runs_natively(std::string_view isa) {
  return isa == "avx512" ? __builtin_cpu_supports("avx512vnni")
                         : __builtin_cpu_supports("avx512bf16");
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  try {
    const std::string_view isa = quanto::kernels::kernels().isa;
    const bool some = runs_natively(isa);
    if (some) {
      setenv("GTEST_TOTAL_SHARDS", "7", 1);
      setenv("GTEST_SHARD_INDEX", "0", 1);
    }
    std::cout << "isa: " << isa << ", emulated"
              << (some ? ", one case in seven" : "") << '\n';
  } catch (const std::invalid_argument& error) {
    std::cout << "skipped: " << error.what() << '\n';
    return kSkipped;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string_view>

#include "quanto/kernels/cpu/dispatch.h"

// main() of the tests that run kernels on emulated instructions. Where the CPU
// has the instructions, the same tests run all cases on them; of a program of
// many cases one in 29 is run here: in step with none of the ways in which
// they are enumerated.

namespace {

constexpr int kManyCases = 100;

bool runs_natively(std::string_view isa) {
  if (isa == "avx512") return __builtin_cpu_supports("avx512vnni");
  return __builtin_cpu_supports("avx512bf16");
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  testing::InitGoogleTest(&argc, argv);
  try {
    const std::string_view isa = quanto::kernels::kernels().isa;
    const bool many =
        testing::UnitTest::GetInstance()->total_test_count() > kManyCases;
    const bool some = many && runs_natively(isa);
    if (some) {
      setenv("GTEST_TOTAL_SHARDS", "29", 1);
      setenv("GTEST_SHARD_INDEX", "0", 1);
    }
    std::cout << "isa: " << isa << ", emulated"
              << (some ? ", one case in 29" : "") << '\n';
  } catch (const std::invalid_argument& error) {
    std::cout << "skipped: " << error.what() << '\n';
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <iostream>
#include <stdexcept>
#include <string_view>

#include "quanto/kernels/cpu/dispatch.h"

// main() of the tests that ctest runs once per instruction set. What ctest
// counts as skipped is an instruction set that this CPU lacks.

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  testing::InitGoogleTest(&argc, argv);
  try {
    const std::string_view isa = quanto::kernels::kernels().isa;
    std::cout << "isa: " << isa << '\n';
  } catch (const std::invalid_argument& error) {
    std::cout << "skipped: " << error.what() << '\n';
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace quanto::limits {

/// One way of multiplying and adding in registers. `run` performs
/// `count * operations` of them (an addition and a multiplication are two).
/// The AVX2 products of integers include the addition to sums of 32 bits
/// (vpmaddwd, of int16) or of 16 bits (vpmaddubsw).
struct Compute {
  const char* dtype;        ///< fp32, bf16, int8
  const char* instruction;  ///< what it issues
  int64_t operations;
  void (*run)(int64_t count);
};

/// Those that this CPU can run. To be called before threads are started: the
/// tile registers are asked for here.
std::vector<Compute> available_computes();

}  // namespace quanto::limits

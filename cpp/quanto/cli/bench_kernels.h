// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quanto/core/executor.h"
#include "quanto/core/qtype.h"

namespace quanto::cli {

/// One kernel's time, and what bounds it.
struct Measured {
  std::string operation;
  QTypeId qtype;
  double seconds;       ///< of one call, the least of several passes
  double bytes;         ///< that it has to read and write
  double operations;    ///< products and sums of a product; else 0
  const char* compute;  ///< what they may be done in: bf16 or int8
};

/// Quantizes and dequantizes a matrix and multiplies vectors with it, in every
/// qtype, bfloat16, groups of 128 for 4 and 2 bits. What is bound by memory
/// runs over more of them than caches hold.
std::vector<Measured> measure_kernels(Executor& executor);

/// Bytes that no cache holds, and that the machine has.
size_t working_set_bytes();

}  // namespace quanto::cli

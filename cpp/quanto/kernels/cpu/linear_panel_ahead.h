// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_word_plan.h"

// The 8-bit codes of the next panel are asked for while the tiles pass the one
// before, so that memory works while products do. Packed codes are too few for
// the asking to pay.

namespace quanto::kernels {
namespace {

/// Rows of codes, `stride` apart.
struct CodesAhead {
  const uint8_t* codes = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t bytes = 0;

  /// Asks for part `part` of `parts`, to the second cache: the first one is
  /// full of the panel in use.
  void ask(int64_t part, int64_t parts) const {
    const int64_t end = rows * (part + 1) / parts;
    for (int64_t row = rows * part / parts; row < end; ++row) {
      for (int64_t b = 0; b < bytes; b += kCacheLine) {
        __builtin_prefetch(codes + row * stride + b, 0, 2);
      }
    }
  }
};

/// What the panel is made of that follows column block `block` of k's block:
/// the next one of the unit that starts at `first_block`, else the next k's
/// first, else the next unit's.
inline CodesAhead codes_after(const LinearProblem& problem,
                              const LinearArgs& args, const PanelPlan& plan,
                              const KPlan& k_plan, int64_t first_block,
                              int64_t block, int64_t k) {
  if (bits_of(problem.weight) != 8) return {};
  const int64_t end =
      smaller(first_block + plan.unit_blocks, plan.column_blocks);
  if (++block == end) {
    k += k_plan.block;
    if (k < problem.k) {
      block = first_block;
    } else {
      k = 0;
    }
  }
  const int64_t row = block * kPanelColumns;
  const auto* data = static_cast<const uint8_t*>(args.data);
  return {data + row * problem.k + k, problem.k,
          larger(0, smaller(kPanelColumns, problem.n - row)),
          smaller(k_plan.block, problem.k - k)};
}

}  // namespace
}  // namespace quanto::kernels

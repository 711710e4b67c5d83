// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_bf16.h"
#include "quanto/kernels/cpu/linear_word_units.h"

// "panel_bf16": bfloat16 activations, or codes, in vectors of pairs.

namespace quanto::kernels {
namespace {

bool panel_bf16_supports(const LinearProblem& problem) {
  return terms_of(problem.input) == 1 &&
         word_tiles_support<VectorPairTiles>(problem);
}

void panel_bf16_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  run_pair_tiles<VectorPairTiles>(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels

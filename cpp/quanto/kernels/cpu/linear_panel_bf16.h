// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_bf16.h"
#include "quanto/kernels/cpu/linear_word_units.h"

// "panel_bf16": bfloat16 activations, or codes, in vectors of pairs;
// "panel_bf16_dense": the same of many rows by weights rounded to bfloat16.

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

bool panel_bf16_dense_supports(const LinearProblem& problem) {
  return dense_tiles_support<VectorWeightTiles>(problem);
}

void panel_bf16_dense_run(const LinearProblem& problem, const LinearArgs& args,
                          Executor& executor) {
  run_dense_tiles<VectorWeightTiles>(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels

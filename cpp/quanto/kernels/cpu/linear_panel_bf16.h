// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_pair_units.h"
#include "quanto/kernels/cpu/linear_tile_bf16.h"

// "panel_bf16": bfloat16 activations in vectors of pairs.

namespace quanto::kernels {
namespace {

bool panel_bf16_supports(const LinearProblem& problem) {
  return pair_tiles_support<VectorTiles>(problem);
}

void panel_bf16_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  run_pair_tiles<VectorTiles>(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels

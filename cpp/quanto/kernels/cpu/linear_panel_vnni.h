// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_vnni.h"
#include "quanto/kernels/cpu/linear_word_units.h"

// "panel_vnni": int8 codes of activations in vectors of bytes.

namespace quanto::kernels {
namespace {

bool panel_vnni_supports(const LinearProblem& problem) {
  return problem.m > kGemvRows && byte_tiles_support<VectorByteTiles>(problem);
}

void panel_vnni_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  run_byte_tiles<VectorByteTiles>(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels

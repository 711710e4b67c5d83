// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_tile_packed.h"
#include "quanto/kernels/cpu/linear_word_units.h"

// "panel_vnni", "panel_int8": int8 codes of activations by integer products in
// vectors, of one instruction where that is there.

namespace quanto::kernels {
namespace {

bool panel_int8_supports(const LinearProblem& problem) {
  return problem.m > kGemvRows && byte_tiles_support<SignedTiles>(problem);
}

void panel_int8_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  run_byte_tiles<SignedTiles, PackedTiles>(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels

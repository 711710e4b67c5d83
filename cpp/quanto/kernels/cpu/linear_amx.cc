// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/linear_pair_units.h"
#include "quanto/kernels/cpu/linear_tile_amx.h"
#include "quanto/kernels/cpu/tables.h"

// "panel_amx": bfloat16 activations in tile registers. The instruction set's
// other ways to run a linear problem are those of avx512_bf16.

namespace quanto::kernels {
namespace {

/// Rows from which tile registers pay.
constexpr int64_t kFewestRows = 5;

bool panel_amx_supports(const LinearProblem& problem) {
  return problem.m >= kFewestRows && pair_tiles_support<AmxTiles>(problem);
}

void panel_amx_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  run_pair_tiles<AmxTiles>(problem, args, executor);
}

constexpr LinearVariant kVariants[] = {
    {"panel_amx", panel_amx_supports, panel_amx_run}};

}  // namespace

LinearTable linear_amx_bf16() { return {kVariants, 1}; }

}  // namespace quanto::kernels

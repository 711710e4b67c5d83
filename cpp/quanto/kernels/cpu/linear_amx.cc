// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/linear_tile_amx.h"
#include "quanto/kernels/cpu/linear_word_units.h"
#include "quanto/kernels/cpu/tables.h"

// "panel_amx": activations of every dtype in tile registers, as bfloat16 terms;
// "panel_amx_int8": int8 codes; "panel_amx_dense": many rows of bfloat16 by
// packed weights that are rounded to bfloat16, as a dense weight is. The
// instruction set's other ways to run a linear problem are those of
// avx512_bf16.

namespace quanto::kernels {
namespace {

/// Rows from which tile registers pay.
constexpr int64_t kFewestRows = 5;

bool panel_amx_supports(const LinearProblem& problem) {
  return problem.m >= kFewestRows && word_tiles_support<AmxCodeTiles>(problem);
}

void panel_amx_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  run_pair_tiles<AmxCodeTiles>(problem, args, executor);
}

bool panel_amx_dense_supports(const LinearProblem& problem) {
  return dense_tiles_support<AmxWeightTiles>(problem);
}

void panel_amx_dense_run(const LinearProblem& problem, const LinearArgs& args,
                         Executor& executor) {
  run_dense_tiles<AmxWeightTiles>(problem, args, executor);
}

bool panel_amx_int8_supports(const LinearProblem& problem) {
  return problem.m >= kFewestRows && byte_tiles_support<AmxByteTiles>(problem);
}

void panel_amx_int8_run(const LinearProblem& problem, const LinearArgs& args,
                        Executor& executor) {
  run_byte_tiles<AmxByteTiles>(problem, args, executor);
}

constexpr LinearVariant kVariants[] = {
    {"panel_amx_int8", panel_amx_int8_supports, panel_amx_int8_run},
    {"panel_amx_dense", panel_amx_dense_supports, panel_amx_dense_run},
    {"panel_amx", panel_amx_supports, panel_amx_run}};

}  // namespace

LinearTable linear_amx_bf16(bool has_int8) {
  return has_int8 ? LinearTable{kVariants, 3} : LinearTable{kVariants + 1, 2};
}

}  // namespace quanto::kernels

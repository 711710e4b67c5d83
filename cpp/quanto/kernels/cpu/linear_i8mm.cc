// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/linear_tile_mmla.h"
#include "quanto/kernels/cpu/linear_word_units.h"
#include "quanto/kernels/cpu/tables.h"

// "panel_mmla": int8 codes of activations by products of matrices. The
// instruction set's other ways to run a linear problem are those of
// neon_dotprod.

namespace quanto::kernels {
namespace {

bool panel_mmla_supports(const LinearProblem& problem) {
  return problem.m > kGemvRows && byte_tiles_support<MatrixTiles>(problem);
}

void panel_mmla_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  run_byte_tiles<MatrixTiles>(problem, args, executor);
}

constexpr LinearVariant kVariants[] = {
    {"panel_mmla", panel_mmla_supports, panel_mmla_run}};

}  // namespace

LinearTable linear_neon_i8mm() { return {kVariants, 1}; }

}  // namespace quanto::kernels

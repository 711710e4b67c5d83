// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "quanto/kernels/conv.h"
#include "quanto/ops/temporary.h"
#include "quanto/ops/weight.h"

namespace quanto::ops {

/// `count` values of `dtype` in fp32.
std::vector<float> floats(const void* values, DType dtype, int64_t count);

/// The taps as `conv` takes them (kernels/conv.h): codes where an output has
/// one scale, values where groups of taps have theirs.
Temporary float_taps(const kernels::ConvProblem& problem,
                     const kernels::LinearProblem& linear,
                     const WeightMemory& weight, Executor& executor);

/// The same as `conv_tiles` takes them: codes in bfloat16, values in fp32.
Temporary tile_taps(const kernels::LinearProblem& linear,
                    const WeightMemory& weight, Executor& executor);

}  // namespace quanto::ops

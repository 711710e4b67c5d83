// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/dtype.h"
#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"

namespace quanto::scale {

/// Half-quadratic quantization (Badri and Shaji, 2023): starting from max(),
/// alternates a shrinkage step on the error (generalised soft threshold of the
/// l_p norm, p = lp_norm) with the closed-form shift, and keeps the scale.
struct HqqOptions {
  float lp_norm = 0.7F;
  float beta = 10.0F;
  float kappa = 1.01F;
  int iterations = 20;
};

/// As max(); stops at the first iteration that does not lower the mean absolute
/// error of the whole tensor. The sums are taken in double per group row and
/// then in row order, so the result does not depend on the threads. Takes
/// memory for a few numbers per group, not for the codes: rows are worked on by
/// blocks.
void hqq(const void* base, DType dtype, GroupLayout layout, int bits,
         const HqqOptions& options, void* scale, void* shift,
         Executor& executor);

}  // namespace quanto::scale

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"
#include "quanto/core/qtype.h"

namespace quanto::scale {

/// Symmetric scales: the largest |x| of each channel divided by qmax, both
/// rounded to `dtype` (that of base and scale, view.channels of them).
/// Throws std::invalid_argument if the base holds a non-finite value.
void absmax(const void* base, DType dtype, AxisView view, const QType& qtype,
            void* scale, Executor& executor);

}  // namespace quanto::scale

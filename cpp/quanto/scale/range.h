// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/dtype.h"
#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"

namespace quanto::scale {

/// max() (max.h), with the name that stands in its error messages.
void range_scale(const char* op, const void* base, DType dtype,
                 GroupLayout layout, int bits, void* scale, void* shift,
                 Executor& executor);

}  // namespace quanto::scale

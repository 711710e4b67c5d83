// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"
#include "quanto/ops/tensor.h"

namespace quanto::ops {

/// Float if the shift has `scale_dtype`, integer if it is uint8; throws
/// otherwise. int8 zero points pass for uint8 where `allow_int8` is set.
kernels::ShiftKind check_shift(const char* op, const Tensor& shift,
                               DType scale_dtype, bool allow_int8 = false);

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/shift.h"

#include "quanto/core/error.h"

namespace quanto::ops {

kernels::ShiftKind check_shift(const char* op, const Tensor& shift,
                               DType scale_dtype, bool allow_int8) {
  const auto dtype = find_dtype(shift);
  if (dtype == scale_dtype) return kernels::ShiftKind::kFloat;
  check_value(
      dtype == DType::kUInt8 || (allow_int8 && dtype == DType::kInt8),
      "{}: expected shift of {} (scale's dtype) or uint8 (zero points), got {}",
      op, name_of(scale_dtype), DtypeName{shift});
  return kernels::ShiftKind::kInteger;
}

}  // namespace quanto::ops

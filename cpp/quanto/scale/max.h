// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/dtype.h"
#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"

namespace quanto::scale {

/// Affine scale and shift of each group row, from its range:
/// scale = (max - min) / (2^bits - 1), shift = -min, each operation rounded to
/// `dtype` (that of base, scale and shift; layout.rows() of each).
/// Throws std::invalid_argument if the base holds a non-finite value.
void max(const void* base, DType dtype, GroupLayout layout, int bits,
         void* scale, void* shift, Executor& executor);

/// The integer zero points of float shifts: round(shift / scale) clamped to
/// [0, 2^bits - 1]. Under a zero scale, where only the codes' difference from
/// the zero point matters, that is a bound: the one of shift's sign, 0 for 0.
void zero_points(const void* scale, const void* shift, DType dtype,
                 int64_t rows, int bits, uint8_t* zero_points);

}  // namespace quanto::scale

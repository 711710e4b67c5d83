// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"

// The entries of the reference table; contracts in kernels.h.

namespace quanto::kernels::ref {

void absmax(const void* base, DType dtype, AxisView view, float* absmax,
            Executor& executor);

void min_max(const void* base, DType dtype, GroupLayout layout, float* min,
             float* max, Executor& executor);

void quantize_symmetric(const void* base, DType dtype, AxisView view,
                        const void* scale, DType storage, void* data,
                        Executor& executor);

void quantize_rows(const void* base, DType dtype, int64_t rows, int64_t columns,
                   DType storage, void* data, float* scale, Executor& executor);

void dequantize_symmetric(const void* data, DType storage, AxisView view,
                          const void* scale, DType dtype, void* out,
                          Executor& executor);

void quantize_affine(const void* base, DType dtype, GroupLayout layout,
                     int bits, const void* scale, const void* shift,
                     ShiftKind kind, uint8_t* codes, Executor& executor);

void dequantize_affine(const uint8_t* packed, GroupLayout layout, int bits,
                       const void* scale, const void* shift, ShiftKind kind,
                       DType dtype, void* out, Executor& executor);

void pack(const uint8_t* codes, int64_t rows, int64_t columns, int bits,
          uint8_t* packed, Executor& executor);

void unpack(const uint8_t* packed, int64_t packed_rows, int64_t columns,
            int bits, uint8_t* codes, Executor& executor);

void linear(const LinearProblem& problem, const LinearArgs& args,
            Executor& executor);

void conv(const ConvProblem& problem, const ConvArgs& args, Executor& executor);

}  // namespace quanto::kernels::ref

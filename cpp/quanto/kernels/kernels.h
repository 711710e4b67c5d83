// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "quanto/core/dtype.h"
#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"
#include "quanto/core/qtype.h"

// The kernels and their contracts. Kernels trust their caller: shapes, dtypes
// and ranges were checked where the request came in. They take raw pointers
// aligned to the element at best (data mapped from a file is aligned to one
// byte), never allocate, throw or print, and give the same result whatever the
// executor's number of threads. ref/ is the oracle for every one of them.

namespace quanto::kernels {

/// Affine codes: float shift `w = scale * q - shift`, in units of the weight;
/// integer shift (uint8 zero point) `w = scale * (q - shift)`.
enum class ShiftKind : uint8_t { kNone, kFloat, kInteger };

/// Largest |x| of each channel, in fp32 (exact). NaN if the channel holds one,
/// 0 if it is empty.
using Absmax = void (*)(const void* base, DType dtype, AxisView view,
                        float* absmax, Executor& executor);

/// Smallest and largest element of each group row, in fp32 (exact). Both are
/// NaN if the row holds one, 0 if it is empty.
using MinMax = void (*)(const void* base, DType dtype, GroupLayout layout,
                        float* min, float* max, Executor& executor);

/// q = base / scale, rounded to `dtype`; then half to even and clamped to
/// [-128, 127] for kInt8, clamped to the type's finite range and converted for
/// a float8 type. `dtype` is that of base and scale; one scale per channel.
/// A NaN quotient gives NaN in a float8 type and 0 in kInt8; codes under a zero
/// scale are 0.
using QuantizeSymmetric = void (*)(const void* base, DType dtype, AxisView view,
                                   const void* scale, DType storage, void* data,
                                   Executor& executor);

/// w = scale * q, the product rounded to `dtype`, the dtype of scale and out.
using DequantizeSymmetric = void (*)(const void* data, DType storage,
                                     AxisView view, const void* scale,
                                     DType dtype, void* out,
                                     Executor& executor);

/// Codes of a code matrix (grouping.h), one byte each, clamped to
/// [0, 2^bits - 1]. Float shift: round((base + shift) / scale), sum and
/// quotient rounded to `dtype`; integer shift: round(base / scale) + shift.
/// `dtype` is that of base, scale and a float shift. Codes under a zero scale
/// are 0 (float shift) or the zero point (integer shift); a NaN quotient gives
/// code 0.
using QuantizeAffine = void (*)(const void* base, DType dtype,
                                GroupLayout layout, int bits, const void* scale,
                                const void* shift, ShiftKind kind,
                                uint8_t* codes, Executor& executor);

/// The weight in its base layout from the packed code matrix (packing.h):
/// scale * q - shift or scale * (q - shift), rounded to `dtype` after each
/// operation.
using DequantizeAffine = void (*)(const uint8_t* packed, GroupLayout layout,
                                  int bits, const void* scale,
                                  const void* shift, ShiftKind kind,
                                  DType dtype, void* out, Executor& executor);

/// Code matrix [rows][columns] to packed [packed_rows][columns], and back to
/// all packed_rows * 8 / bits rows. Input codes are masked to their bits.
using Pack = void (*)(const uint8_t* codes, int64_t rows, int64_t columns,
                      int bits, uint8_t* packed, Executor& executor);
using Unpack = void (*)(const uint8_t* packed, int64_t packed_rows,
                        int64_t columns, int bits, uint8_t* codes,
                        Executor& executor);

/// Codes of a matrix with one scale for each row, chosen here: scale[row] =
/// max |base[row]| / largest code of `storage` (int8 or a float8 type), in
/// fp32; q = base / scale in fp32, rounded as by QuantizeSymmetric. A row of
/// zeros has scale 0 and codes 0; a NaN or an infinity in a row makes its scale
/// that.
using QuantizeRows = void (*)(const void* base, DType dtype, int64_t rows,
                              int64_t columns, DType storage, void* data,
                              float* scale, Executor& executor);

/// How codes of activations are scaled: kNone for float activations, one scale,
/// or one for each row of x.
enum class InputScale : uint8_t { kNone, kTensor, kRow };

/// y[m][n] = input_scale[m] * sum over k of x[m][k] * w[n][k], plus bias[n].
struct LinearProblem {
  int64_t m;
  int64_t n;
  int64_t k;
  DType input;  ///< of x: `activation`, or int8 or a float8 type: codes
  InputScale input_scale;  ///< kNone if and only if x is float
  DType activation;        ///< of bias and output
  QTypeId weight;          ///< every qtype
  int64_t group_size;      ///< divides k; k itself: one scale per output
  bool per_tensor;         ///< a single scale (8 bits only)
  DType scale;             ///< of the scales and of a float shift
  ShiftKind shift;         ///< kNone for 8 bits
};

/// Row-major, contiguous. `bias` may be null. `data` is [n][k] of the qtype's
/// storage for 8 bits, the packed group rows for 4 and 2 (packing.h).
struct LinearArgs {
  const void* input;
  const float* input_scale;  ///< none, 1 or m values, as the problem says
  const void* data;
  const void* scale;
  const void* shift;
  const void* bias;
  void* output;
};

/// Accumulates in fp32 or wider, or exactly in int32; the activation is never
/// rounded below its own dtype and the weight is exact up to one fp32 rounding.
/// What is left below 2^-125 of an fp32 or bfloat16 activation may be lost.
using Linear = void (*)(const LinearProblem& problem, const LinearArgs& args,
                        Executor& executor);

/// One way to run a linear problem. Ways stand in an ordered list and the
/// first that supports a problem takes it.
struct LinearVariant {
  std::string_view name;
  bool (*supports)(const LinearProblem& problem);
  Linear run;
};

struct ConvProblem;
struct ConvArgs;
/// A convolution without patches (conv.h).
using Conv = void (*)(const ConvProblem& problem, const ConvArgs& args,
                      Executor& executor);

/// The kernels of one instruction set.
struct KernelTable {
  std::string_view isa;
  Absmax absmax;
  MinMax min_max;
  QuantizeSymmetric quantize_symmetric;
  QuantizeRows quantize_rows;
  DequantizeSymmetric dequantize_symmetric;
  QuantizeAffine quantize_affine;
  DequantizeAffine dequantize_affine;
  Pack pack;
  Unpack unpack;
  Conv conv;
  Conv conv_tiles;              ///< of bfloat16 in tile registers, or null
  const LinearVariant* linear;  ///< the last one supports everything
  int64_t linear_count;
};

/// The variant of `table` that takes `problem`.
const LinearVariant& plan_linear(const KernelTable& table,
                                 const LinearProblem& problem);

}  // namespace quanto::kernels

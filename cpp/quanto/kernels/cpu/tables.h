// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"

// What each source compiled once per instruction set exports: one function
// that returns its part of the kernel table. dispatch.cc puts them together.

namespace quanto::kernels {

struct ReduceTable {
  Absmax absmax;
  MinMax min_max;
};

struct QuantizeTable {
  QuantizeSymmetric symmetric;
  QuantizeRows rows;
  QuantizeAffine affine;
};

struct DequantizeTable {
  DequantizeSymmetric symmetric;
  DequantizeAffine affine;
};

struct PackTable {
  Pack pack;
  Unpack unpack;
};

struct ElementwiseTable {
  ReduceTable reduce;
  QuantizeTable quantize;
  DequantizeTable dequantize;
  PackTable pack;
  Conv conv;
  Conv conv_tiles;
};

struct LinearTable {
  const LinearVariant* variants;
  int64_t count;
};

ReduceTable reduce_avx2();
ReduceTable reduce_avx512();
ReduceTable reduce_neon();

QuantizeTable quantize_avx2();
QuantizeTable quantize_avx512();
QuantizeTable quantize_neon();

DequantizeTable dequantize_avx2();
DequantizeTable dequantize_avx512();
DequantizeTable dequantize_neon();

PackTable pack_avx2();
PackTable pack_avx512();
PackTable pack_neon();

Conv conv_avx2();
Conv conv_avx512();
Conv conv_neon();
/// In tile registers.
Conv conv_amx_bf16();

LinearTable linear_avx2();
LinearTable linear_avx_vnni();
LinearTable linear_avx512();
LinearTable linear_avx512_bf16();
/// What avx512_bf16 lacks: tile registers, of int8 too where the CPU has those.
LinearTable linear_amx_bf16(bool has_int8);
LinearTable linear_neon();
LinearTable linear_neon_dotprod();
/// What neon_dotprod lacks: products of matrices.
LinearTable linear_neon_i8mm();

}  // namespace quanto::kernels

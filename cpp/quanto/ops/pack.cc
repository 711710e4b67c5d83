// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/error.h"
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

void check_codes(const char* op, const Tensor& self, int64_t bits) {
  check_packed_bits(op, bits);
  check_dtype(op, "self", self, DType::kUInt8);
  check_value(self.dim() > 0, "{}: expected at least 1 dimension, got 0", op);
}

/// `self`'s shape with another first dimension.
SmallShape with_rows(const Tensor& self, int64_t rows) {
  SmallShape shape;
  for (const int64_t size : sizes_of(self)) shape.push(size);
  shape.dims[0] = rows;
  return shape;
}

int64_t columns_of(const Tensor& self) {
  int64_t columns = 1;
  for (const int64_t size : sizes_of(self).subspan(1)) columns *= size;
  return columns;
}

Tensor pack_cpu(const Tensor& self, int64_t bits) {
  check_cpu("pack", {&self});
  check_codes("pack", self, bits);
  const int64_t rows = self.size(0), columns = columns_of(self);
  const int width = static_cast<int>(bits);
  Tensor packed =
      empty(with_rows(self, packed_rows(rows, width)).sizes(), DType::kUInt8);
  if (rows * columns == 0) return packed;
  const Tensor codes = contiguous(self);
  TorchExecutor executor;
  kernels::kernels().pack(
      static_cast<const uint8_t*>(codes.const_data_ptr()), rows, columns, width,
      static_cast<uint8_t*>(packed.mutable_data_ptr()), executor);
  return packed;
}

Tensor pack_meta(const Tensor& self, int64_t bits) {
  check_meta("pack", {&self});
  check_codes("pack", self, bits);
  // Every (8 / bits)-th row: that many rows, rounded up, are the packed ones.
  return aten::like(aten::every(self, codes_per_byte(static_cast<int>(bits))),
                    DType::kUInt8);
}

Tensor unpack_cpu(const Tensor& self, int64_t bits) {
  check_cpu("unpack", {&self});
  check_codes("unpack", self, bits);
  const int64_t rows = self.size(0), columns = columns_of(self);
  const int width = static_cast<int>(bits);
  Tensor codes = empty(with_rows(self, rows * codes_per_byte(width)).sizes(),
                       DType::kUInt8);
  if (rows * columns == 0) return codes;
  const Tensor packed = contiguous(self);
  TorchExecutor executor;
  kernels::kernels().unpack(
      static_cast<const uint8_t*>(packed.const_data_ptr()), rows, columns,
      width, static_cast<uint8_t*>(codes.mutable_data_ptr()), executor);
  return codes;
}

Tensor unpack_meta(const Tensor& self, int64_t bits) {
  check_meta("unpack", {&self});
  check_codes("unpack", self, bits);
  return aten::like(aten::repeat(self, codes_per_byte(static_cast<int>(bits))),
                    DType::kUInt8);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("pack", TORCH_BOX(&pack_cpu));
  m.impl("unpack", TORCH_BOX(&unpack_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("pack", TORCH_BOX(&pack_meta));
  m.impl("unpack", TORCH_BOX(&unpack_meta));
}

}  // namespace quanto::ops

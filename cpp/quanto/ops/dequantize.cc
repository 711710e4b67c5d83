// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/shift.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::ShiftKind;

constexpr const char* kSymmetric = "dequantize_symmetric";
constexpr const char* kAffine = "dequantize_affine";

Tensor dequantize_symmetric_cpu(const Tensor& data, std::optional<int64_t> axis,
                                const Tensor& scale) {
  check_cpu(kSymmetric, {&data, &scale});
  const DType storage = check_8bit(kSymmetric, "data", data);
  const DType dtype = check_float(kSymmetric, "scale", scale);
  const AxisView view = axis_view(kSymmetric, sizes_of(data), axis);
  check_axis_scale(kSymmetric, scale, sizes_of(data), axis);

  Tensor out = empty(sizes_of(data), dtype);
  if (view.numel() == 0) return out;
  const Tensor codes = contiguous(data), scales = contiguous(scale);
  TorchExecutor executor;
  kernels::kernels().dequantize_symmetric(codes.const_data_ptr(), storage, view,
                                          scales.const_data_ptr(), dtype,
                                          out.mutable_data_ptr(), executor);
  return out;
}

Tensor dequantize_symmetric_meta(const Tensor& data, std::optional<int64_t>,
                                 const Tensor& scale) {
  check_meta(kSymmetric, {&data, &scale});
  check_8bit(kSymmetric, "data", data);
  return aten::like(data, check_float(kSymmetric, "scale", scale));
}

struct Dtypes {
  DType scale;
  ShiftKind shift;
};

Dtypes check_affine_dtypes(const Tensor& data, int64_t bits,
                           const Tensor& scale, const Tensor& shift) {
  check_packed_bits(kAffine, bits);
  check_dtype(kAffine, "data", data, DType::kUInt8);
  const DType dtype = check_float(kAffine, "scale", scale);
  return {dtype, check_shift(kAffine, shift, dtype)};
}

/// Codes without groups are packed along the weight's first dimension. Along
/// the last axis of more than two that is not the code matrix's row
/// (grouping.h), which has all other dimensions: this packs them along that.
Tensor packed_by_code_rows(const Tensor& data, int64_t rows,
                           const GroupLayout& layout, int bits,
                           Executor& executor) {
  const auto& table = kernels::kernels();
  const int64_t packed = packed_rows(rows, bits);
  const int64_t columns = layout.numel() / rows;
  const int64_t code_shape[2] = {packed * codes_per_byte(bits), columns};
  const Tensor codes = empty(code_shape, DType::kUInt8);
  auto* bytes = static_cast<uint8_t*>(codes.mutable_data_ptr());
  table.unpack(static_cast<const uint8_t*>(data.const_data_ptr()), packed,
               columns, bits, bytes, executor);
  const int64_t out_shape[2] = {packed_rows(layout.code_rows(), bits),
                                layout.code_columns()};
  Tensor out = empty(out_shape, DType::kUInt8);
  table.pack(bytes, layout.code_rows(), layout.code_columns(), bits,
             static_cast<uint8_t*>(out.mutable_data_ptr()), executor);
  return out;
}

Tensor dequantize_affine_cpu(const Tensor& data, int64_t bits, int64_t axis,
                             std::optional<int64_t> group_size,
                             const std::vector<int64_t>& size,
                             const Tensor& scale, const Tensor& shift) {
  check_cpu(kAffine, {&data, &scale, &shift});
  const Dtypes dtypes = check_affine_dtypes(data, bits, scale, shift);
  const int width = static_cast<int>(bits);
  const bool grouped = group_size.has_value();
  const GroupLayout layout = group_layout(kAffine, size, axis, group_size);
  SmallShape packed = code_shape(size, layout, grouped);
  packed.dims[0] = packed_rows(packed.dims[0], width);
  check_shape(kAffine, "data", data, packed.sizes());
  const SmallShape scale_shape = group_scale_shape(size, layout, grouped);
  check_shape(kAffine, "scale", scale, scale_shape.sizes());
  check_shape(kAffine, "shift", shift, scale_shape.sizes());

  Tensor out = empty(size, dtypes.scale);
  if (layout.numel() == 0) return out;
  TorchExecutor executor;
  const Tensor scales = contiguous(scale), shifts = contiguous(shift);
  Tensor codes = contiguous(data);
  if (layout.last_axis && !grouped && size.size() > 2) {
    codes = packed_by_code_rows(codes, size[0], layout, width, executor);
  }
  kernels::kernels().dequantize_affine(
      static_cast<const uint8_t*>(codes.const_data_ptr()), layout, width,
      scales.const_data_ptr(), shifts.const_data_ptr(), dtypes.shift,
      dtypes.scale, out.mutable_data_ptr(), executor);
  return out;
}

Tensor dequantize_affine_meta(const Tensor& data, int64_t bits, int64_t axis,
                              std::optional<int64_t> group_size,
                              const std::vector<int64_t>& size,
                              const Tensor& scale, const Tensor& shift) {
  check_meta(kAffine, {&data, &scale, &shift});
  const Dtypes dtypes = check_affine_dtypes(data, bits, scale, shift);
  group_layout(kAffine, size, axis, group_size);
  return aten::new_empty(data, size, dtypes.scale);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("dequantize_symmetric", TORCH_BOX(&dequantize_symmetric_cpu));
  m.impl("dequantize_affine", TORCH_BOX(&dequantize_affine_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("dequantize_symmetric", TORCH_BOX(&dequantize_symmetric_meta));
  m.impl("dequantize_affine", TORCH_BOX(&dequantize_affine_meta));
}

}  // namespace quanto::ops

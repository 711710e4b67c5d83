// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/shift.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::ShiftKind;

constexpr const char* kOp = "quantize_affine";

struct Dtypes {
  DType base;
  ShiftKind shift;
};

Dtypes check_dtypes(const Tensor& base, int64_t bits, const Tensor& scale,
                    const Tensor& shift) {
  check_packed_bits(kOp, bits);
  const DType dtype = check_float(kOp, "base", base);
  check_dtype(kOp, "scale", scale, dtype);
  return {dtype, check_shift(kOp, shift, dtype, /*allow_int8=*/true)};
}

/// Zero points as bytes: int8 ones are the same bytes unless they are negative.
const void* zero_points(const Tensor& shift) {
  const void* data = shift.const_data_ptr();
  if (find_dtype(shift) == DType::kInt8) {
    const auto* points = static_cast<const int8_t*>(data);
    for (int64_t i = 0; i < shift.numel(); ++i) {
      check_value(points[i] >= 0,
                  "{}: expected zero points of 0 or more, got {}", kOp,
                  int{points[i]});
    }
  }
  return data;
}

Tensor quantize_affine_cpu(const Tensor& base, int64_t bits, int64_t axis,
                           std::optional<int64_t> group_size,
                           const Tensor& scale, const Tensor& shift) {
  check_cpu(kOp, {&base, &scale, &shift});
  const Dtypes dtypes = check_dtypes(base, bits, scale, shift);
  const Sizes sizes = sizes_of(base);
  const bool grouped = group_size.has_value();
  const GroupLayout layout = group_layout(kOp, sizes, axis, group_size);
  const SmallShape scale_shape = group_scale_shape(sizes, layout, grouped);
  check_shape(kOp, "scale", scale, scale_shape.sizes());
  check_shape(kOp, "shift", shift, scale_shape.sizes());
  const Tensor shifts = contiguous(shift);
  const void* shift_data = zero_points(shifts);

  Tensor codes =
      empty(code_shape(sizes, layout, grouped).sizes(), DType::kUInt8);
  if (layout.numel() == 0) return codes;
  const Tensor base_rows = contiguous(base), scales = contiguous(scale);
  TorchExecutor executor;
  kernels::kernels().quantize_affine(
      base_rows.const_data_ptr(), dtypes.base, layout, static_cast<int>(bits),
      scales.const_data_ptr(), shift_data, dtypes.shift,
      static_cast<uint8_t*>(codes.mutable_data_ptr()), executor);
  return codes;
}

Tensor quantize_affine_meta(const Tensor& base, int64_t bits, int64_t axis,
                            std::optional<int64_t> group_size,
                            const Tensor& scale, const Tensor& shift) {
  check_meta(kOp, {&base, &scale, &shift});
  check_dtypes(base, bits, scale, shift);
  if (!group_size) return aten::like(base, DType::kUInt8);
  const int64_t by_rows[2] = {-1, *group_size};
  const int64_t by_columns[2] = {*group_size, -1};
  return aten::like(aten::reshape(base, axis == 0 ? by_rows : by_columns),
                    DType::kUInt8);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("quantize_affine", TORCH_BOX(&quantize_affine_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("quantize_affine", TORCH_BOX(&quantize_affine_meta));
}

}  // namespace quanto::ops

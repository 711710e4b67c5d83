// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/error.h"
#include "quanto/core/qtype.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using torch::headeronly::ScalarType;

constexpr const char* kOp = "quantize_symmetric";

/// Base's dtype; `storage` is set to the codes' one.
DType check_dtypes(const Tensor& base, ScalarType dtype, const Tensor& scale,
                   DType* storage) {
  const auto found = find_dtype(dtype);
  check_value(found && find_8bit_qtype(*found) != nullptr,
              "{}: expected dtype int8, float8_e4m3fn, float8_e5m2 or "
              "float8_e4m3fnuz, got {}",
              kOp, dtype_name(dtype));
  *storage = *found;
  const DType float_dtype = check_float(kOp, "base", base);
  check_dtype(kOp, "scale", scale, float_dtype);
  return float_dtype;
}

AxisView check_sizes(Sizes sizes, std::optional<int64_t> axis,
                     const Tensor& scale) {
  const AxisView view = axis_view(kOp, sizes, axis);
  check_value(!axis || view.channels != 1,
              "{}: expected more than one index along axis {}, got a base of "
              "shape {}",
              kOp, axis.value_or(0), Shape{sizes});
  check_axis_scale(kOp, scale, sizes, axis);
  return view;
}

Tensor quantize_symmetric_cpu(const Tensor& base, ScalarType dtype,
                              std::optional<int64_t> axis,
                              const Tensor& scale) {
  check_cpu(kOp, {&base, &scale});
  DType storage;
  const DType float_dtype = check_dtypes(base, dtype, scale, &storage);
  const AxisView view = check_sizes(sizes_of(base), axis, scale);

  Tensor data = empty(sizes_of(base), storage);
  if (view.numel() == 0) return data;
  const Tensor base_rows = contiguous(base), scales = contiguous(scale);
  TorchExecutor executor;
  kernels::kernels().quantize_symmetric(base_rows.const_data_ptr(), float_dtype,
                                        view, scales.const_data_ptr(), storage,
                                        data.mutable_data_ptr(), executor);
  return data;
}

Tensor quantize_symmetric_meta(const Tensor& base, ScalarType dtype,
                               std::optional<int64_t>, const Tensor& scale) {
  check_meta(kOp, {&base, &scale});
  DType storage;
  check_dtypes(base, dtype, scale, &storage);
  return aten::like(base, storage);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("quantize_symmetric", TORCH_BOX(&quantize_symmetric_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("quantize_symmetric", TORCH_BOX(&quantize_symmetric_meta));
}

}  // namespace quanto::ops

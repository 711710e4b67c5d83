// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/linear.h"

#include <cstring>

#include "quanto/core/error.h"
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/shift.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;
using kernels::ShiftKind;

const Tensor* pointer(const std::optional<Tensor>& tensor) {
  return tensor ? &*tensor : nullptr;
}

/// Everything that does not depend on a size: the types, in `problem`.
void check_types(const char* op, const Tensor& input, const Tensor& data,
                 const Tensor& scale, const Tensor* shift, const Tensor* bias,
                 int64_t bits, LinearProblem* problem) {
  problem->activation = check_float(op, "input", input);
  problem->scale = check_float(op, "scale", scale);
  if (bias) check_dtype(op, "bias", *bias, problem->activation);
  if (bits == 8) {
    problem->weight = find_8bit_qtype(check_8bit(op, "data", data))->id;
    check_value(shift == nullptr, "{}: expected no shift with 8 bits, got one",
                op);
    problem->shift = ShiftKind::kNone;
    return;
  }
  check_value(bits == 4 || bits == 2, "{}: expected 8, 4 or 2 bits, got {}", op,
              bits);
  check_dtype(op, "data", data, DType::kUInt8);
  check_value(shift != nullptr, "{}: expected a shift with {} bits, got none",
              op, bits);
  problem->weight = bits == 4 ? QTypeId::kQInt4 : QTypeId::kQInt2;
  problem->shift = check_shift(op, *shift, problem->scale);
}

void check_weight_8bit(const char* op, const Tensor& data, const Tensor& scale,
                       std::optional<int64_t> group_size,
                       LinearProblem* problem) {
  const int64_t n = problem->n, k = problem->k;
  const Sizes sizes = sizes_of(data);
  check_value(sizes.size() == 2 && sizes[0] == n && sizes[1] == k,
              "{}: expected data of shape ({}, {}), got {}", op, n, k,
              Shape{sizes});
  check_value(!group_size, "{}: expected no group_size with 8 bits, got {}", op,
              group_size.value_or(0));
  const int64_t scales = scale.numel();
  check_value(scales == n || scales == 1,
              "{}: expected a scale of 1 or {} elements, got {}", op, n,
              scales);
  problem->group_size = k;
  problem->per_tensor = scales == 1;
}

void check_weight_packed(const char* op, const Tensor& data,
                         const Tensor& scale, const Tensor& shift,
                         std::optional<int64_t> group_size, int bits,
                         LinearProblem* problem) {
  const int64_t n = problem->n, k = problem->k;
  const int64_t group = group_size.value_or(k);
  check_value(k == 0 || (group > 0 && k % group == 0),
              "{}: expected group_size to divide {}, got {}", op, k, group);
  const int64_t rows = k == 0 ? n : n * (k / group);
  const int64_t bytes = packed_rows(rows, bits) * group;
  check_value(data.numel() == bytes,
              "{}: expected data of {} bytes, got {} of shape {}", op, bytes,
              data.numel(), shape_of(data));
  check_value(scale.numel() == rows && shift.numel() == rows,
              "{}: expected a scale and a shift of {} elements, got {} and {}",
              op, rows, scale.numel(), shift.numel());
  problem->group_size = group;
  problem->per_tensor = false;
}

/// Without columns the sum is empty: zeros, or the bias in every row.
void fill_with_bias(const Tensor* bias, int64_t m, int64_t row_bytes,
                    void* out) {
  if (!bias) {
    std::memset(out, 0, static_cast<size_t>(m * row_bytes));
    return;
  }
  const Tensor row = contiguous(*bias);
  for (int64_t i = 0; i < m; ++i) {
    std::memcpy(static_cast<std::byte*>(out) + i * row_bytes,
                row.const_data_ptr(), static_cast<size_t>(row_bytes));
  }
}

void run(const LinearProblem& problem, const Tensor& input, const Tensor& data,
         const Tensor& scale, const Tensor* shift, const Tensor* bias,
         void* out) {
  const Tensor x = contiguous(input), w = contiguous(data),
               s = contiguous(scale);
  const Tensor& z = shift ? contiguous(*shift) : s;
  const Tensor& b = bias ? contiguous(*bias) : s;
  const kernels::LinearArgs args{
      x.const_data_ptr(),
      w.const_data_ptr(),
      s.const_data_ptr(),
      shift ? z.const_data_ptr() : nullptr,
      bias ? b.const_data_ptr() : nullptr,
      out,
  };
  TorchExecutor executor;
  kernels::plan_linear(kernels::kernels(), problem)
      .run(problem, args, executor);
}

Tensor linear_cpu_kernel(const Tensor& input, const Tensor& data,
                         const Tensor& scale,
                         const std::optional<Tensor>& shift,
                         const std::optional<Tensor>& bias, int64_t bits,
                         std::optional<int64_t> group_size,
                         int64_t out_features) {
  return linear_cpu("linear", input, data, scale, pointer(shift), pointer(bias),
                    bits, group_size, out_features);
}

Tensor linear_meta(const Tensor& input, const Tensor& data, const Tensor& scale,
                   const std::optional<Tensor>& shift,
                   const std::optional<Tensor>& bias, int64_t bits,
                   std::optional<int64_t>, int64_t out_features) {
  check_meta("linear", {&input, &data, &scale, pointer(shift), pointer(bias)});
  LinearProblem problem{};
  check_types("linear", input, data, scale, pointer(shift), pointer(bias), bits,
              &problem);
  return linear_result_meta(input, out_features, problem.activation);
}

}  // namespace

Tensor linear_cpu(const char* op, const Tensor& input, const Tensor& data,
                  const Tensor& scale, const Tensor* shift, const Tensor* bias,
                  int64_t bits, std::optional<int64_t> group_size,
                  int64_t out_features) {
  check_cpu(op, {&input, &data, &scale, shift, bias});
  LinearProblem problem{};
  check_types(op, input, data, scale, shift, bias, bits, &problem);
  SmallShape shape;
  for (const int64_t size : sizes_of(input)) shape.push(size);
  check_value(shape.count > 0,
              "{}: expected an input of at least 1 dimension, got 0", op);
  problem.m = 1;
  for (size_t i = 0; i + 1 < shape.count; ++i) problem.m *= shape.dims[i];
  problem.n = out_features;
  problem.k = shape.dims[shape.count - 1];
  check_value(!bias || bias->numel() == problem.n,
              "{}: expected a bias of {} elements, got {}", op, problem.n,
              bias ? bias->numel() : 0);
  if (bits == 8) {
    check_weight_8bit(op, data, scale, group_size, &problem);
  } else {
    check_weight_packed(op, data, scale, *shift, group_size,
                        static_cast<int>(bits), &problem);
  }

  shape.dims[shape.count - 1] = problem.n;
  Tensor out = empty(shape.sizes(), problem.activation);
  if (problem.m == 0 || problem.n == 0) return out;
  if (problem.k == 0) {
    fill_with_bias(bias, problem.m, problem.n * size_of(problem.activation),
                   out.mutable_data_ptr());
  } else {
    run(problem, input, data, scale, shift, bias, out.mutable_data_ptr());
  }
  return out;
}

Tensor linear_result_meta(const Tensor& input, int64_t out_features,
                          DType dtype) {
  const int64_t last[1] = {-1};
  const int64_t columns[1] = {out_features};
  return aten::like(aten::mul(aten::sum(input, last, /*keepdim=*/true),
                              aten::new_empty(input, columns, dtype)),
                    dtype);
}

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("linear", TORCH_BOX(&linear_cpu_kernel));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("linear", TORCH_BOX(&linear_meta));
}

}  // namespace quanto::ops

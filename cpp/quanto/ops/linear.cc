// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/linear.h"

#include <cstring>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;
using torch::headeronly::ScalarType;

/// Everything that does not depend on a size: the types, in `problem`.
void check_types(const char* op, const Activations& activations,
                 const Weight& weight, const Tensor* bias,
                 LinearProblem* problem) {
  check_weight_types(op, weight, problem);
  check_activation_types(op, activations, problem);
  if (bias) check_dtype(op, "bias", *bias, problem->activation);
}

/// Throws unless out_features is given where data's rows are not the outputs.
void check_out_features(const char* op, const Weight& weight,
                        std::optional<int64_t> out_features) {
  check_value(out_features || weight.bits == 8,
              "{}: expected out_features with {} bits, got none", op,
              weight.bits);
}

/// The result's shape; m, n, k and the groups in `problem`.
SmallShape check_sizes(const char* op, const Activations& activations,
                       const Weight& weight, const Tensor* bias,
                       std::optional<int64_t> outputs, LinearProblem* problem) {
  check_out_features(op, weight, outputs);
  const Sizes rows = outputs ? Sizes() : sizes_of(weight.data);
  const int64_t out_features = outputs.value_or(rows.empty() ? 0 : rows[0]);
  SmallShape shape;
  for (const int64_t size : sizes_of(activations.input)) shape.push(size);
  check_value(shape.count > 0,
              "{}: expected an input of at least 1 dimension, got 0", op);
  problem->m = 1;
  for (size_t i = 0; i + 1 < shape.count; ++i) problem->m *= shape.dims[i];
  check_activation_scales(op, activations);
  check_value(!bias || bias->numel() == out_features,
              "{}: expected a bias of {} elements, got {}", op, out_features,
              bias ? bias->numel() : 0);
  const int64_t size[2] = {out_features, shape.dims[shape.count - 1]};
  check_weight_sizes(op, weight, size, problem);
  shape.dims[shape.count - 1] = out_features;
  return shape;
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

void run(const LinearProblem& problem, const Activations& activations,
         const Weight& weight, const Tensor* bias, void* out,
         Executor& executor) {
  if (problem.k == 0) {
    fill_with_bias(bias, problem.m, problem.n * size_of(problem.activation),
                   out);
    return;
  }
  const KernelInput x(activations, problem, problem.m, problem.k, executor);
  const WeightMemory w(weight);
  const Tensor& b = bias ? contiguous(*bias) : w.scale;
  const kernels::LinearArgs args{
      x.data(),
      x.scale(),
      w.data.const_data_ptr(),
      w.scale.const_data_ptr(),
      w.shift_data(),
      bias ? b.const_data_ptr() : nullptr,
      out,
  };
  kernels::plan_linear(kernels::kernels(), problem)
      .run(problem, args, executor);
}

Tensor linear_cpu_kernel(const Tensor& input, const Tensor& data,
                         const Tensor& scale,
                         const std::optional<Tensor>& shift,
                         const std::optional<Tensor>& bias, int64_t bits,
                         std::optional<int64_t> group_size,
                         std::optional<int64_t> out_features) {
  return linear_cpu("linear", {input, nullptr, nullptr, std::nullopt},
                    {data, scale, pointer(shift), bits, group_size},
                    pointer(bias), out_features);
}

Tensor linear_meta_kernel(const Tensor& input, const Tensor& data,
                          const Tensor& scale,
                          const std::optional<Tensor>& shift,
                          const std::optional<Tensor>& bias, int64_t bits,
                          std::optional<int64_t> group_size,
                          std::optional<int64_t> out_features) {
  return linear_meta("linear", {input, nullptr, nullptr, std::nullopt},
                     {data, scale, pointer(shift), bits, group_size},
                     pointer(bias), out_features);
}

Tensor qlinear_cpu(const Tensor& input,
                   const std::optional<Tensor>& input_scale, const Tensor& data,
                   const Tensor& scale, const std::optional<Tensor>& shift,
                   const std::optional<Tensor>& bias, int64_t bits,
                   std::optional<int64_t> group_size, int64_t out_features,
                   ScalarType activation,
                   const std::optional<Tensor>& output_scale) {
  const DType storage = check_storage("qlinear", activation);
  return linear_cpu(
      "qlinear", {input, pointer(input_scale), pointer(output_scale), storage},
      {data, scale, pointer(shift), bits, group_size}, pointer(bias),
      out_features);
}

Tensor qlinear_meta(const Tensor& input,
                    const std::optional<Tensor>& input_scale,
                    const Tensor& data, const Tensor& scale,
                    const std::optional<Tensor>& shift,
                    const std::optional<Tensor>& bias, int64_t bits,
                    std::optional<int64_t> group_size, int64_t out_features,
                    ScalarType activation,
                    const std::optional<Tensor>& output_scale) {
  const DType storage = check_storage("qlinear", activation);
  return linear_meta(
      "qlinear", {input, pointer(input_scale), pointer(output_scale), storage},
      {data, scale, pointer(shift), bits, group_size}, pointer(bias),
      out_features);
}

}  // namespace

Tensor linear_cpu(const char* op, const Activations& activations,
                  const Weight& weight, const Tensor* bias,
                  std::optional<int64_t> out_features) {
  check_cpu(op, {&activations.input, activations.input_scale, &weight.data,
                 &weight.scale, weight.shift, bias, activations.output_scale});
  LinearProblem problem{};
  check_types(op, activations, weight, bias, &problem);
  const SmallShape shape =
      check_sizes(op, activations, weight, bias, out_features, &problem);

  Tensor out = empty(shape.sizes(), activations.output(problem.activation));
  const int64_t count = problem.m * problem.n;
  if (count == 0) return out;
  TorchExecutor executor;
  if (activations.output_scale == nullptr) {
    run(problem, activations, weight, bias, out.mutable_data_ptr(), executor);
    return out;
  }
  const Temporary values(
      static_cast<size_t>(count * size_of(problem.activation)));
  run(problem, activations, weight, bias, values.data(), executor);
  quantize_output(activations, problem.activation, values.data(), count,
                  out.mutable_data_ptr(), executor);
  return out;
}

Tensor linear_meta(const char* op, const Activations& activations,
                   const Weight& weight, const Tensor* bias,
                   std::optional<int64_t> out_features) {
  check_meta(op, {&activations.input, activations.input_scale, &weight.data,
                  &weight.scale, weight.shift, bias, activations.output_scale});
  LinearProblem problem{};
  check_types(op, activations, weight, bias, &problem);
  check_out_features(op, weight, out_features);
  // (..., 1) times (out_features,): the last dimension is replaced.
  const int64_t last[1] = {-1};
  const int64_t columns[1] = {out_features.value_or(0)};
  const Tensor input = aten::like(activations.input, problem.activation);
  const Tensor row =
      out_features
          ? aten::new_empty(input, columns, problem.activation)
          : aten::sum(aten::like(weight.data, problem.activation), last, false);
  const Tensor result =
      aten::mul(aten::sum(input, last, /*keepdim=*/true), row);
  return aten::like(result, activations.output(problem.activation));
}

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("linear", TORCH_BOX(&linear_cpu_kernel));
  m.impl("qlinear", TORCH_BOX(&qlinear_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("linear", TORCH_BOX(&linear_meta_kernel));
  m.impl("qlinear", TORCH_BOX(&qlinear_meta));
}

}  // namespace quanto::ops

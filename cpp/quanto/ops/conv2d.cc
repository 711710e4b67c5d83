// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/conv2d_run.h"
#include "quanto/ops/conv2d_way.h"
#include "quanto/ops/layout.h"
#include "quanto/ops/linear.h"
#include "quanto/ops/torch_executor.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;
using torch::headeronly::ScalarType;

constexpr const char* kOp = "conv2d";

/// Everything that does not depend on the input's size, in `problem`.
void check_types(const Activations& activations, const Weight& weight,
                 const Tensor* bias, LinearProblem* problem) {
  check_weight_types(kOp, weight, problem);
  check_activation_types(kOp, activations, problem);
  if (bias) check_dtype(kOp, "bias", *bias, problem->activation);
}

std::optional<DType> storage_of(std::optional<ScalarType> activation) {
  if (!activation) return std::nullopt;
  return check_storage(kOp, *activation);
}

SmallShape result_shape(const ConvGeometry& conv) {
  SmallShape shape;
  if (conv.batched) shape.push(conv.images);
  shape.push(conv.outputs);
  shape.push(conv.output.y);
  shape.push(conv.output.x);
  return shape;
}

Tensor conv2d(const Activations& activations, const Weight& weight,
              const Tensor* bias, Sizes size, Sizes stride, Sizes padding,
              Sizes dilation, int64_t groups) {
  LinearProblem problem{};
  check_types(activations, weight, bias, &problem);
  check_conv_options(kOp, size, stride, padding, dilation, groups);
  check_activation_scales(kOp, activations);
  const ConvGeometry conv =
      conv_geometry(kOp, sizes_of(activations.input), size, stride, padding,
                    dilation, groups);
  check_value(!bias || bias->numel() == conv.outputs,
              "{}: expected a bias of {} elements, got {}", kOp, conv.outputs,
              bias ? bias->numel() : 0);
  check_weight_sizes(kOp, weight, size, &problem);

  const SmallShape shape = result_shape(conv);
  if (conv.images == 0) {
    return empty(shape.sizes(), activations.output(problem.activation));
  }
  const WeightMemory memory(weight);
  const Tensor& row = bias ? contiguous(*bias) : memory.scale;
  const ConvCall call{conv,
                      problem,
                      activations,
                      memory,
                      bias ? row.const_data_ptr() : nullptr,
                      shape.sizes()};
  TorchExecutor executor;
  switch (conv_way(conv, problem)) {
    case ConvWay::kTiles:
      return conv2d_in_tiles(call, executor);
    case ConvWay::kPlanes:
      return conv2d_direct(call, executor);
    default:
      return conv2d_by_tiles(call, executor);
  }
}

Tensor conv2d_cpu(const Tensor& input, const std::optional<Tensor>& input_scale,
                  const Tensor& data, const Tensor& scale,
                  const std::optional<Tensor>& shift,
                  const std::optional<Tensor>& bias, int64_t bits,
                  std::optional<int64_t> group_size,
                  const std::vector<int64_t>& size,
                  const std::vector<int64_t>& stride,
                  const std::vector<int64_t>& padding,
                  const std::vector<int64_t>& dilation, int64_t groups,
                  std::optional<ScalarType> activation,
                  const std::optional<Tensor>& output_scale) {
  check_cpu(kOp, {&input, pointer(input_scale), &data, &scale, pointer(shift),
                  pointer(bias), pointer(output_scale)});
  return conv2d({input, pointer(input_scale), pointer(output_scale),
                 storage_of(activation)},
                {data, scale, pointer(shift), bits, group_size}, pointer(bias),
                size, stride, padding, dilation, groups);
}

Tensor conv2d_meta(const Tensor& input,
                   const std::optional<Tensor>& input_scale, const Tensor& data,
                   const Tensor& scale, const std::optional<Tensor>& shift,
                   const std::optional<Tensor>& bias, int64_t bits,
                   std::optional<int64_t> group_size,
                   const std::vector<int64_t>& size,
                   const std::vector<int64_t>& stride,
                   const std::vector<int64_t>& padding,
                   const std::vector<int64_t>& dilation, int64_t groups,
                   std::optional<ScalarType> activation,
                   const std::optional<Tensor>& output_scale) {
  check_meta(kOp, {&input, pointer(input_scale), &data, &scale, pointer(shift),
                   pointer(bias), pointer(output_scale)});
  const Activations activations{input, pointer(input_scale),
                                pointer(output_scale), storage_of(activation)};
  LinearProblem problem{};
  check_types(activations, {data, scale, pointer(shift), bits, group_size},
              pointer(bias), &problem);
  check_conv_options(kOp, size, stride, padding, dilation, groups);
  const Tensor result =
      aten::conv2d(aten::like(input, problem.activation),
                   aten::new_empty(data, size, problem.activation), stride,
                   padding, dilation, groups);
  return aten::like(result, activations.output(problem.activation));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(quanto, CPU, m) {
  m.impl("conv2d", TORCH_BOX(&conv2d_cpu));
}
STABLE_TORCH_LIBRARY_IMPL(quanto, Meta, m) {
  m.impl("conv2d", TORCH_BOX(&conv2d_meta));
}

}  // namespace quanto::ops

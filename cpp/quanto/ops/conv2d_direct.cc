// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/conv2d_run.h"
#include "quanto/ops/conv2d_taps.h"

namespace quanto::ops {
namespace {

using kernels::ConvArgs;
using kernels::ConvProblem;
using kernels::LinearProblem;
using kernels::ShiftKind;

/// What the sums of each output are multiplied by: the scale of its codes, or 1
/// where the taps are values.
std::vector<float> output_scales(const LinearProblem& problem,
                                 const WeightMemory& weight) {
  const auto outputs = static_cast<size_t>(problem.n);
  if (problem.shift != ShiftKind::kNone) return std::vector<float>(outputs, 1);
  std::vector<float> scales = floats(weight.scale.const_data_ptr(),
                                     problem.scale, weight.scale.numel());
  if (problem.per_tensor) scales.assign(outputs, scales[0]);
  return scales;
}

ConvProblem conv_problem(const ConvGeometry& conv,
                         const LinearProblem& problem) {
  return {.images = conv.images,
          .groups = conv.groups,
          .channels = conv.group_channels(),
          .outputs = conv.group_outputs(),
          .input = conv.input,
          .kernel = conv.kernel,
          .stride = conv.stride,
          .padding = conv.padding,
          .dilation = conv.dilation,
          .output = conv.output,
          .dtype = problem.input,
          .input_scale = problem.input_scale,
          .activation = problem.activation};
}

/// `kernel` by taps as it takes them.
Tensor run(const ConvCall& call, kernels::Conv kernel,
           const ConvProblem& problem, const Temporary& taps,
           Executor& executor) {
  const LinearProblem& linear = call.problem;
  const KernelInput input(call.activations, linear, call.conv.images,
                          call.conv.channels * call.conv.input_pixels(),
                          executor);
  const std::vector<float> scale = output_scales(linear, call.weight);
  std::vector<float> bias;
  if (call.bias) bias = floats(call.bias, linear.activation, call.conv.outputs);

  Tensor values = empty(call.shape, linear.activation);
  kernel(problem,
         {input.data(), input.scale(), taps.data(), scale.data(),
          call.bias ? bias.data() : nullptr, values.mutable_data_ptr()},
         executor);
  if (call.activations.output_scale == nullptr) return values;
  Tensor codes = empty(call.shape, call.dtype());
  quantize_output(call.activations, linear.activation, values.const_data_ptr(),
                  values.numel(), codes.mutable_data_ptr(), executor);
  return codes;
}

}  // namespace

Tensor conv2d_direct(const ConvCall& call, Executor& executor) {
  const ConvProblem problem = conv_problem(call.conv, call.problem);
  const Temporary taps =
      float_taps(problem, call.problem, call.weight, executor);
  return run(call, kernels::kernels().conv, problem, taps, executor);
}

Tensor conv2d_in_tiles(const ConvCall& call, Executor& executor) {
  ConvProblem problem = conv_problem(call.conv, call.problem);
  const bool codes = call.problem.shift == ShiftKind::kNone;
  problem.taps_dtype = codes ? DType::kBFloat16 : DType::kFloat32;
  const Temporary taps = tile_taps(call.problem, call.weight, executor);
  return run(call, kernels::kernels().conv_tiles, problem, taps, executor);
}

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/conv2d_run.h"
#include "quanto/ops/transpose.h"
#include "quanto/scale/rounding.h"

namespace quanto::ops {
namespace {

using kernels::ConvArgs;
using kernels::ConvProblem;
using kernels::LinearProblem;
using kernels::ShiftKind;

constexpr int64_t kFloatBytes = sizeof(float);
/// Taps that are worth a thread.
constexpr int64_t kTapsOfThread = 1 << 14;

Temporary float_memory(int64_t count) {
  return Temporary(static_cast<size_t>(count) * sizeof(float));
}

float* floats_of(const Temporary& memory) {
  return reinterpret_cast<float*>(memory.data());
}

std::vector<float> floats(const void* values, DType dtype, int64_t count) {
  std::vector<float> result(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    result[static_cast<size_t>(i)] = scale::load(values, dtype, i);
  }
  return result;
}

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

/// The values of a packed weight in fp32, [outputs][taps].
Temporary decode_packed(const LinearProblem& problem,
                        const WeightMemory& weight, Executor& executor) {
  Temporary taps = float_memory(problem.n * problem.k);
  const std::vector<float> scale = floats(weight.scale.const_data_ptr(),
                                          problem.scale, weight.scale.numel());
  std::vector<float> shift;
  const void* shifts = weight.shift_data();
  if (problem.shift == ShiftKind::kFloat) {
    shift = floats(shifts, problem.scale, weight.shift->numel());
    shifts = shift.data();
  }
  const GroupLayout layout{false, problem.n, problem.k / problem.group_size,
                           problem.group_size};
  kernels::kernels().dequantize_affine(
      static_cast<const uint8_t*>(weight.data.const_data_ptr()), layout,
      qtype(problem.weight).bits, scale.data(), shifts, problem.shift,
      DType::kFloat32, taps.data(), executor);
  return taps;
}

/// Writes the blocks of ConvArgs. read(first, count, out) writes the taps of
/// `count` outputs, one output after another, or returns where they are.
template <typename Read>
Temporary block_taps(const ConvProblem& problem, Executor& executor,
                     const Read& read) {
  const int64_t taps = problem.taps();
  const int64_t blocks =
      (problem.outputs + kernels::kConvOutputs - 1) / kernels::kConvOutputs;
  Temporary result = float_memory(problem.groups * problem.outputs * taps);
  const auto write = [&](int64_t begin, int64_t end) {
    const Temporary part = float_memory(kernels::kConvOutputs * taps);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kernels::kConvOutputs;
      const int64_t width =
          std::min(kernels::kConvOutputs, problem.outputs - first);
      const int64_t output = i / blocks * problem.outputs + first;
      transpose_into_planes(read(output, width, part.data()), width, taps,
                            sizeof(float), width,
                            result.data() + output * taps * kFloatBytes);
    }
  };
  executor.parallel_for(problem.groups * blocks,
                        kTapsOfThread / (kernels::kConvOutputs * taps) + 1,
                        write);
  return result;
}

/// The taps as the kernel takes them: codes where an output has one scale,
/// values where groups of taps have theirs.
Temporary decode_taps(const ConvProblem& problem, const LinearProblem& linear,
                      const WeightMemory& weight, Executor& executor) {
  const int64_t taps = problem.taps();
  if (linear.shift != ShiftKind::kNone) {
    Temporary values = decode_packed(linear, weight, executor);
    if (problem.outputs == 1) return values;
    return block_taps(problem, executor,
                      [&](int64_t first, int64_t, const std::byte*) {
                        return values.data() + first * taps * kFloatBytes;
                      });
  }
  const auto* codes =
      static_cast<const std::byte*>(weight.data.const_data_ptr());
  const auto read = [&](int64_t first, int64_t count, std::byte* out) {
    const float one = 1;
    SerialExecutor serial;
    kernels::kernels().dequantize_symmetric(
        codes + first * taps, qtype(linear.weight).storage,
        {1, 1, count * taps}, &one, DType::kFloat32, out, serial);
    return out;
  };
  if (problem.outputs > 1) return block_taps(problem, executor, read);
  Temporary values = float_memory(linear.n * taps);
  read(0, linear.n, values.data());
  return values;
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

}  // namespace

Tensor conv2d_direct(const ConvCall& call, Executor& executor) {
  const ConvGeometry& conv = call.conv;
  const LinearProblem& linear = call.problem;
  const KernelInput input(call.activations, linear, conv.images,
                          conv.channels * conv.input_pixels(), executor);
  const ConvProblem problem = conv_problem(conv, linear);
  const Temporary taps = decode_taps(problem, linear, call.weight, executor);
  const std::vector<float> scale = output_scales(linear, call.weight);
  std::vector<float> bias;
  if (call.bias) bias = floats(call.bias, linear.activation, conv.outputs);

  Tensor values = empty(call.shape, linear.activation);
  kernels::kernels().conv(
      problem,
      {input.data(), input.scale(), floats_of(taps), scale.data(),
       call.bias ? bias.data() : nullptr, values.mutable_data_ptr()},
      executor);
  if (call.activations.output_scale == nullptr) return values;
  Tensor codes = empty(call.shape, call.dtype());
  quantize_output(call.activations, linear.activation, values.const_data_ptr(),
                  values.numel(), codes.mutable_data_ptr(), executor);
  return codes;
}

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <vector>

#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/aten.h"
#include "quanto/ops/conv2d_run.h"
#include "quanto/scale/rounding.h"

namespace quanto::ops {
namespace {

using kernels::InputScale;
using kernels::LinearProblem;
using kernels::ShiftKind;

/// Multiplications that are worth a thread.
constexpr int64_t kWorkOfThread = 1 << 14;

std::vector<float> floats(const void* values, DType dtype, int64_t count) {
  std::vector<float> result(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    result[static_cast<size_t>(i)] = scale::load(values, dtype, i);
  }
  return result;
}

/// The weight in fp32, [outputs][taps].
std::vector<float> decode_taps(const LinearProblem& problem,
                               const WeightMemory& weight, Executor& executor) {
  const auto& table = kernels::kernels();
  std::vector<float> taps(static_cast<size_t>(problem.n * problem.k));
  const std::vector<float> scale = floats(weight.scale.const_data_ptr(),
                                          problem.scale, weight.scale.numel());
  if (problem.shift == ShiftKind::kNone) {
    const AxisView view = problem.per_tensor
                              ? AxisView{1, 1, problem.n * problem.k}
                              : AxisView{1, problem.n, problem.k};
    table.dequantize_symmetric(
        weight.data.const_data_ptr(), qtype(problem.weight).storage, view,
        scale.data(), DType::kFloat32, taps.data(), executor);
    return taps;
  }
  std::vector<float> shift;
  const void* shifts = weight.shift_data();
  if (problem.shift == ShiftKind::kFloat) {
    shift = floats(shifts, problem.scale, weight.shift->numel());
    shifts = shift.data();
  }
  const GroupLayout layout{false, problem.n, problem.k / problem.group_size,
                           problem.group_size};
  table.dequantize_affine(
      static_cast<const uint8_t*>(weight.data.const_data_ptr()), layout,
      qtype(problem.weight).bits, scale.data(), shifts, problem.shift,
      DType::kFloat32, taps.data(), executor);
  return taps;
}

/// The input in fp32, codes without their scale.
Tensor load_floats(const ConvCall& call, const KernelInput& input,
                   Executor& executor) {
  const DType dtype = call.problem.input;
  const Tensor& source = call.activations.input;
  if (dtype == DType::kFloat32) return contiguous(source);
  if (is_activation(dtype)) {
    return contiguous(aten::to(source, DType::kFloat32));
  }
  Tensor values = empty(sizes_of(source), DType::kFloat32);
  const float one = 1;
  kernels::kernels().dequantize_symmetric(
      input.data(), dtype, {1, 1, values.numel()}, &one, DType::kFloat32,
      values.mutable_data_ptr(), executor);
  return values;
}

/// The sums as the result.
Tensor store_floats(const ConvCall& call, const Tensor& sums,
                    Executor& executor) {
  const DType dtype = call.problem.activation;
  const Tensor values = dtype == DType::kFloat32 ? sums : aten::to(sums, dtype);
  if (call.activations.output_scale == nullptr) return values;
  Tensor codes = empty(call.shape, call.dtype());
  quantize_output(call.activations, dtype, values.const_data_ptr(),
                  values.numel(), codes.mutable_data_ptr(), executor);
  return codes;
}

/// out[x] += sum over the taps i of tap[i] * in[x * stride + i].
template <int kTaps>
void add_taps(const float* __restrict in, int64_t stride, const float* tap,
              int64_t count, float* __restrict out) {
  std::array<float, kTaps> taps;
  std::copy_n(tap, kTaps, taps.begin());
  const auto at = [&](int64_t first) {
    float sum = 0;
    for (int i = 0; i < kTaps; ++i) sum += taps[i] * in[first + i];
    return sum;
  };
  if (stride == 1) {
    for (int64_t x = 0; x < count; ++x) out[x] += at(x);
  } else {
    for (int64_t x = 0; x < count; ++x) out[x] += at(x * stride);
  }
}

/// One row of taps: those of common kernels at once, others one by one.
void add_row(const ConvGeometry& conv, const float* in, const float* taps,
             float* out) {
  const int64_t stride = conv.stride.x, count = conv.output.x;
  if (conv.dilation.x == 1 && conv.kernel.x == 3) {
    return add_taps<3>(in, stride, taps, count, out);
  }
  if (conv.dilation.x == 1 && conv.kernel.x == 5) {
    return add_taps<5>(in, stride, taps, count, out);
  }
  for (int64_t i = 0; i < conv.kernel.x; ++i) {
    add_taps<1>(in + i * conv.dilation.x, stride, taps + i, count, out);
  }
}

/// A plane with its padding to the left and right.
void pad_plane(const ConvGeometry& conv, const float* plane, float* padded) {
  const int64_t width = conv.input.x + 2 * conv.padding.x;
  for (int64_t y = 0; y < conv.input.y; ++y) {
    float* row = std::fill_n(padded + y * width, conv.padding.x, 0.0F);
    row = std::copy_n(plane + y * conv.input.x, conv.input.x, row);
    std::fill_n(row, conv.padding.x, 0.0F);
  }
}

/// Rows in the padding above and below are left out of the sums.
void add_plane(const ConvGeometry& conv, const float* padded, const float* taps,
               float* out) {
  const int64_t width = conv.input.x + 2 * conv.padding.x;
  for (int64_t y = 0; y < conv.output.y; ++y) {
    for (int64_t i = 0; i < conv.kernel.y; ++i) {
      const int64_t row =
          y * conv.stride.y + i * conv.dilation.y - conv.padding.y;
      if (row < 0 || row >= conv.input.y) continue;
      add_row(conv, padded + row * width, taps + i * conv.kernel.x,
              out + y * conv.output.x);
    }
  }
}

float scale_of(const ConvCall& call, const KernelInput& input, int64_t image) {
  switch (call.problem.input_scale) {
    case InputScale::kTensor:
      return input.scale()[0];
    case InputScale::kRow:
      return input.scale()[image];
    default:
      return 1;
  }
}

}  // namespace

Tensor conv2d_depthwise(const ConvCall& call, Executor& executor) {
  const ConvGeometry& conv = call.conv;
  const KernelInput input(call.activations, call.problem, conv.images,
                          conv.channels * conv.input_pixels(), executor);
  const std::vector<float> taps =
      decode_taps(call.problem, call.weight, executor);
  const Tensor values = load_floats(call, input, executor);
  Tensor sums = empty(call.shape, DType::kFloat32);
  const auto* planes = static_cast<const float*>(values.const_data_ptr());
  auto* results = static_cast<float*>(sums.mutable_data_ptr());
  const int64_t pixels = conv.output_pixels();

  const auto plane = [&](int64_t at, float* padded) {
    const int64_t image = at / conv.outputs, output = at % conv.outputs;
    const int64_t channel =
        image * conv.channels + output / conv.group_outputs();
    float* out = results + at * pixels;
    pad_plane(conv, planes + channel * conv.input_pixels(), padded);
    std::fill_n(out, pixels, 0.0F);
    add_plane(conv, padded, taps.data() + output * call.problem.k, out);
    const float scale = scale_of(call, input, image);
    const float bias =
        call.bias ? scale::load(call.bias, call.problem.activation, output) : 0;
    for (int64_t i = 0; i < pixels; ++i) out[i] = out[i] * scale + bias;
  };
  const int64_t grain =
      std::max<int64_t>(1, kWorkOfThread / (pixels * call.problem.k));
  const int64_t width = conv.input.x + 2 * conv.padding.x;
  executor.parallel_for(
      conv.images * conv.outputs, grain, [&](int64_t begin, int64_t end) {
        std::vector<float> padded(static_cast<size_t>(conv.input.y * width));
        for (int64_t at = begin; at < end; ++at) plane(at, padded.data());
      });
  return store_floats(call, sums, executor);
}

}  // namespace quanto::ops

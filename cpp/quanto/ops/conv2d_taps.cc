// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/conv2d_taps.h"

#include <algorithm>

#include "quanto/core/float_convert.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/transpose.h"
#include "quanto/scale/rounding.h"

namespace quanto::ops {
namespace {

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

/// Codes [first, first + count) of 8 bits in `dtype`, of which `one` is 1.
void decode_codes(const LinearProblem& problem, const WeightMemory& weight,
                  int64_t first, int64_t count, DType dtype, const void* one,
                  void* out, Executor& executor) {
  kernels::kernels().dequantize_symmetric(
      static_cast<const std::byte*>(weight.data.const_data_ptr()) + first,
      qtype(problem.weight).storage, {1, 1, count}, one, dtype, out, executor);
}

}  // namespace

std::vector<float> floats(const void* values, DType dtype, int64_t count) {
  std::vector<float> result(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    result[static_cast<size_t>(i)] = scale::load(values, dtype, i);
  }
  return result;
}

Temporary float_taps(const ConvProblem& problem, const LinearProblem& linear,
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
  const auto read = [&](int64_t first, int64_t count, std::byte* out) {
    const float one = 1;
    SerialExecutor serial;
    decode_codes(linear, weight, first * taps, count * taps, DType::kFloat32,
                 &one, out, serial);
    return out;
  };
  if (problem.outputs > 1) return block_taps(problem, executor, read);
  Temporary values = float_memory(linear.n * taps);
  read(0, linear.n, values.data());
  return values;
}

Temporary tile_taps(const LinearProblem& linear, const WeightMemory& weight,
                    Executor& executor) {
  if (linear.shift != ShiftKind::kNone) {
    return decode_packed(linear, weight, executor);
  }
  const int64_t count = linear.n * linear.k;
  Temporary codes(static_cast<size_t>(count) * sizeof(uint16_t));
  const uint16_t one = bf16_from_float(1);
  decode_codes(linear, weight, 0, count, DType::kBFloat16, &one, codes.data(),
               executor);
  return codes;
}

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "quanto/core/packing.h"
#include "quanto/core/qtype.h"
#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {
namespace {

int64_t groups_per_output(const LinearProblem& problem) {
  return problem.k == 0 ? 0 : problem.k / problem.group_size;
}

/// A scale or a shift as double, whatever its dtype.
double parameter(const void* values, DType dtype, int64_t index) {
  double value = 0;
  with_activation(dtype, [&](auto element) {
    value = decltype(element)::load(values, index);
  });
  return value;
}

void decode_8bit_row(const LinearProblem& problem, const LinearArgs& args,
                     int64_t row, double* weight) {
  const int64_t groups = groups_per_output(problem);
  with_storage(qtype(problem.weight).storage, [&](auto stored) {
    for (int64_t k = 0; k < problem.k; ++k) {
      const int64_t group = row * groups + k / problem.group_size;
      const double scale =
          parameter(args.scale, problem.scale, problem.per_tensor ? 0 : group);
      weight[k] =
          scale * decltype(stored)::load(args.data, row * problem.k + k);
    }
  });
}

void decode_packed_row(const LinearProblem& problem, const LinearArgs& args,
                       int64_t row, double* weight) {
  const int bits = qtype(problem.weight).bits;
  const int64_t groups = groups_per_output(problem);
  for (int64_t group = row * groups; group < (row + 1) * groups; ++group) {
    const double scale = parameter(args.scale, problem.scale, group);
    const bool integer = problem.shift == ShiftKind::kInteger;
    const double shift = integer
                             ? static_cast<const uint8_t*>(args.shift)[group]
                             : parameter(args.shift, problem.scale, group);
    const PackedRow place = packed_row(group, problem.n * groups, bits);
    const uint8_t* bytes =
        static_cast<const uint8_t*>(args.data) + place.row * problem.group_size;
    for (int64_t i = 0; i < problem.group_size; ++i) {
      const double code = (bytes[i] >> place.shift) & ((1 << bits) - 1);
      *weight++ = integer ? scale * (code - shift) : scale * code - shift;
    }
  }
}

/// Several partial sums, so that additions do not wait for one another.
double dot(const float* x, const double* w, int64_t count) {
  constexpr int kSums = 8;
  std::array<double, kSums> sums = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += x[i + j] * w[i + j];
  }
  for (; i < count; ++i) sums[i % kSums] += x[i] * w[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

/// What the sums of row m are multiplied by.
double input_scale(const LinearProblem& problem, const LinearArgs& args,
                   int64_t m) {
  switch (problem.input_scale) {
    case InputScale::kTensor:
      return args.input_scale[0];
    case InputScale::kRow:
      return args.input_scale[m];
    default:
      return 1;
  }
}

/// The input as fp32, whatever its dtype.
void load_input(const LinearProblem& problem, const LinearArgs& args,
                float* input) {
  const auto load = [&](auto element) {
    for (int64_t i = 0; i < problem.m * problem.k; ++i) {
      input[i] = decltype(element)::load(args.input, i);
    }
  };
  if (is_activation(problem.input)) {
    with_activation(problem.input, load);
  } else {
    with_storage(problem.input, load);
  }
}

template <typename Float>
void linear_column(const LinearProblem& problem, const LinearArgs& args,
                   int64_t n, const float* input, const double* weight) {
  const double bias = args.bias != nullptr ? Float::load(args.bias, n) : 0.0F;
  for (int64_t m = 0; m < problem.m; ++m) {
    const double sum = dot(input + m * problem.k, weight, problem.k);
    Float::store(
        args.output, m * problem.n + n,
        static_cast<float>(sum * input_scale(problem, args, m) + bias));
  }
}

template <typename Float>
void linear_columns(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  const int64_t elements = problem.m * problem.k;
  auto* input =
      reinterpret_cast<float*>(executor.workspace(elements * sizeof(float)));
  load_input(problem, args, input);
  const bool packed = qtype(problem.weight).bits < 8;
  executor.parallel_for(
      problem.n, grain_of(elements), [&](int64_t begin, int64_t end) {
        auto* weight = reinterpret_cast<double*>(
            executor.scratch(problem.k * sizeof(double)));
        for (int64_t n = begin; n < end; ++n) {
          (packed ? decode_packed_row : decode_8bit_row)(problem, args, n,
                                                         weight);
          linear_column<Float>(problem, args, n, input, weight);
        }
      });
}

}  // namespace

void linear(const LinearProblem& problem, const LinearArgs& args,
            Executor& executor) {
  with_activation(problem.activation, [&](auto element) {
    linear_columns<decltype(element)>(problem, args, executor);
  });
}

}  // namespace quanto::kernels::ref

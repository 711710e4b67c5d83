// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/activation.h"

#include <algorithm>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/layout.h"
#include "quanto/scale/rounding.h"

namespace quanto::ops {
namespace {

using kernels::InputScale;
using kernels::LinearProblem;

/// The scale as fp32, which holds every value of its dtype.
float scale_value(const Tensor& scale) {
  return scale::load(scale.const_data_ptr(), *find_dtype(scale), 0);
}

/// Codes of `storage`, one scale in all.
void quantize(const void* values, DType dtype, int64_t count, float scale,
              DType storage, void* codes, Executor& executor) {
  float element;
  scale::store(&element, dtype, 0, scale);
  kernels::kernels().quantize_symmetric(values, dtype, {1, 1, count}, &element,
                                        storage, codes, executor);
}

}  // namespace

DType check_storage(const char* op, torch::headeronly::ScalarType activation) {
  const auto storage = find_dtype(activation);
  check_value(storage && find_8bit_qtype(*storage) != nullptr,
              "{}: expected activation int8, float8_e4m3fn, float8_e5m2 or "
              "float8_e4m3fnuz, got {}",
              op, dtype_name(activation));
  return *storage;
}

void check_activation_types(const char* op, const Activations& activations,
                            LinearProblem* problem) {
  const auto& [input, input_scale, output_scale, storage] = activations;
  problem->input_scale = InputScale::kNone;
  if (!storage) {
    problem->input = problem->activation = check_float(op, "input", input);
    check_value(input_scale == nullptr && output_scale == nullptr,
                "{}: expected no scales of activations without an activation "
                "dtype, got one",
                op);
    return;
  }
  const auto dtype = find_dtype(input);
  check_value(dtype == storage || (dtype && is_activation(*dtype)),
              "{}: expected input of float32, float16, bfloat16 or {}, got {}",
              op, name_of(*storage), DtypeName{input});
  check_value(dtype != storage || input_scale != nullptr,
              "{}: expected an input_scale with an input of codes, got none",
              op);
  if (input_scale != nullptr) check_float(op, "input_scale", *input_scale);
  if (output_scale != nullptr) check_float(op, "output_scale", *output_scale);
  problem->input = *storage;
  problem->input_scale =
      input_scale != nullptr ? InputScale::kTensor : InputScale::kRow;
  problem->activation = dtype == storage ? problem->scale : *dtype;
}

void check_activation_scales(const char* op, const Activations& activations) {
  const auto check = [op](const char* name, const Tensor* scale) {
    if (scale != nullptr) check_shape(op, name, *scale, {});
  };
  check("input_scale", activations.input_scale);
  check("output_scale", activations.output_scale);
}

KernelInput::KernelInput(const Activations& activations,
                         const LinearProblem& problem, int64_t rows,
                         int64_t columns, Executor& executor)
    : input_(contiguous(activations.input)), data_(input_.const_data_ptr()) {
  if (problem.input_scale == InputScale::kNone) return;
  const DType storage = *activations.storage;
  const DType dtype = *find_dtype(input_);
  const int64_t count = rows * columns;
  scale_ = &one_scale_;
  if (dtype == storage) {
    one_scale_ = scale_value(*activations.input_scale);
    return;
  }
  codes_ = Temporary(static_cast<size_t>(count));
  data_ = codes_.data();
  if (problem.input_scale == InputScale::kTensor) {
    one_scale_ = scale::rounded(dtype, scale_value(*activations.input_scale));
    if (count > 0) {
      quantize(input_.const_data_ptr(), dtype, count, one_scale_, storage,
               codes_.data(), executor);
    }
    return;
  }
  row_scales_ = Temporary(static_cast<size_t>(rows) * sizeof(float));
  auto* scales = reinterpret_cast<float*>(row_scales_.data());
  scale_ = scales;
  if (count == 0) {
    std::fill_n(scales, rows, 0.0F);
  } else {
    kernels::kernels().quantize_rows(input_.const_data_ptr(), dtype, rows,
                                     columns, storage, codes_.data(), scales,
                                     executor);
  }
}

void quantize_output(const Activations& activations, DType dtype,
                     const void* values, int64_t count, void* codes,
                     Executor& executor) {
  quantize(values, dtype, count, scale_value(*activations.output_scale),
           *activations.storage, codes, executor);
}

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"
#include "quanto/kernels/kernels.h"
#include "quanto/ops/temporary.h"
#include "quanto/ops/tensor.h"

namespace quanto::ops {

/// The activations of a layer as its operator gets them (schemas.cc, qlinear).
struct Activations {
  const Tensor& input;
  const Tensor* input_scale;
  const Tensor* output_scale;
  std::optional<DType> storage;  ///< of codes; none: input and output are float

  /// Element type of the result.
  [[nodiscard]] DType output(DType float_dtype) const {
    return output_scale ? *storage : float_dtype;
  }
};

/// int8 or a float8 type; throws.
DType check_storage(const char* op, torch::headeronly::ScalarType activation);

/// Sets the types of input, its scales and the result in `problem`, whose scale
/// type is known; throws.
void check_activation_types(const char* op, const Activations& activations,
                            kernels::LinearProblem* problem);

/// Throws unless the scales have no dimension.
void check_activation_scales(const char* op, const Activations& activations);

/// The input as the kernels take it: itself when it is float, else its codes
/// and their scales, one in all or one for each row.
class KernelInput {
 public:
  KernelInput(const Activations& activations,
              const kernels::LinearProblem& problem, int64_t rows,
              int64_t columns, Executor& executor);

  [[nodiscard]] const void* data() const { return data_; }
  /// Null for a float input.
  [[nodiscard]] const float* scale() const { return scale_; }

 private:
  Tensor input_;
  Temporary codes_;
  Temporary row_scales_;
  float one_scale_ = 1;
  const void* data_;
  const float* scale_ = nullptr;
};

/// Codes of `storage` of `count` results of `dtype`, under the output's scale.
void quantize_output(const Activations& activations, DType dtype,
                     const void* values, int64_t count, void* codes,
                     Executor& executor);

}  // namespace quanto::ops

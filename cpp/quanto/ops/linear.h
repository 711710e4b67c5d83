// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/ops/tensor.h"

namespace quanto::ops {

/// The linear operator (schemas.cc) on CPU tensors; `op` names the caller in
/// its error messages.
Tensor linear_cpu(const char* op, const Tensor& input, const Tensor& data,
                  const Tensor& scale, const Tensor* shift, const Tensor* bias,
                  int64_t bits, std::optional<int64_t> group_size,
                  int64_t out_features);

/// An uninitialised result of input's shape but for its last dimension, with
/// symbolic sizes kept.
Tensor linear_result_meta(const Tensor& input, int64_t out_features,
                          DType dtype);

}  // namespace quanto::ops

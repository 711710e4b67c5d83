// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"
#include "quanto/ops/activation.h"
#include "quanto/ops/weight.h"

namespace quanto::ops {

/// Null for nothing.
inline const Tensor* pointer(const std::optional<Tensor>& tensor) {
  return tensor ? &*tensor : nullptr;
}

/// The operators linear and qlinear (schemas.cc) on CPU tensors; `op` names the
/// caller in error messages. Data of 8 bits has out_features rows.
Tensor linear_cpu(const char* op, const Activations& activations,
                  const Weight& weight, const Tensor* bias,
                  std::optional<int64_t> out_features);

/// The same on meta tensors: types are checked, symbolic sizes are kept.
Tensor linear_meta(const char* op, const Activations& activations,
                   const Weight& weight, const Tensor* bias,
                   std::optional<int64_t> out_features);

}  // namespace quanto::ops

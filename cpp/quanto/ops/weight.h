// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"
#include "quanto/ops/tensor.h"

namespace quanto::ops {

/// A quantized weight of axis 0 as the operators get it (schemas.cc, linear).
struct Weight {
  const Tensor& data;
  const Tensor& scale;
  const Tensor* shift;
  int64_t bits;
  std::optional<int64_t> group_size;
};

/// Sets the types of weight, scale and shift in `problem`; throws.
void check_weight_types(const char* op, const Weight& weight,
                        kernels::LinearProblem* problem);

/// Sets n, k and the groups in `problem` for a weight of shape `size`, which
/// data of 8 bits has itself; throws.
void check_weight_sizes(const char* op, const Weight& weight, Sizes size,
                        kernels::LinearProblem* problem);

/// The tensors of a weight, contiguous.
struct WeightMemory {
  explicit WeightMemory(const Weight& weight);

  [[nodiscard]] const void* shift_data() const {
    return shift ? shift->const_data_ptr() : nullptr;
  }

  Tensor data;
  Tensor scale;
  std::optional<Tensor> shift;
};

}  // namespace quanto::ops

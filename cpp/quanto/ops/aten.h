// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "quanto/ops/tensor.h"

// The ATen operators the operators call, through the dispatcher. Meta functions
// are composed of them and never look at a size themselves, so that symbolic
// sizes pass through; they end in like() or new_empty(), so that no gradient
// passes either.

namespace quanto::ops::aten {

Tensor contiguous(const Tensor& self);
Tensor to(const Tensor& self, DType dtype);
Tensor reshape(const Tensor& self, Sizes shape);
Tensor narrow(const Tensor& self, int64_t dim, int64_t start, int64_t length);
Tensor unsqueeze(const Tensor& self, int64_t dim);
/// Every `step`-th slice along dim 0.
Tensor every(const Tensor& self, int64_t step);
/// `count` copies one after another along dim 0.
Tensor repeat(const Tensor& self, int64_t count);
Tensor amax(const Tensor& self, Sizes dims, bool keepdim);
Tensor sum(const Tensor& self, Sizes dims, bool keepdim);
Tensor mul(const Tensor& self, const Tensor& other);
Tensor conv2d(const Tensor& input, const Tensor& weight, Sizes stride,
              Sizes padding, Sizes dilation, int64_t groups);
/// An uninitialised contiguous tensor of self's shape and device.
Tensor like(const Tensor& self, DType dtype);
/// An uninitialised tensor of that shape on self's device.
Tensor new_empty(const Tensor& self, Sizes shape, DType dtype);

}  // namespace quanto::ops::aten

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "quanto/core/grouping.h"
#include "quanto/ops/tensor.h"

// How an operator's axis and group size cut a tensor, and the shapes of scales
// that go with it.

namespace quanto::ops {

/// The view for symmetric quantization. `axis` is nothing (per tensor), 0, -1
/// or the last one; throws otherwise.
AxisView axis_view(const char* op, Sizes sizes, std::optional<int64_t> axis);

/// Throws unless a symmetric scale has the shape that goes with the view: no
/// dimension per tensor, else the base's rank with 1 everywhere but the axis.
void check_axis_scale(const char* op, const Tensor& scale, Sizes sizes,
                      std::optional<int64_t> axis);

/// The groups of affine quantization. `axis` is 0 or -1, a group size divides
/// the elements of one index of the axis; throws otherwise.
GroupLayout group_layout(const char* op, Sizes sizes, int64_t axis,
                         std::optional<int64_t> group_size);

/// A shape of at most kMaxDims dimensions, on the stack.
struct SmallShape {
  int64_t dims[kMaxDims];
  size_t count = 0;

  void push(int64_t size) { dims[count++] = size; }
  [[nodiscard]] Sizes sizes() const { return {dims, count}; }
};

/// Shape of a symmetric scale.
SmallShape axis_scale_shape(Sizes sizes, std::optional<int64_t> axis);
/// Shape of affine scales and shifts: (rows, 1) or (1, rows) with groups, else
/// the base's rank with 1 everywhere but the axis.
SmallShape group_scale_shape(Sizes sizes, const GroupLayout& layout,
                             bool grouped);
/// Shape of the codes: (rows, group size) or (group size, rows) with groups,
/// else the base's.
SmallShape code_shape(Sizes sizes, const GroupLayout& layout, bool grouped);

/// Throws unless `tensor` has that shape.
void check_shape(const char* op, const char* name, const Tensor& tensor,
                 Sizes expected);

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/layout.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "quanto/core/error.h"

namespace quanto::ops {
namespace {

int64_t product(Sizes sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1},
                         std::multiplies<>());
}

/// The base's rank with 1 everywhere but the first or last dimension.
SmallShape kept_dims(Sizes sizes, bool last_axis) {
  SmallShape shape;
  const size_t axis = last_axis ? sizes.size() - 1 : 0;
  for (size_t i = 0; i < sizes.size(); ++i)
    shape.push(i == axis ? sizes[i] : 1);
  return shape;
}

bool is_last(Sizes sizes, int64_t axis) {
  return axis == -1 ||
         (axis != 0 && axis == static_cast<int64_t>(sizes.size()) - 1);
}

}  // namespace

AxisView axis_view(const char* op, Sizes sizes, std::optional<int64_t> axis) {
  if (!axis) return {1, 1, product(sizes)};
  check_value(sizes.size() > 1,
              "{}: expected at least 2 dimensions for a scale per index of an "
              "axis, got {}",
              op, sizes.size());
  check_value(*axis == 0 || is_last(sizes, *axis),
              "{}: expected axis 0 (the first) or -1 (the last), got {}", op,
              *axis);
  if (is_last(sizes, *axis)) {
    return {product(sizes.first(sizes.size() - 1)), sizes.back(), 1};
  }
  return {1, sizes.front(), product(sizes.subspan(1))};
}

GroupLayout group_layout(const char* op, Sizes sizes, int64_t axis,
                         std::optional<int64_t> group_size) {
  check_value(axis == 0 || axis == -1,
              "{}: expected axis 0 (the first) or -1 (the last), got {}", op,
              axis);
  check_value(!sizes.empty(), "{}: expected at least 1 dimension, got 0", op);
  const bool last_axis = axis == -1 && sizes.size() > 1;
  const int64_t channels = last_axis ? sizes.back() : sizes.front();
  const int64_t elements =
      product(last_axis ? sizes.first(sizes.size() - 1) : sizes.subspan(1));
  if (!group_size) return {last_axis, channels, 1, elements};
  check_value(*group_size > 0 && elements % *group_size == 0,
              "{}: expected group_size to divide {}, got {}", op, elements,
              *group_size);
  return {last_axis, channels, elements / *group_size, *group_size};
}

SmallShape axis_scale_shape(Sizes sizes, std::optional<int64_t> axis) {
  if (!axis) return {};
  return kept_dims(sizes, is_last(sizes, *axis));
}

SmallShape group_scale_shape(Sizes sizes, const GroupLayout& layout,
                             bool grouped) {
  if (!grouped) return kept_dims(sizes, layout.last_axis);
  SmallShape shape;
  shape.push(layout.last_axis ? 1 : layout.rows());
  shape.push(layout.last_axis ? layout.rows() : 1);
  return shape;
}

SmallShape code_shape(Sizes sizes, const GroupLayout& layout, bool grouped) {
  SmallShape shape;
  if (grouped) {
    shape.push(layout.code_rows());
    shape.push(layout.code_columns());
  } else {
    for (const int64_t size : sizes) shape.push(size);
  }
  return shape;
}

void check_shape(const char* op, const char* name, const Tensor& tensor,
                 Sizes expected) {
  check_value(std::ranges::equal(sizes_of(tensor), expected),
              "{}: expected {} of shape {}, got {}", op, name, Shape{expected},
              shape_of(tensor));
}

void check_axis_scale(const char* op, const Tensor& scale, Sizes sizes,
                      std::optional<int64_t> axis) {
  check_shape(op, "scale", scale, axis_scale_shape(sizes, axis).sizes());
}

}  // namespace quanto::ops

// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {
namespace {

template <typename Float>
float channel_absmax(const void* base, AxisView view, int64_t channel) {
  float largest = 0;
  for (int64_t outer = 0; outer < view.outer; ++outer) {
    const int64_t start = (outer * view.channels + channel) * view.inner;
    for (int64_t i = 0; i < view.inner; ++i) {
      const float value = std::fabs(Float::load(base, start + i));
      if (std::isnan(value)) return std::numeric_limits<float>::quiet_NaN();
      largest = std::max(largest, value);
    }
  }
  return largest;
}

template <typename Float>
void row_min_max(const void* base, GroupLayout layout, int64_t row, float& min,
                 float& max) {
  min = max =
      layout.group_size > 0 ? Float::load(base, layout.base_index(row, 0)) : 0;
  for (int64_t i = 0; i < layout.group_size; ++i) {
    const float value = Float::load(base, layout.base_index(row, i));
    if (std::isnan(value)) {
      min = max = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    min = std::min(min, value);
    max = std::max(max, value);
  }
}

}  // namespace

void absmax(const void* base, DType dtype, AxisView view, float* absmax,
            Executor& executor) {
  with_activation(dtype, [&](auto element) {
    using Float = decltype(element);
    executor.parallel_for(
        view.channels, grain_of(view.outer * view.inner),
        [&](int64_t begin, int64_t end) {
          for (int64_t channel = begin; channel < end; ++channel) {
            absmax[channel] = channel_absmax<Float>(base, view, channel);
          }
        });
  });
}

void min_max(const void* base, DType dtype, GroupLayout layout, float* min,
             float* max, Executor& executor) {
  with_activation(dtype, [&](auto element) {
    using Float = decltype(element);
    executor.parallel_for(layout.rows(), grain_of(layout.group_size),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t row = begin; row < end; ++row) {
                              row_min_max<Float>(base, layout, row, min[row],
                                                 max[row]);
                            }
                          });
  });
}

}  // namespace quanto::kernels::ref

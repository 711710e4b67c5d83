// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/max.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/range.h"
#include "quanto/scale/rounding.h"

namespace quanto::scale {
namespace {

/// Groups below which another thread does not pay.
constexpr int64_t kGrain = 4096;

}  // namespace

void range_scale(const char* op, const void* base, DType dtype,
                 GroupLayout layout, int bits, void* scale, void* shift,
                 Executor& executor) {
  const auto rows = static_cast<size_t>(layout.rows());
  std::vector<float> smallest(rows), largest(rows);
  if (layout.numel() > 0) {
    kernels::kernels().min_max(base, dtype, layout, smallest.data(),
                               largest.data(), executor);
  }
  const auto codes = static_cast<float>((1 << bits) - 1);
  for (size_t i = 0; i < rows; ++i) {
    const float low = smallest[i], high = largest[i];
    check_value(std::isfinite(low) && std::isfinite(high),
                "{}: expected finite values, got {}", op,
                std::isfinite(low) ? high : low);
    check_value(std::isfinite(rounded(dtype, high - low)),
                "{}: expected a range that {} can hold, got {} to {}", op,
                name_of(dtype), low, high);
  }
  executor.parallel_for(layout.rows(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float low = smallest[static_cast<size_t>(i)];
      const float high = largest[static_cast<size_t>(i)];
      store(scale, dtype, i, rounded(dtype, high - low) / codes);
      store(shift, dtype, i, -low);
    }
  });
}

void max(const void* base, DType dtype, GroupLayout layout, int bits,
         void* scale, void* shift, Executor& executor) {
  range_scale("max_scale", base, dtype, layout, bits, scale, shift, executor);
}

void zero_points(const void* scale, const void* shift, DType dtype,
                 int64_t rows, int bits, uint8_t* zero_points) {
  const auto largest = static_cast<float>((1 << bits) - 1);
  for (int64_t i = 0; i < rows; ++i) {
    const float quotient =
        rounded(dtype, load(shift, dtype, i) / load(scale, dtype, i));
    // A NaN, of 0 / 0, is not above 0.
    const float point = std::nearbyint(quotient);
    const float code = point > 0.0F ? std::min(point, largest) : 0.0F;
    zero_points[i] = static_cast<uint8_t>(code);
  }
}

}  // namespace quanto::scale

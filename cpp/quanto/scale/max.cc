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

/// The smallest and the largest element of each group.
struct Ranges {
  std::vector<float> low;
  std::vector<float> high;
};

/// The width of a range, as a number of the type.
template <DType kDType>
float width(float low, float high) {
  return rounded(kDType, high - low);
}

template <DType kDType>
bool widths_are_finite(const Ranges& ranges) {
  bool finite = true;
  for (size_t i = 0; i < ranges.low.size(); ++i) {
    finite &= std::isfinite(width<kDType>(ranges.low[i], ranges.high[i]));
  }
  return finite;
}

/// Says what is wrong with the first range whose width is not finite.
void check_ranges(const char* op, DType dtype, const Ranges& ranges) {
  for (size_t i = 0; i < ranges.low.size(); ++i) {
    const float low = ranges.low[i], high = ranges.high[i];
    check_value(std::isfinite(low) && std::isfinite(high),
                "{}: expected finite values, got {}", op,
                std::isfinite(low) ? high : low);
    check_value(std::isfinite(rounded(dtype, high - low)),
                "{}: expected a range that {} can hold, got {} to {}", op,
                name_of(dtype), low, high);
  }
}

template <DType kDType>
void store_scales(const char* op, const Ranges& ranges, float codes,
                  void* scale, void* shift, Executor& executor) {
  if (!widths_are_finite<kDType>(ranges)) check_ranges(op, kDType, ranges);
  executor.parallel_for(
      static_cast<int64_t>(ranges.low.size()), kGrain,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const float low = ranges.low[static_cast<size_t>(i)];
          const float high = ranges.high[static_cast<size_t>(i)];
          store(scale, kDType, i, width<kDType>(low, high) / codes);
          store(shift, kDType, i, -low);
        }
      });
}

}  // namespace

void range_scale(const char* op, const void* base, DType dtype,
                 GroupLayout layout, int bits, void* scale, void* shift,
                 Executor& executor) {
  const auto rows = static_cast<size_t>(layout.rows());
  Ranges ranges = {std::vector<float>(rows), std::vector<float>(rows)};
  if (layout.numel() > 0) {
    kernels::kernels().min_max(base, dtype, layout, ranges.low.data(),
                               ranges.high.data(), executor);
  }
  const auto codes = static_cast<float>((1 << bits) - 1);
  const auto store_as = [&](auto store_all) {
    store_all(op, ranges, codes, scale, shift, executor);
  };
  switch (dtype) {
    case DType::kFloat16:
      return store_as(store_scales<DType::kFloat16>);
    case DType::kBFloat16:
      return store_as(store_scales<DType::kBFloat16>);
    default:
      return store_as(store_scales<DType::kFloat32>);
  }
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

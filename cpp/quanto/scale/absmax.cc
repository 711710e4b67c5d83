// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/absmax.h"

#include <cmath>
#include <vector>

#include "quanto/core/error.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/rounding.h"

namespace quanto::scale {

void absmax(const void* base, DType dtype, AxisView view, const QType& qtype,
            void* scale, Executor& executor) {
  std::vector<float> largest(static_cast<size_t>(view.channels));
  if (view.numel() > 0) {
    kernels::kernels().absmax(base, dtype, view, largest.data(), executor);
  }
  for (const float value : largest) {
    check_value(std::isfinite(value),
                "absmax_scale: expected finite values, got {}", value);
  }
  for (int64_t i = 0; i < view.channels; ++i) {
    store(scale, dtype, i, largest[static_cast<size_t>(i)] / qtype.qmax);
  }
}

}  // namespace quanto::scale

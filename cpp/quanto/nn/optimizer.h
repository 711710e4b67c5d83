// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "quanto/core/qtype.h"

namespace quanto {

/// Scale and, for 4 and 2 bits, shift of a weight.
struct Scales {
  at::Tensor scale;
  std::optional<at::Tensor> shift;
};

/// Finds the scales with which a weight is quantized.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// True for one that finds a scale only, which 8 bits need; the others find
  /// a scale and a shift, which 4 and 2 bits need.
  [[nodiscard]] virtual bool symmetric() const = 0;
  [[nodiscard]] virtual const char* name() const = 0;

  /// The scales of a float weight, without a gradient, in its dtype. axis is 0
  /// or -1. Symmetric: a scale per index of the axis, of the weight's rank
  /// with 1 everywhere but the axis, or 0-d where the axis has one index.
  /// Otherwise one scale and one shift per index, or per group of `group_size`
  /// elements.
  [[nodiscard]] virtual Scales search(
      const at::Tensor& weight, const QType& type, int64_t axis,
      std::optional<int64_t> group_size) const = 0;
};

using OptimizerPtr = std::shared_ptr<const Optimizer>;

struct HqqOptions {
  double lp_norm = 0.7;
  double beta = 10.0;
  double kappa = 1.01;
  int64_t iters = 20;
};

/// The largest magnitude over the largest code; 8 bits.
OptimizerPtr absmax_optimizer();
/// The range from the smallest to the largest value; 4 and 2 bits.
OptimizerPtr max_optimizer();
/// max_optimizer with the shift refined by half-quadratic quantization (Badri
/// and Shaji, 2023); 4 and 2 bits.
OptimizerPtr hqq_optimizer(HqqOptions options = {});

/// absmax for 8 bits, max for less.
OptimizerPtr default_optimizer(const QType& type);

}  // namespace quanto

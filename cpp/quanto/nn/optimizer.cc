// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/optimizer.h"

#include <ATen/core/grad_mode.h>

#include <tuple>
#include <utility>

#include "quanto/nn/operators.h"

namespace quanto {

namespace {

class AbsmaxOptimizer final : public Optimizer {
 public:
  [[nodiscard]] bool symmetric() const override { return true; }
  [[nodiscard]] const char* name() const override { return "absmax"; }

  [[nodiscard]] Scales search(
      const at::Tensor& weight, const QType& type, int64_t axis,
      std::optional<int64_t> /*group_size*/) const override {
    const at::NoGradGuard no_grad;
    const bool one = weight.size(axis) == 1;
    return {nn::ops::absmax_scale(
                weight, type.name,
                one ? std::nullopt : std::optional<int64_t>(axis)),
            std::nullopt};
  }
};

Scales pair(std::tuple<at::Tensor, at::Tensor> found) {
  return {std::move(std::get<0>(found)), std::move(std::get<1>(found))};
}

class MaxOptimizer final : public Optimizer {
 public:
  [[nodiscard]] bool symmetric() const override { return false; }
  [[nodiscard]] const char* name() const override { return "max"; }

  [[nodiscard]] Scales search(
      const at::Tensor& weight, const QType& type, int64_t axis,
      std::optional<int64_t> group_size) const override {
    const at::NoGradGuard no_grad;
    return pair(nn::ops::max_scale(weight, type.bits, axis, group_size, false));
  }
};

class HqqOptimizer final : public Optimizer {
 public:
  explicit HqqOptimizer(HqqOptions options) : options_(options) {}

  [[nodiscard]] bool symmetric() const override { return false; }
  [[nodiscard]] const char* name() const override { return "hqq"; }

  [[nodiscard]] Scales search(
      const at::Tensor& weight, const QType& type, int64_t axis,
      std::optional<int64_t> group_size) const override {
    const at::NoGradGuard no_grad;
    return pair(nn::ops::hqq_scale(weight, type.bits, axis, group_size, false,
                                   options_.lp_norm, options_.beta,
                                   options_.kappa, options_.iters));
  }

 private:
  HqqOptions options_;
};

}  // namespace

OptimizerPtr absmax_optimizer() {
  return std::make_shared<const AbsmaxOptimizer>();
}

OptimizerPtr max_optimizer() { return std::make_shared<const MaxOptimizer>(); }

OptimizerPtr hqq_optimizer(HqqOptions options) {
  return std::make_shared<const HqqOptimizer>(options);
}

OptimizerPtr default_optimizer(const QType& type) {
  return type.bits == 8 ? absmax_optimizer() : max_optimizer();
}

}  // namespace quanto

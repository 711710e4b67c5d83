// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/module.h>

#include <memory>

#include "quanto/nn/weight.h"

namespace quanto::nn {

/// The module that a frozen layer registers as its child "weight" in the place
/// of the float parameter. Its buffers give the names of the checkpoint format:
/// weight._data (8 bits) or weight._data._data (packed), weight._scale and
/// weight._shift; so named_buffers(), torch::save, clone and to() see plain
/// tensors.
///
/// to() with a dtype casts scale and float shift, never codes.
class FrozenWeight : public torch::nn::Cloneable<FrozenWeight> {
 public:
  explicit FrozenWeight(QWeight value);

  [[nodiscard]] const QWeight& value() const { return value_; }

  std::shared_ptr<torch::nn::Module> clone(
      const std::optional<torch::Device>& device = std::nullopt) const override;
  void reset() override {}  // clone() does without
  void to(torch::Device device, torch::Dtype dtype,
          bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;
  void pretty_print(std::ostream& stream) const override;

 private:
  QWeight value_;
};

}  // namespace quanto::nn

// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/frozen_weight.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "quanto/nn/check.h"

namespace quanto::nn {

namespace {

void check_dtype(torch::Dtype dtype) {
  check(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
        "FrozenWeight: expected float32, float16 or bfloat16, got ", dtype);
}

/// The packed codes, which have a name of two parts.
class PackedCodes final : public torch::nn::Cloneable<PackedCodes> {
 public:
  explicit PackedCodes(const at::Tensor& data) {
    register_buffer("_data", data);
  }

  // The weight that holds it is cloned as a whole.
  void reset() override {}
  void to(torch::Device device, torch::Dtype /*dtype*/,
          bool non_blocking) override {
    Module::to(device, non_blocking);
  }
  void to(torch::Dtype /*dtype*/, bool /*non_blocking*/) override {}
  void to(torch::Device device, bool non_blocking) override {
    Module::to(device, non_blocking);
  }
  void pretty_print(std::ostream& stream) const override {
    stream << "quanto::nn::PackedCodes";
  }
};

}  // namespace

FrozenWeight::FrozenWeight(QWeight value) : value_(std::move(value)) {
  check_weight(value_, "weight");
  if (value_.bits() == 8) {
    register_buffer("_data", value_.data);
  } else {
    register_module("_data", std::make_shared<PackedCodes>(value_.data));
  }
  register_buffer("_scale", value_.scale);
  if (value_.shift) register_buffer("_shift", *value_.shift);
}

std::shared_ptr<torch::nn::Module> FrozenWeight::clone(
    const std::optional<torch::Device>& device) const {
  const at::NoGradGuard no_grad;
  const auto copied = [&](const at::Tensor& tensor) {
    return device && tensor.device() != *device ? tensor.to(*device)
                                                : tensor.clone();
  };
  QWeight copy = value_;
  copy.data = copied(value_.data);
  copy.scale = copied(value_.scale);
  if (value_.shift) copy.shift = copied(*value_.shift);
  auto result = std::make_shared<FrozenWeight>(std::move(copy));
  result->train(is_training());
  return result;
}

void FrozenWeight::to(torch::Device device, torch::Dtype dtype,
                      bool non_blocking) {
  check_dtype(dtype);
  to(device, non_blocking);
  to(dtype, non_blocking);
}

void FrozenWeight::to(torch::Dtype dtype, bool non_blocking) {
  check_dtype(dtype);
  value_.scale.set_data(value_.scale.to(dtype, non_blocking));
  if (value_.shift && value_.shift->is_floating_point()) {
    value_.shift->set_data(value_.shift->to(dtype, non_blocking));
  }
}

void FrozenWeight::to(torch::Device device, bool non_blocking) {
  Module::to(device, non_blocking);
}

void FrozenWeight::pretty_print(std::ostream& stream) const {
  stream << "quanto::nn::FrozenWeight(" << value_.qtype->name
         << ", size=" << at::IntArrayRef(value_.size);
  if (value_.group_size) stream << ", group_size=" << *value_.group_size;
  stream << ")";
}

}  // namespace quanto::nn

// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/calibration.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <exception>
#include <utility>

#include "quanto/nn/check.h"
#include "quanto/nn/operators.h"

namespace quanto {

namespace {

Calibration*& current() {
  thread_local Calibration* calibration = nullptr;
  return calibration;
}

}  // namespace

Calibration::Calibration(double momentum, bool streamline)
    : momentum_(momentum),
      streamline_(streamline),
      exceptions_(std::uncaught_exceptions()) {
  nn::check(momentum >= 0 && momentum <= 1,
            "Calibration: expected momentum from 0 to 1, got ", momentum);
  previous_ = std::exchange(current(), this);
}

Calibration::~Calibration() {
  current() = previous_;
  if (std::uncaught_exceptions() == exceptions_) {
    decide();
    return;
  }
  for (const auto& [layer, before] : seen_) {
    if (before) layer->set_quantizes_output(*before);
  }
}

Calibration* Calibration::active() { return current(); }

void Calibration::begin(nn::QModule& layer) {
  const auto [place, first] =
      seen_.try_emplace(&layer, layer.scheme().quantizes_output);
  if (first) {
    layer.set_quantizes_output(!layer.kept_float());
  } else if (place->second) {
    decide();
  }
}

void Calibration::decide() {
  if (!streamline_) return;
  made_.clear();
  for (auto& [layer, before] : seen_) {
    layer->set_quantizes_output(false);
    before.reset();
  }
}

void Calibration::observe_input(nn::QModule& layer, const at::Tensor& input) {
  begin(layer);
  const auto made = made_.find(input.unsafeGetTensorImpl());
  if (made == made_.end() || made->second.type != layer.scheme().activations) {
    update(layer, layer.input_scale, input);
    return;
  }
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  layer.input_scale.copy_(made->second.scale);
}

void Calibration::observe_output(nn::QModule& layer, const at::Tensor& output) {
  update(layer, layer.output_scale, output);
}

void Calibration::made(nn::QModule& layer, const at::Tensor& output) {
  std::erase_if(
      made_, [](const auto& entry) { return entry.second.tensor.expired(); });
  made_.insert_or_assign(
      output.unsafeGetTensorImpl(),
      Made{WeakTensor(output.getIntrusivePtr()), layer.scheme().activations,
           layer.output_scale.clone()});
}

void Calibration::update(nn::QModule& layer, at::Tensor& scale,
                         const at::Tensor& values) {
  if (values.numel() == 0) return;
  // A scale made in inference mode could take no part in later training.
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  const at::Tensor base = values.detach();
  scale.copy_(nn::ops::moving_absmax_scale(scale.to(base.options()), base,
                                           layer.scheme().activations->name,
                                           momentum_));
}

}  // namespace quanto

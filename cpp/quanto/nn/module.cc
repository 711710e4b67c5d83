// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/module.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/types.h>

#include <cmath>
#include <utility>

#include "quanto/nn/calibration.h"
#include "quanto/nn/check.h"
#include "quanto/nn/functional.h"

namespace quanto::nn {

namespace {

/// Whether scales found under one scheme hold under the other.
bool same_activations(const Scheme& first, const Scheme& second) {
  return first.activations == second.activations &&
         first.dynamic == second.dynamic;
}

int64_t elements_per_output(const std::vector<int64_t>& size) {
  return size.empty() || size[0] == 0 ? 0
                                      : c10::multiply_integers(size) / size[0];
}

}  // namespace

std::vector<int64_t> QModule::weight_size() {
  if (frozen()) return frozen_->value().size;
  const at::Tensor& weight = weight_member();
  return weight.defined() ? weight.sizes().vec() : std::vector<int64_t>();
}

void QModule::check_scheme(const Scheme& scheme) {
  const std::string name = kind().name;
  const std::string reason = obstacle();
  nn::check(reason.empty(), name, ": expected other options, as ", reason);
  nn::check(scheme.weights != nullptr || scheme.activations != nullptr, name,
            ": expected a type for weights or activations, got neither");
  nn::check((scheme.weights != nullptr) == kind().quantizes_weight, name,
            kind().quantizes_weight
                ? ": expected a type for weights, got none"
                : ": expected no type for weights, got one");
  if (scheme.activations == nullptr) {
    nn::check(
        !scheme.dynamic && !scheme.quantizes_input && !scheme.quantizes_output,
        name, ": expected a type for activations, got none");
  } else {
    nn::check(scheme.activations->bits == 8, name,
              ": expected 8-bit activations, got ", scheme.activations->name);
    nn::check(kind().quantizes_activations, name,
              ": expected no type for activations, got ",
              scheme.activations->name);
    nn::check(!scheme.dynamic || !scheme.quantizes_output, name,
              ": expected float outputs with dynamic activations, got "
              "quantized ones");
  }
  if (scheme.weights == nullptr) return;
  if (frozen()) {
    const QWeight& weight = frozen_->value();
    nn::check(scheme.weights == weight.qtype &&
                  scheme.group_size == weight.group_size,
              name, ": expected the scheme of the frozen ", weight.qtype->name,
              " weight, got ", scheme.weights->name);
    return;
  }
  if (scheme.optimizer) {
    check_optimizer(name, *scheme.weights, *scheme.optimizer);
  }
  if (scheme.group_size) {
    check_group_size(name, *scheme.weights, *scheme.group_size,
                     elements_per_output(weight_size()));
  }
}

void QModule::switch_on(Scheme scheme) {
  check_scheme(scheme);
  if (scheme.weights != nullptr && !scheme.optimizer) {
    scheme.optimizer = default_optimizer(*scheme.weights);
  }
  const bool keeps = on_ && same_activations(scheme, scheme_);
  kept_float_ = keeps && kept_float_ && !scheme.quantizes_output;
  if (!on_) {
    register_scales();
  } else if (!keeps && scheme.activations != nullptr) {
    const at::NoGradGuard no_grad;
    input_scale.fill_(1);
    output_scale.fill_(1);
  }
  on_ = true;
  noticed_ = scheme.activations == nullptr;
  scheme_ = std::move(scheme);
}

void QModule::register_scales() {
  const at::Tensor& like = frozen() ? frozen_->value().scale : weight_member();
  at::TensorOptions options;
  if (like.defined())
    options = options.dtype(like.dtype()).device(like.device());
  input_scale = self().register_buffer("input_scale", at::ones({}, options));
  output_scale = self().register_buffer("output_scale", at::ones({}, options));
}

std::optional<QWeight> QModule::qweight() {
  if (frozen()) return frozen_->value();
  if (scheme_.weights == nullptr) return std::nullopt;
  return quantize_weight(weight_member(), *scheme_.weights, 0,
                         scheme_.group_size, scheme_.optimizer);
}

void QModule::check_finite(const std::string& name) {
  const at::Tensor& weight = weight_member();
  if (!weight.defined() || weight.numel() == 0 || weight.is_meta()) return;
  const auto [low, high] = at::aminmax(weight.detach());
  nn::check(
      std::isfinite(low.item<double>()) && std::isfinite(high.item<double>()),
      "freeze: expected finite values in ", name, ".weight, got inf or nan");
}

void QModule::freeze() {
  nn::check(on_, kind().name,
            ": expected a layer that is switched on to "
            "freeze, got a float one");
  if (frozen() || scheme_.weights == nullptr) return;
  check_finite(kind().name);
  attach(std::make_shared<FrozenWeight>(*qweight()));
}

void QModule::freeze(std::shared_ptr<FrozenWeight> weight) {
  const QWeight& value = weight->value();
  const std::string name = kind().name;
  nn::check(on_ && scheme_.weights == value.qtype &&
                scheme_.group_size == value.group_size,
            name, ": expected a weight of the layer's scheme, got ",
            value.qtype->name);
  nn::check(value.axis.value_or(0) == 0, name, ": expected axis 0, got ",
            value.axis.value_or(0));
  nn::check(value.size == weight_size(), name, ": expected a weight of shape ",
            at::IntArrayRef(weight_size()), ", got ",
            at::IntArrayRef(value.size));
  attach(std::move(weight));
}

void QModule::attach(std::shared_ptr<FrozenWeight> weight) {
  if (frozen()) {
    self().replace_module("weight", weight);
  } else {
    drop_weight_parameter();
    weight_member() = at::Tensor();
    self().register_module("weight", weight);
  }
  frozen_ = std::move(weight);
}

void QModule::restore() {
  if (frozen_ != nullptr) {
    drop_weight_parameter();
    weight_member() = at::Tensor();
    // Of its own: clone() assigns to it what the original's is cloned to.
    frozen_ = self().register_module(
        "weight", std::make_shared<FrozenWeight>(frozen_->value()));
  }
  if (on_) register_scales();
}

at::Tensor QModule::trained() {
  if (frozen() || !at::GradMode::is_enabled()) return {};
  const at::Tensor& weight = weight_member();
  return weight.defined() && weight.requires_grad() ? weight : at::Tensor();
}

void QModule::disable_output_quantization() {
  scheme_.quantizes_output = false;
  kept_float_ = true;
}

bool QModule::uncalibrated() const {
  const bool used = scheme_.quantizes_input || scheme_.quantizes_output;
  if (!on_ || scheme_.activations == nullptr || scheme_.dynamic || !used ||
      input_scale.is_meta()) {
    return false;
  }
  return input_scale.item<double>() == 1 && output_scale.item<double>() == 1;
}

void QModule::warn_uncalibrated() {
  noticed_ = true;
  if (notice_->given || !uncalibrated()) return;
  notice_->given = true;
  TORCH_WARN(kind().name,
             ": the scales of quantized activations were never calibrated: run "
             "a few batches while a quanto::Calibration lives, or quantize "
             "with dynamic = true");
}

at::Tensor QModule::activation_in(const at::Tensor& input) {
  if (scheme_.activations == nullptr) return input;
  if (Calibration* calibration = Calibration::active()) {
    calibration->observe_input(*this, input);
  } else {
    notice_uncalibrated();
  }
  if (!scheme_.quantizes_input) return input;
  return functional::fake_quantize(input, *scheme_.activations, input_scale);
}

at::Tensor QModule::activation_out(const at::Tensor& output) {
  if (scheme_.activations == nullptr) return output;
  Calibration* calibration = Calibration::active();
  if (calibration != nullptr) calibration->observe_output(*this, output);
  if (!scheme_.quantizes_output) return output;
  const at::Tensor result = quantize_output(output);
  if (calibration != nullptr) calibration->made(*this, result);
  return result;
}

at::Tensor QModule::with_activations(const at::Tensor& input,
                                     const at::Tensor& bias, LayerCall call) {
  if (scheme_.activations == nullptr) return call({}, {});
  functional::InputQuantization quantization;
  Calibration* calibration = scheme_.dynamic ? nullptr : Calibration::active();
  if (calibration != nullptr) calibration->observe_input(*this, input);
  if (scheme_.quantizes_input) {
    quantization.type = scheme_.activations;
    if (!scheme_.dynamic) quantization.scale = input_scale;
  }
  if (calibration != nullptr) return activation_out(call(quantization, {}));
  notice_uncalibrated();
  if (!scheme_.quantizes_output) return call(quantization, {});
  const bool in_one_call =
      scheme_.quantizes_input &&
      !at::autocast::is_autocast_enabled(input.device().type()) &&
      !functional::needs_gradient(input, bias, trained());
  if (in_one_call) return call(quantization, output_scale);
  return quantize_output(call(quantization, {}));
}

at::Tensor QModule::quantize_output(const at::Tensor& output) {
  return functional::fake_quantize(output, *scheme_.activations, output_scale);
}

}  // namespace quanto::nn

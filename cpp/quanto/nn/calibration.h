// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/UndefinedTensorImpl.h>

#include <map>
#include <optional>

#include "quanto/nn/module.h"

namespace quanto {

/// Sets the scales of static activations from the batches that a model runs
/// while it lives:
///
///     {
///       quanto::Calibration calibration;
///       for (auto& batch : batches) model->forward(batch);
///     }
///
/// Every layer takes the largest magnitude of its input and of its output: the
/// first as it is, later ones averaged with `momentum * old + (1 - momentum) *
/// new`. An input that is the output of a quantized layer, not changed in
/// between, hands over its scale. Scales carry no gradient.
///
/// With `streamline`, outputs are float from the end of the first batch on,
/// which is when a layer is called a second time, or when the calibration ends:
/// layers quantize a float input by a scale of their own, and no operation on
/// plain tensors needs codes. disable_output_quantization() is for good.
///
/// Only forwards of the thread that made it are seen. Calibrations may be
/// nested; the inner one takes over. When an exception ends it, scales that
/// were found stay, and outputs are as they were before.
class Calibration {
 public:
  /// momentum, the share of the old scale, is from 0 to 1; throws
  /// std::invalid_argument otherwise.
  explicit Calibration(double momentum = 0.9, bool streamline = true);
  ~Calibration();
  Calibration(const Calibration&) = delete;
  Calibration& operator=(const Calibration&) = delete;

  /// The one that runs in this thread, or nullptr.
  static Calibration* active();

  // What a layer calls from its forward, with static activations.

  /// Updates the layer's input scale.
  void observe_input(nn::QModule& layer, const at::Tensor& input);
  /// Updates its output scale.
  void observe_output(nn::QModule& layer, const at::Tensor& output);
  /// Notes that `output` holds codes of the layer's output scale.
  void made(nn::QModule& layer, const at::Tensor& output);

 private:
  using WeakTensor =
      c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Made {
    WeakTensor tensor;
    const QType* type;
    at::Tensor scale;
  };

  void begin(nn::QModule& layer);
  void decide();
  void update(nn::QModule& layer, at::Tensor& scale, const at::Tensor& values);

  double momentum_;
  bool streamline_;
  int exceptions_;
  Calibration* previous_ = nullptr;
  /// quantizes_output as it was before, until it is decided anew.
  std::map<nn::QModule*, std::optional<bool>> seen_;
  std::map<const c10::TensorImpl*, Made> made_;
};

}  // namespace quanto

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "quanto/core/function_ref.h"
#include "quanto/nn/frozen_weight.h"
#include "quanto/nn/functional.h"
#include "quanto/nn/optimizer.h"
#include "quanto/nn/weight.h"

namespace quanto::nn {

/// How one layer is quantized. `weights` is null where the weight stays float
/// (a layer norm); `activations`, an 8-bit type, where activations do.
///
/// Static activations: `quantizes_input` and `quantizes_output` say on which
/// sides, by input_scale and output_scale. Dynamic ones: the input takes a
/// scale of its own for each row (or image), the output stays float.
struct Scheme {
  const QType* weights = nullptr;
  const QType* activations = nullptr;
  bool dynamic = false;
  bool quantizes_input = false;
  bool quantizes_output = false;
  std::optional<int64_t> group_size{};  ///< as it is, nothing automatic
  OptimizerPtr optimizer{};             ///< null: default_optimizer(*weights)
};

/// What a class of layers says of itself to quantize().
struct LayerKind {
  const char* name;       ///< "Linear"
  bool quantizes_weight;  ///< false: only activations are quantized
  bool only_when_named;   ///< quantized only where `include` names it
  bool quantizes_input;   ///< with activations
  bool quantizes_activations;
};

/// The operator call of a layer: its result, by the quantization of its input
/// and, where the operator can quantize its output too, by the scale of that.
using LayerCall =
    FunctionRef<at::Tensor(const functional::InputQuantization& quantization,
                           const std::optional<at::Tensor>& output_scale)>;

/// Shared by the layers of one quantize(): whether they have warned of scales
/// that no calibration has set.
struct Notice {
  bool given = false;
};

/// What every layer of quanto::nn is beside its torch::nn::Module. A layer is
/// one of
/// - float: a torch::nn layer like any other, until quantize() or switch_on();
/// - switched on: `weight` stays a float parameter and is quantized in every
///   forward; the gradient passes straight to it (quantization-aware training);
/// - frozen: the parameter is gone (`weight` is undefined), qweight() holds the
///   codes, and the child "weight" their tensors.
///
/// Tensors in and out are float always. Where the output is quantized its
/// values lie on the grid of output_scale, as those of
/// quantize().dequantize().
class QModule {
 public:
  virtual ~QModule() = default;

  [[nodiscard]] virtual const LayerKind& kind() const = 0;
  /// Why the options of this layer do not allow quantization; "" if they do.
  [[nodiscard]] virtual std::string obstacle() const { return {}; }

  [[nodiscard]] bool quantized() const { return on_; }
  [[nodiscard]] bool frozen() const { return frozen_ != nullptr; }
  [[nodiscard]] const Scheme& scheme() const { return scheme_; }

  /// Quantizes from now on; scales of activations are 1 until calibrated. May
  /// be called again, with other types unless it is frozen: then
  /// `scheme.weights` and `scheme.group_size` must be those of the weight.
  /// Scales that were found for the same activations are kept. Throws
  /// std::invalid_argument for what does not fit together, before anything is
  /// changed.
  void switch_on(Scheme scheme);

  /// The weight quantized now, or the frozen one; nullopt where the scheme has
  /// no type for it.
  [[nodiscard]] std::optional<QWeight> qweight();

  /// Throws std::invalid_argument if the float weight has values that are not
  /// finite; `name` is the layer's in the message.
  void check_finite(const std::string& name);

  /// Replaces the float weight by the quantized one; nothing if it is frozen or
  /// quantizes no weight. Throws std::invalid_argument for values that are not
  /// finite, and if it is not switched on.
  void freeze();

  /// Freezes with this weight: that of another layer, or of a file. It must be
  /// of the scheme's type and group size, axis 0 and the shape of the layer's
  /// weight; throws std::invalid_argument otherwise.
  void freeze(std::shared_ptr<FrozenWeight> weight);
  [[nodiscard]] const std::shared_ptr<FrozenWeight>& frozen_weight() const {
    return frozen_;
  }

  /// Shape and options of the float weight, frozen or not; undefined where the
  /// layer has none.
  [[nodiscard]] std::vector<int64_t> weight_size();
  [[nodiscard]] at::Tensor& float_weight() { return weight_member(); }

  /// 0-d buffers, registered by switch_on() as "input_scale" and
  /// "output_scale", in the weight's dtype (float32 without one).
  at::Tensor input_scale;
  at::Tensor output_scale;

  /// Returns float outputs from now on; a later calibration leaves it so.
  void disable_output_quantization();

  /// Whether static scales are in use that no calibration has set.
  [[nodiscard]] bool uncalibrated() const;

  // What a calibration sets.
  void set_quantizes_output(bool on) { scheme_.quantizes_output = on; }
  [[nodiscard]] bool kept_float() const { return kept_float_; }

  void share_notice(std::shared_ptr<Notice> notice) {
    notice_ = std::move(notice);
  }

 protected:
  virtual torch::nn::Module& self() = 0;
  virtual at::Tensor& weight_member() = 0;
  virtual void drop_weight_parameter() = 0;

  /// To be called at the end of reset(): registers again what the state asks
  /// for, which clone() then fills.
  void restore();

  /// The float weight where autograd has to reach it, else undefined.
  [[nodiscard]] at::Tensor trained();

  /// `run` on the frozen weight, or on the float one quantized now.
  template <typename Run>
  at::Tensor with_weight(const Run& run) {
    if (frozen_ != nullptr) return run(frozen_->value());
    return run(*qweight());
  }

  /// At a forward with static activations and no calibration: warns once per
  /// quantize() if the scales are still 1.
  void notice_uncalibrated() {
    if (!noticed_) warn_uncalibrated();
  }

  /// Steps of a forward of plain torch functions: observed by the calibration
  /// that runs, then quantized and dequantized where that side is on.
  at::Tensor activation_in(const at::Tensor& input);
  at::Tensor activation_out(const at::Tensor& output);
  /// The forward of a layer of one operator: what the scheme asks for on both
  /// sides of `call`, inside of it where that is possible.
  at::Tensor with_activations(const at::Tensor& input, const at::Tensor& bias,
                              LayerCall call);

 private:
  at::Tensor quantize_output(const at::Tensor& output);
  void register_scales();
  void attach(std::shared_ptr<FrozenWeight> weight);
  void check_scheme(const Scheme& scheme);
  void warn_uncalibrated();

  bool on_ = false;
  bool kept_float_ = false;
  bool noticed_ = false;
  Scheme scheme_;
  std::shared_ptr<Notice> notice_ = std::make_shared<Notice>();
  std::shared_ptr<FrozenWeight> frozen_;
};

/// QModule over the base class of a torch layer, `torch::nn::Cloneable<Layer>`
/// or one that is itself derived from it.
///
/// Not over torch's own layer (torch::nn::LinearImpl): clone() of a model would
/// copy only that part, and a call through the base, whose forward is not
/// virtual, would compute with the float weight.
template <typename Base>
class Quantizable : public Base, public QModule {
 protected:
  using Base::Base;

  torch::nn::Module& self() override { return *this; }
  void drop_weight_parameter() override { this->parameters_.erase("weight"); }
};

}  // namespace quanto::nn

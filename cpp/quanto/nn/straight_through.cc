// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/straight_through.h"

#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "quanto/nn/dense.h"
#include "quanto/nn/operators.h"
#include "quanto/nn/qtype.h"

namespace quanto::nn::functional {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

ops::OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? ops::OptionalTensor(tensor) : std::nullopt;
}

/// What a backward pass needs of a layer beside its gradient, by the places of
/// AutogradContext: tensors as saved variables, facts in saved_data.
class Saved {
 public:
  /// `input` is kept where the weight wants a gradient.
  static void keep(AutogradContext* context, const at::Tensor& input,
                   const at::Tensor& weight, const at::Tensor& bias,
                   const QWeight& codes,
                   const InputQuantization& quantization) {
    const bool trains = wants(weight);
    // A calibration writes to a layer's scale before its backward pass runs.
    const at::Tensor scale =
        quantization.scale ? quantization.scale->clone() : at::Tensor();
    context->save_for_backward({trains ? input : at::Tensor(), scale,
                                codes.data, codes.scale,
                                codes.shift.value_or(at::Tensor())});
    auto& data = context->saved_data;
    data["input"] = wants(input);
    data["weight"] = trains;
    data["bias"] = wants(bias);
    data["qtype"] = static_cast<int64_t>(codes.qtype->id);
    data["group_size"] = codes.group_size;
    data["size"] = codes.size;
    if (quantization.type != nullptr) {
      data["activation"] = static_cast<int64_t>(quantization.type->id);
    }
    data["shape"] = input.sizes();
  }

  explicit Saved(AutogradContext* context)
      : context_(context), tensors_(context->get_saved_variables()) {}

  [[nodiscard]] bool asks(const char* argument) const {
    return context_->saved_data.at(argument).toBool();
  }

  [[nodiscard]] at::Tensor weight() const {
    const auto& data = context_->saved_data;
    QWeight codes{
        .qtype = &qtype(static_cast<QTypeId>(data.at("qtype").toInt())),
        .axis = 0,
        .group_size = data.at("group_size").toOptional<int64_t>(),
        .size = data.at("size").toIntVector(),
        .data = tensors_[2],
        .scale = tensors_[3],
        .shift = optional(tensors_[4])};
    return dense_weight(codes);
  }

  /// The input as it was multiplied; only where asks("weight").
  [[nodiscard]] at::Tensor input(int64_t rows) const {
    const auto activation = context_->saved_data.find("activation");
    if (activation == context_->saved_data.end()) return tensors_[0];
    const auto id = static_cast<QTypeId>(activation->second.toInt());
    return dense_input(tensors_[0], optional(tensors_[1]), qtype(id), rows);
  }

  [[nodiscard]] std::vector<int64_t> shape() const {
    return context_->saved_data.at("shape").toIntVector();
  }

 private:
  static bool wants(const at::Tensor& tensor) {
    return tensor.defined() && tensor.requires_grad();
  }

  AutogradContext* context_;
  variable_list tensors_;
};

struct Linear : public torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& bias,
                            const QWeight& codes,
                            const InputQuantization& quantization) {
    Saved::keep(context, input, weight, bias, codes, quantization);
    return call_linear(input, bias, codes, quantization);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const Saved saved(context);
    const at::Tensor& gradient = gradients[0];
    const at::Tensor rows = gradient.reshape({-1, gradient.size(-1)});
    variable_list result(5);
    if (saved.asks("input")) {
      result[0] =
          at::matmul(gradient, saved.weight().to(gradient.scalar_type()));
    }
    if (saved.asks("weight")) {
      const at::Tensor x = saved.input(rows.size(0));
      result[1] = rows.t().matmul(
          x.reshape({-1, x.size(-1)}).to(gradient.scalar_type()));
    }
    if (saved.asks("bias")) result[2] = rows.sum(0);
    return result;
  }
};

struct Conv2d : public torch::autograd::Function<Conv2d> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& bias,
                            const QWeight& codes, const Geometry& geometry,
                            const InputQuantization& quantization) {
    Saved::keep(context, input, weight, bias, codes, quantization);
    auto& data = context->saved_data;
    data["stride"] = at::IntArrayRef(geometry.stride);
    data["padding"] = at::IntArrayRef(geometry.padding);
    data["dilation"] = at::IntArrayRef(geometry.dilation);
    data["groups"] = geometry.groups;
    return call_conv2d(input, bias, codes, geometry, quantization);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const Saved saved(context);
    const auto& data = context->saved_data;
    const auto input_shape = saved.shape();
    auto shape = input_shape;
    if (shape.size() == 3) shape.insert(shape.begin(), 1);
    auto grad_shape = gradients[0].sizes().slice(gradients[0].dim() - 3).vec();
    grad_shape.insert(grad_shape.begin(), shape[0]);
    const at::Tensor images = gradients[0].reshape(grad_shape);
    // Without a gradient for the weight only the input's shape is looked at.
    const at::Tensor x = saved.asks("weight")
                             ? saved.input(shape[0]).reshape(shape)
                             : images.new_empty({1}).expand(shape);
    const at::Tensor weight = saved.weight().to(images.scalar_type());
    auto [grad_input, grad_weight, grad_bias] = at::convolution_backward(
        images, x.to(images.scalar_type()), weight,
        at::IntArrayRef{weight.size(0)}, data.at("stride").toIntVector(),
        data.at("padding").toIntVector(), data.at("dilation").toIntVector(),
        /*transposed=*/false, {0, 0}, data.at("groups").toInt(),
        {saved.asks("input"), saved.asks("weight"), saved.asks("bias")});
    if (grad_input.defined()) grad_input = grad_input.reshape(input_shape);
    return {grad_input, grad_weight, grad_bias, {}, {}, {}};
  }
};

struct Embedding : public torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& indices, const QWeight& codes,
                            int64_t padding_idx) {
    context->save_for_backward({indices});
    context->saved_data["rows"] = codes.size.front();
    context->saved_data["padding_idx"] = padding_idx;
    static_cast<void>(weight);  // only the node holds on to it
    return call_embedding(indices, codes);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const at::Tensor indices = context->get_saved_variables()[0];
    const auto& data = context->saved_data;
    return {at::embedding_dense_backward(
                gradients[0], indices, data.at("rows").toInt(),
                data.at("padding_idx").toInt(), /*scale_grad_by_freq=*/false),
            {},
            {},
            {}};
  }
};

struct FakeQuantize : public torch::autograd::Function<FakeQuantize> {
  static at::Tensor forward(AutogradContext* /*context*/,
                            const at::Tensor& values, const QType* type,
                            const at::Tensor& scale) {
    return call_fake_quantize(values, *type, scale);
  }

  static variable_list backward(AutogradContext* /*context*/,
                                const variable_list& gradients) {
    return {gradients[0], {}, {}};
  }
};

}  // namespace

at::Tensor call_linear(const at::Tensor& input, const at::Tensor& bias,
                       const QWeight& codes,
                       const InputQuantization& quantization,
                       const std::optional<at::Tensor>& output_scale) {
  if (quantization.type == nullptr) {
    return ops::linear(input, codes.data, codes.scale, codes.shift,
                       optional(bias), codes.bits(), codes.group_size,
                       codes.size[0]);
  }
  return ops::qlinear(input, quantization.scale, codes.data, codes.scale,
                      codes.shift, optional(bias), codes.bits(),
                      codes.group_size, codes.size[0],
                      data_type(*quantization.type), output_scale);
}

at::Tensor straight_through_linear(const at::Tensor& input,
                                   const at::Tensor& weight,
                                   const at::Tensor& bias, const QWeight& codes,
                                   const InputQuantization& quantization) {
  return Linear::apply(input, weight, bias, codes, quantization);
}

at::Tensor call_conv2d(const at::Tensor& input, const at::Tensor& bias,
                       const QWeight& codes, const Geometry& geometry,
                       const InputQuantization& quantization,
                       const std::optional<at::Tensor>& output_scale) {
  std::optional<at::ScalarType> activation;
  if (quantization.type != nullptr) activation = data_type(*quantization.type);
  return ops::conv2d(input, quantization.scale, codes.data, codes.scale,
                     codes.shift, optional(bias), codes.bits(),
                     codes.group_size, codes.size, geometry.stride,
                     geometry.padding, geometry.dilation, geometry.groups,
                     activation, output_scale);
}

at::Tensor straight_through_conv2d(const at::Tensor& input,
                                   const at::Tensor& weight,
                                   const at::Tensor& bias, const QWeight& codes,
                                   const Geometry& geometry,
                                   const InputQuantization& quantization) {
  return Conv2d::apply(input, weight, bias, codes, geometry, quantization);
}

at::Tensor call_embedding(const at::Tensor& indices, const QWeight& codes) {
  return ops::embedding(indices, codes.data, codes.scale, codes.shift,
                        codes.bits(), codes.group_size, codes.size[0],
                        codes.size[1]);
}

at::Tensor straight_through_embedding(const at::Tensor& indices,
                                      const at::Tensor& weight,
                                      const QWeight& codes,
                                      int64_t padding_idx) {
  return Embedding::apply(weight, indices, codes, padding_idx);
}

at::Tensor call_fake_quantize(const at::Tensor& values, const QType& type,
                              const at::Tensor& scale) {
  const at::Tensor codes =
      ops::quantize_symmetric(values, data_type(type), std::nullopt, scale);
  return ops::dequantize_symmetric(codes, std::nullopt, scale);
}

at::Tensor straight_through_fake_quantize(const at::Tensor& values,
                                          const QType& type,
                                          const at::Tensor& scale) {
  return FakeQuantize::apply(values, &type, scale);
}

}  // namespace quanto::nn::functional
